"""A worker that no kernel lets run twice: its first act is to take its own exclusive lock.

    worker.py NAME

The lock is on NAME.lock. A second copy cannot have it: it shouts into NAME.double and ends with 99. Each
birth adds a line with its generation to NAME.births. On SIGUSR1 it uses memory until it is killed or has
MEAL bytes: that is what a memory limit is tried with. Run as a file, so that it imports nothing of ours.
"""

import fcntl
import os
import signal
import sys

MEAL = 256 << 20
_BITE = 1 << 20


def add(path: str, text: str) -> None:
    """Append a line in one write."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, f"{text}\n".encode())
    os.close(fd)


def main(name: str) -> None:
    """Live."""
    generation = os.environ.get("TWINWATCH_GENERATION", "none")
    lock = os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        add(f"{name}.double", f"PID {os.getpid()} generation {generation}")
        os._exit(99)
    hungry: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _frame: hungry.append(number))
    add(f"{name}.births", generation)
    while True:
        if not hungry:
            signal.pause()
        eaten = [b"\x01" * _BITE for _ in range(MEAL // _BITE)]
        hungry.clear()
        del eaten


if __name__ == "__main__":
    main(sys.argv[1])
