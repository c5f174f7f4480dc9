"""The watcher: one process that guards its twin and the workers, and what a reserve becomes."""
