"""The promises, as they are seen from outside the watchers.

What is looked at: the state file, opened for reading only; pidfds of what it names; `/proc`; and, of a
throw-away pair, what its workers and its strangers noted. Nothing is asked of the watchers.
"""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

from twinwatch.chaos.census import census, descriptors, doubles
from twinwatch.chaos.fault import NEVER
from twinwatch.chaos.reader import WATCHERS, Look, Lost, Reader, Slots
from twinwatch.chaos.throwaway import ThrowAway
from twinwatch.core.record import Slot
from twinwatch.core.spec import PairSpec
from twinwatch.core.values import ExitKind, Phase
from twinwatch.linux.events import KEPT, MAX_BYTES
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, is_dead, open_process
from twinwatch.linux.paths import Paths

TITLES = {
    "P1": "exactly once",
    "P3": "recovery",
    "P4": "adoption",
    "P6": "only its own",
    "P7": "no wedge",
    "P8": "no resurrection",
    "P9": "no false alarm",
}
CENSUS_S = 0.25  # between two looks at all processes, while something is waited for
DESCRIPTORS_MAX = 64  # of a watcher, beside those for its workers
DESCRIPTORS_PER_WORKER = 6
LOG_MAX = 16 << 20  # bytes of the watchers' own log
EVENTS_MAX = (KEPT + 1) * (MAX_BYTES + (1 << 20))

_UNSEEN = (ExitKind.NONE, ExitKind.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept. `at_s`: seconds since the run began."""

    at_s: float
    promise: str
    what: str


class Judge:
    """What is wrong is added to `broken`."""

    def __init__(self, paths: Paths, spec: PairSpec, reader: Reader, own: ThrowAway | None) -> None:
        self._paths, self._spec, self._reader, self._own = paths, spec, reader, own
        self._began = time.monotonic()
        self.broken: list[Broken] = []
        self.ended_themselves = 0
        self._held: dict[str, tuple[int, int]] = {}  # label: (generation, pidfd)
        self._highest: dict[str, int] = {}
        self._next_census = 0.0

    def begin(self, began: float) -> None:
        """The run began then: seconds of CLOCK_MONOTONIC."""
        self._began = began

    def close(self) -> None:
        for _, pidfd in self._held.values():
            os.close(pidfd)
        self._held.clear()

    def accuse(self, promise: str, what: str) -> None:
        """Say it once."""
        if not any(one.promise == promise and one.what == what for one in self.broken):
            at_s = round(time.monotonic() - self._began, 3)
            self.broken.append(Broken(at_s, promise, what))

    # ------------------------------------------------------------ at any moment

    def watch(self) -> None:
        """Nothing lives twice; nothing happened to a stranger. Now and then, for it costs a scan."""
        if time.monotonic() >= self._next_census:
            with contextlib.suppress(Lost):
                self.note(self._reader.look().slots)
            self.look_around()
            self._next_census = time.monotonic() + CENSUS_S

    def note(self, slots: Slots) -> None:
        """Generations only grow, from one look to the next."""
        for name, slot in slots.items():
            highest = self._highest.get(name, slot.generation)
            if slot.generation < highest:
                ages = f"generation {highest} to {slot.generation}"
                self.accuse("P1", f"{name} went back from {ages}: generations only grow")
            self._highest[name] = max(highest, slot.generation)

    def rest(self) -> None:
        """No scan for a moment: something is being measured."""
        self._next_census = time.monotonic() + CENSUS_S

    def look_around(self) -> None:
        for what in (*doubles(census(self._paths)), *(self._own.double_starts() if self._own else ())):
            self.accuse("P1", what)
        for what in self._own.harms() if self._own else ():
            self.accuse("P6", what)

    # ------------------------------------------------------------ between two looks

    def hold(self, slots: Slots) -> None:
        """Keep a pidfd of everything that is named: what has a successor must be dead."""
        for name, slot in slots.items():
            if self._held.get(name, (-1, -1))[0] == slot.generation:
                continue
            if name in self._held:
                os.close(self._held.pop(name)[1])
            with contextlib.suppress(ProcessGone, IdentityUnknown):
                if slot.identity:
                    self._held[name] = slot.generation, open_process(slot.identity)

    def compare(self, before: Slots, now: Look, grown: Mapping[str, range]) -> None:
        """What must be true between two looks. `grown`: by how much each generation may have."""
        self.note(now.slots)
        for name in before.keys() & now.slots.keys():  # what is missing is damaged, or was taken out
            self._compare_slot(name, before[name], now.slots[name], grown.get(name, NEVER))
        for label in now.damaged:
            self.accuse("P7", f"the record of {label} is damaged and nobody repairs it")
        self.hold(now.slots)
        self.look_around()
        self._look_at_sizes(now)

    def _compare_slot(self, name: str, old: Slot, new: Slot, allowed: range) -> None:
        grown = new.generation - old.generation
        held_generation, pidfd = self._held.get(name, (-1, -1))
        ages = f"generation {old.generation} to {new.generation}"
        if grown and held_generation == old.generation and not is_dead(pidfd):
            self.accuse("P1", f"double start: {name} has generation {new.generation}, {old.generation} lives")
        if grown in allowed:
            is_other = new.identity != old.identity and old.phase is new.phase is Phase.RUNNING
            if not grown and is_other and not self._hands_over(old):
                self.accuse("P1", f"{name}: another process of the same generation {new.generation}")
        elif grown < 0:
            return  # said at once
        elif allowed != NEVER:
            self.accuse("P1" if grown else "P3", f"what was done to {name} took it from {ages}")
        elif name in WATCHERS.values():
            self.accuse("P9", f"nobody killed {name}, yet it went from {ages}")
        elif self._own is None and _ended_itself(new):
            self.ended_themselves += 1
        else:
            self.accuse("P4", f"nobody killed {name}, yet it went from {ages}")

    def _hands_over(self, slot: Slot) -> bool:
        """Whether a worker may leave its place to a process that a PID file names."""
        return any(spec.name == slot.name and spec.pid_file for spec in self._spec.workers)

    def _look_at_sizes(self, now: Look) -> None:
        """No file grows without bound, and no watcher collects descriptors."""
        size = sum(map(_size, _event_files(self._paths)))
        if size > EVENTS_MAX:
            self.accuse("P7", f"the event log has grown to {size} bytes")
        if (size := _size(self._paths.own_log)) > LOG_MAX:
            self.accuse("P7", f"{self._paths.own_log} has grown to {size} bytes")
        workers = len(now.slots) - len(WATCHERS)
        for name in WATCHERS.values():
            if name in now.slots:
                count = len(descriptors(now.slots[name].identity.pid))
                if count > DESCRIPTORS_MAX + DESCRIPTORS_PER_WORKER * workers:
                    self.accuse("P7", f"{name} has {count} descriptors open")


def _ended_itself(slot: Slot) -> bool:
    """Its last end was seen, and nobody killed it."""
    return slot.exit.kind not in _UNSEEN and slot.exit.signal != signal.SIGKILL


def _event_files(paths: Paths) -> list[str]:
    return [paths.events, *(f"{paths.events}.{number}" for number in range(1, KEPT + 1))]


def _size(path: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.stat(path).st_size
    return 0
