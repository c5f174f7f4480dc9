"""Workers that beat, from a test's side: what they are told, and how their end is waited for."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from worker_kit import ROOM, TIRELESS, LivePair, changes, entry, until, wait_phase

from twinwatch.core import beatfile
from twinwatch.core.beatfile import BeatFile
from twinwatch.core.record import Slot
from twinwatch.core.values import Health, Phase

TIMEOUT_S = 0.3
MISSES = 3
SILENCE_S = TIMEOUT_S * MISSES


class Beater:
    """A worker that obeys; what one generation does not obey any more, the next one does."""

    def __init__(self, pair: LivePair, name: str) -> None:
        self.name = name
        self.pair = pair
        self.fifo = pair.directory / f"{name}.orders"
        os.mkfifo(self.fifo)
        self._orders = os.open(self.fifo, os.O_RDWR | os.O_CLOEXEC)
        self._done = 0

    def close(self) -> None:
        os.close(self._orders)

    def command(self, *first: str) -> list[str]:
        program = [sys.executable, "-I", "-S", str(ROOM / "beating_worker.py")]
        return [
            *program,
            str(self.pair.lock_of(self.name)),
            str(self.pair.births_of(self.name)),
            str(self.fifo),
            *first,
        ]

    def entry(self, *first: str, **keys: object) -> str:
        """YAML of it; each generation beats from its first moment on, if it is not told otherwise."""
        beat = {"heartbeat": {"timeout": f"{round(TIMEOUT_S * 1000)}ms", "misses": MISSES}}
        keys = {"health": [beat], "restart": TIRELESS, "stop": {"timeout": "5s"}} | keys
        return entry(self.name, self.command(*(first or ("beat",))), **keys)

    def tell(self, *lines: str) -> None:
        os.write(self._orders, "".join(f"{line}\n" for line in lines).encode())

    def tell_and_wait(self, *lines: str) -> None:
        """All of it was obeyed when this returns."""
        self._done += 1
        path = self.pair.directory / f"{self.name}.done.{self._done}"
        self.tell(*lines, f"done {path}")
        until(path.exists, f"{self.name} has obeyed {lines}")

    # ------------------------------------------------------------ what is seen of it

    @property
    def slot(self) -> Slot:
        return self.pair.worker(self.name)

    @property
    def path(self) -> str:
        return str(self.pair.directory / "run" / f"{self.pair.name}.workers" / f"{self.name}.0")

    def file(self) -> BeatFile:
        with open(self.path, "rb") as file:
            found = beatfile.unpack(file.read())
        assert found is not None
        return found

    def wait_healthy(self, generation: int = 1) -> Slot:
        """The slot, as soon as this generation runs and was heard to beat."""
        found: list[Slot] = []

        def is_well() -> bool:
            slot = self.pair.workers().get(self.name)
            well = slot is not None and slot.phase is Phase.RUNNING and slot.health is Health.HEALTHY
            if well and slot.generation >= generation:
                found.append(slot)
            return bool(found)

        until(is_well, f"{self.name} is healthy in generation {generation} or later")
        return found[0]

    def wait_beats(self, count: int = 3) -> None:
        before = self.file().sequence
        until(lambda: self.file().sequence >= before + count, f"{self.name} beats")

    def wait_phase(self, *phases: Phase, generation: int = 0) -> Slot:
        return wait_phase(self.pair, self.name, *phases, generation=generation)

    def verdicts(self) -> list[dict[str, object]]:
        """The events that say that it was told to end."""
        return [
            event
            for event in changes(self.pair, self.name)
            if event["new"] == "stopping" and event["old"] == "running" and event["reason"] != "ended"
        ]


@contextmanager
def beaters(pair: LivePair, *names: str) -> Iterator[list[Beater]]:
    made = [Beater(pair, name) for name in names]
    try:
        yield made
    finally:
        for beater in made:
            beater.close()


@contextmanager
def outside(pair: LivePair, *command: str, uid: int = 0) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that the pair did not start, leader of a group of its own; waited for at the end."""
    other = {"user": uid, "group": uid, "extra_groups": [], "cwd": "/"} if uid else {"cwd": pair.directory}
    with subprocess.Popen(
        command, env=pair.environ, stdin=subprocess.DEVNULL, process_group=0, **other
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                pidfd = os.pidfd_open(process.pid)
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)
