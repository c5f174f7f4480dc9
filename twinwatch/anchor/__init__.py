"""The third guard: a process that an init respawns, and what each init needs for it."""
