"""What workers wrote when they began, and the killing of workers.

A time from a kill to a restart is the difference of two readings of CLOCK_MONOTONIC: one just before the
signal is sent, one by the first instructions of the new process. When somebody *looks* does not matter, so
the looking is rare: it is to take no processor from those that are measured.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

LOOK_MS = 3


class WaitedInVain(Exception):
    """What was waited for did not come in time."""


class Stamp(NamedTuple):
    """One start of one worker. `pid` is as the worker sees it."""

    label: str
    pid: int
    at_ns: int


class Stamps:
    """The file that all workers of one guard append to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[Stamp] = []
        self.latest: dict[str, Stamp] = {}
        self._offset = 0
        self._rest = b""

    def look(self) -> None:
        """Read what is new."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            label, pid, at = line.split()
            stamp = Stamp(label.decode(), int(pid), int(at))
            self.all.append(stamp)
            self.latest[stamp.label] = stamp

    def wait(self, is_there: Callable[[], object], what: str, patience_s: float) -> None:
        """Look until it is so.

        Raises:
            WaitedInVain: it was not, in `patience_s`.
        """
        deadline_ns = time.monotonic_ns() + int(patience_s * 1e9)
        while True:
            self.look()
            if is_there():
                return
            if time.monotonic_ns() > deadline_ns:
                raise WaitedInVain(f"{what}: not within {patience_s:g} s")
            time.sleep(LOOK_MS / 1000)

    def wait_after(self, old: Stamp, patience_s: float) -> Stamp:
        """The next start of the worker of `old`."""
        label = old.label
        self.wait(lambda: self.latest[label] != old, f"{label} is back", patience_s)
        return self.latest[label]


def open_worker(pid: int, stamp: Stamp, path: Path) -> int:
    """A pidfd of the process that wrote this stamp. `pid`: as it is here.

    Raises:
        ProcessLookupError: it is gone.
    """
    pidfd = os.pidfd_open(pid)
    mark = f"{stamp.label}:{path}".encode()
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            is_it = mark in file.read().split(b"\0")
    except FileNotFoundError:
        is_it = False
    if not is_it:
        os.close(pidfd)
        raise ProcessLookupError(f"PID {pid} is not {stamp.label} any more")
    return pidfd


def strike(pidfds: Iterable[int]) -> int:
    """SIGKILL all in one burst; when the first was sent. The pidfds are closed afterwards."""
    held = list(pidfds)
    began_ns = time.monotonic_ns()
    for pidfd in held:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    for pidfd in held:
        os.close(pidfd)
    return began_ns
