"""A worker for trying things: one numbered line a second, and a fault on request.

    demo_worker.py [SECONDS]        seconds between two lines (1)

    twinwatch -p demo signal HUP counter     ends with 0
    twinwatch -p demo signal USR1 counter    fails with 3
    twinwatch -p demo signal QUIT counter    crashes: SIGABRT
    twinwatch -p demo signal USR2 counter    hangs: prints no more, and ignores TERM and INT
    twinwatch -p demo stop counter           TERM: says so, ends with 0

It knows nothing of the watchers and runs as well without them.
"""

import faulthandler
import os
import signal
import sys
import time
from types import FrameType

FAILED = 3


def say(text: str) -> None:
    """One line in one write, so that a kill cuts no line in two."""
    os.write(sys.stdout.fileno(), f"{time.strftime('%H:%M:%S')} {text}\n".encode())


def end(_number: int, _frame: FrameType | None) -> None:
    """End in order."""
    say("asked to end: done")
    os._exit(0)


def fail(_number: int, _frame: FrameType | None) -> None:
    """End with an error."""
    say(f"failing with {FAILED}")
    os._exit(FAILED)


def crash(_number: int, _frame: FrameType | None) -> None:
    """End as a program with a bug does."""
    say("crashing")
    faulthandler.enable()
    os.abort()


def hang(_number: int, _frame: FrameType | None) -> None:
    """Live on and do nothing: what a watcher of deaths alone does not see."""
    say("hanging: alive, but no use to anybody")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        signal.pause()


def main() -> None:
    """Print until told otherwise."""
    interval_s = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    for number, act in {
        signal.SIGTERM: end,
        signal.SIGINT: end,
        signal.SIGHUP: end,
        signal.SIGUSR1: fail,
        signal.SIGQUIT: crash,
        signal.SIGUSR2: hang,
    }.items():
        signal.signal(number, act)
    birth = os.environ.get("TWINWATCH_GENERATION", "none")
    say(f"begin: PID {os.getpid()}, generation {birth}")
    for count in range(1, sys.maxsize):
        time.sleep(interval_s)
        say(f"{count}")


if __name__ == "__main__":
    main()
