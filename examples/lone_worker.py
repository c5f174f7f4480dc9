"""A worker that no kernel lets run twice: its first act is to take its own exclusive lock.

    lone_worker.py NAME

The lock is on NAME.lock. A second copy cannot have it: it shouts into NAME.double and ends with 99.
Each birth adds a line with its generation to NAME.births. `scripts/chaos-kill` uses it.
"""

import fcntl
import os
import signal
import sys

name, generation = sys.argv[1], os.environ.get("TWINWATCH_GENERATION", "none")


def add(ending: str, text: str) -> None:
    """Append a line in one write."""
    fd = os.open(name + ending, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, f"{text}\n".encode())
    os.close(fd)


lock = os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except (BlockingIOError, PermissionError):
    add(".double", f"PID {os.getpid()} generation {generation}")
    os._exit(99)
add(".births", generation)
while True:
    signal.pause()
