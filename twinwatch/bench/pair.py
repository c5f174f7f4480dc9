"""The pair that is measured: made in a temporary directory, looked at from outside, struck, ended."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from twinwatch.chaos import census, private, recovery, undo
from twinwatch.chaos.fault import Blow
from twinwatch.chaos.keeper import ASKED_TO_END, Keeper
from twinwatch.chaos.reader import WATCHERS, Lost, Reader, runs, seen
from twinwatch.chaos.run import ignore_signals
from twinwatch.config import snapshot
from twinwatch.control.errors import ControlError
from twinwatch.core import record
from twinwatch.core.record import Slot
from twinwatch.core.values import Identity, Phase
from twinwatch.linux import process
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, open_process

PREFIX = "twinwatch-bench-"
WORKER = "bench"
PROGRAM = ("sleep", "86400")  # starts quickly, and does nothing
BURST = 1000  # deaths of a worker that cost it no waiting: the waiting is not what is measured
PATIENCE_S = 30.0
CALM_S = 0.01  # between two looks while nothing is measured
LOOK_NS = 100_000  # while something is: a look is one read of eight bytes

NOTHING = Blow((), 0.0)


@dataclass(frozen=True, slots=True)
class Death:
    """Moments of CLOCK_MONOTONIC in nanoseconds, of one or several that were killed at once.

    `killed`: just before the first signal. `dead`: this process saw the last pidfd readable. `born`: what the
    last successor's record says of its birth. `running`: the last record was seen to say `running`.
    """

    killed: int
    dead: int
    born: int
    running: int


class Pair:
    """Of its own, with `workers` instances of a program that does nothing."""

    def __init__(self, directory: str, workers: int) -> None:
        self.directory, self.workers = directory, workers
        self.name = name_of_pair()
        self.paths = private.paths_of(directory, self.name)

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Up, and whole.

        Raises:
            ControlError: it does not start.
        """
        done = private.call(self.directory, "up", self._configure())
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no word"])[-1].removeprefix("twinwatch: ")
            raise ControlError(f"no pair starts here: {why}: see what `twinwatch doctor` finds missing")
        self._reader = Reader(self.paths)
        self.spec = snapshot.read(self.paths.snapshots, self._reader.header().config_generation)
        self.wait_whole()
        self._places = self._reader.indices()

    def _configure(self) -> str:
        """Path of its configuration: the defaults, which is what a user gets."""
        os.mkdir(f"{self.directory}/disk", 0o700)
        restart = {"backoff": {"burst": BURST}}
        worker = {"command": list(PROGRAM), "instances": self.workers, "restart": restart}
        path = f"{self.directory}/twinwatch.yaml"
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"pair": self.name, "workers": {WORKER: worker}}, file)
        return path

    def down(self) -> str:
        """The off switch. What is wrong, or empty."""
        wrong = private.down(self.directory, self.name)
        left = census.census(self.paths)
        return f"`down` failed: {wrong}" if wrong else f"alive after `down`: {left}" if left else ""

    # ------------------------------------------------------------ looking

    def labels(self) -> tuple[str, ...]:
        """Of all worker instances."""
        return tuple(sorted(set(self._places) - set(WATCHERS.values())))

    def slot(self, label: str) -> Slot:
        """Raises Damage."""
        return self._reader.slot(self._places[label])

    def wait_whole(self) -> None:
        """Both watchers watch with all their reserves, and every worker runs.

        Raises:
            ControlError: it does not become so.
        """
        deadline = time.monotonic() + PATIENCE_S
        while what := self._lack():
            if time.monotonic() > deadline:
                raise _in_vain(what)
            time.sleep(CALM_S)

    def _lack(self) -> str:
        """What is still missing; empty: it is whole."""
        try:
            look = self._reader.look()
        except Lost as lost:
            return str(lost)
        if what := recovery.lack(look, look, NOTHING, self.spec, is_own=True):
            return what
        return next((f"{name} is {seen(slot)}" for name, slot in look.slots.items() if not runs(slot)), "")

    def _wait_running(self, old: Mapping[str, Slot]) -> int:
        """When each of these was seen to have a successor that runs."""
        deadline_ns = monotonic_ns() + round(PATIENCE_S * 1e9)
        for label, slot in old.items():
            self._wait_newer(label, slot.generation, deadline_ns)
        return monotonic_ns()

    def _wait_newer(self, label: str, than: int, deadline_ns: int) -> None:
        """Only a record that has changed is read: looking must not take the processor from the pair."""
        at, known = record.slot_at(self._places[label]), -1
        while True:
            version = self._reader.version(at)
            if version != known:
                slot, known = self.slot(label), version
                if slot.generation > than and slot.phase is Phase.RUNNING:
                    return
            elif monotonic_ns() > deadline_ns:
                raise _in_vain(f"{label} is {seen(self.slot(label))}")
            time.sleep(LOOK_NS / 1e9)

    # ------------------------------------------------------------ striking

    def kill(self, labels: Sequence[str]) -> Death:
        """KILL all of these in one burst, and wait for their successors.

        Raises:
            ControlError: there are none in time.
        """
        old = {label: self.slot(label) for label in labels}
        killed_ns, dead_ns = _kill([slot.identity for slot in old.values()])
        running_ns = self._wait_running(old)
        return Death(killed_ns, dead_ns, max(self.slot(label).born_ns for label in labels), running_ns)


def _kill(identities: Sequence[Identity]) -> tuple[int, int]:
    """(just before the first signal, when the last was seen dead). All pidfds are open before the first."""
    with contextlib.ExitStack() as stack:
        pidfds = []
        for identity in identities:
            pidfds.append(_open(identity))
            stack.callback(os.close, pidfds[-1])
        began_ns = monotonic_ns()
        for pidfd in pidfds:
            process.send(pidfd, signal.SIGKILL)
        for pidfd in pidfds:
            process.wait_dead(pidfd, round(PATIENCE_S * 1e3))
        return began_ns, monotonic_ns()


def _open(identity: Identity) -> int:
    try:
        return open_process(identity)
    except (ProcessGone, IdentityUnknown):
        raise ControlError("somebody else ended a process of the pair: try again undisturbed") from None


def _in_vain(what: str) -> ControlError:
    return ControlError(f"the pair is not whole after {PATIENCE_S:g} s: {what}: is the machine overloaded?")


# ---------------------------------------------------------------- made and removed


def name_of_pair() -> str:
    return f"bench-{os.getpid()}"


@contextlib.contextmanager
def throw_away(workers: int) -> Iterator[Pair]:
    """A pair that is not started yet; at the end nothing is left of it, however this process ends.

    Whoever enters has to heed what asks it to end (`twinwatch.chaos.run.heeding_signals`).
    """
    with _directory() as directory, contextlib.closing(Keeper()) as keeper:
        promise = keeper.promise(undo.end(directory, name_of_pair(), []))
        try:
            yield Pair(directory, workers)
        finally:
            ignore_signals()
            private.end(directory, name_of_pair(), [])
            keeper.fulfil(promise)


@contextlib.contextmanager
def _directory() -> Iterator[str]:
    """Not even Ctrl-C comes between its making and the promise to remove it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKED_TO_END)
    directory = os.path.realpath(tempfile.mkdtemp(prefix=PREFIX))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED_TO_END)
        yield directory
    finally:
        ignore_signals()
        shutil.rmtree(directory, ignore_errors=True)
