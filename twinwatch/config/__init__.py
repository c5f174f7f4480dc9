"""From the user's YAML to the frozen `PairSpec`, and its published snapshots.

Nothing is imported here: watchers import `config.snapshot`, and must not pay for YAML.
"""
