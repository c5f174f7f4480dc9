"""Where a guard is started and its workers live: a room of its own, whose end leaves nothing behind."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from benchmarks import room

HERE = Path(__file__).resolve().parent


class Site(Protocol):
    """What the measures need to know of where a guard runs."""

    def start(self, argv: Sequence[str], environ: Mapping[str, str], directory: str) -> int:
        """Start a process; its PID."""

    def guards(self) -> list[int]:
        """PIDs of all that lives here and is no worker."""

    def outer(self, pid: int) -> int:
        """The PID, as it is here, of a process that calls itself `pid`."""

    def end(self) -> None:
        """Everything ends; returns when nothing is left."""


def program_of(pid: int) -> str:
    """Path of what it executes; empty for a zombie and one that is gone."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Room:
    """Below one subreaper. `workers`: paths of the programs that are workers."""

    def __init__(self, log: Path, workers: Sequence[str]) -> None:
        self.log = log
        self._workers = frozenset(workers)
        self._held = subprocess.Popen(
            [sys.executable, "-I", "-S", str(HERE / "room.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self, argv: Sequence[str], environ: Mapping[str, str], directory: str) -> int:
        order = {
            "argv": list(argv),
            "environ": dict(environ),
            "directory": directory,
            "log": str(self.log),
        }
        self._held.stdin.write(json.dumps(order).encode() + b"\n")
        self._held.stdin.flush()
        return int(self._held.stdout.readline())

    def guards(self) -> list[int]:
        found = {pid: program_of(pid) for pid in room.descendants(self._held.pid)}
        return sorted(pid for pid, program in found.items() if program and program not in self._workers)

    def outer(self, pid: int) -> int:
        return pid

    def end(self) -> None:
        for pipe in (self._held.stdin, self._held.stdout):
            pipe.close()
        self._held.wait()
