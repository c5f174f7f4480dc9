"""What a guarded program may use: heartbeat, sd_notify, registration.

Standard library alone, and nothing of twinwatch outside this package. Each module loads what it needs when
it is used, so a program pays for that alone.
"""
