"""The program of a stranger: it notes every signal that it gets, and ends when its standard input does.

    bystander.py FILE NAME [WORDS…]

It calls itself NAME. Run as a file, so that it imports nothing of ours.
"""

import contextlib
import os
import signal
import sys
from types import FrameType

_KEPT = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}


def main(heard: str, name: str) -> None:
    """Be one."""
    fd = os.open(heard, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def note(number: int, _frame: FrameType | None) -> None:
        os.write(fd, f"{int(number)}\n".encode())

    with contextlib.suppress(FileNotFoundError, PermissionError), open("/proc/self/comm", "wb") as file:
        file.write(name.encode())
    for number in signal.valid_signals() - _KEPT:
        with contextlib.suppress(OSError, ValueError):  # any errno: those that the C library keeps
            signal.signal(number, note)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while os.read(0, 1):
        continue


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
