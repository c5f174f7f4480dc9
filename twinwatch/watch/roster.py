"""The worker slots of a configuration: who is where, who waits for whom, who is ready, who lives.

Counts are kept as slots change, so that no event does work in proportion to the number of workers.
"""

from collections.abc import Iterator

from twinwatch.core import reconcile
from twinwatch.core.kinship import has_given_up
from twinwatch.core.reconcile import HookLife, Life, Rest
from twinwatch.core.record import Damage, Slot
from twinwatch.core.spec import Group, PairSpec, Stop, WorkerSpec
from twinwatch.core.values import (
    FIRST_WORKER_SLOT,
    NO_PROCESS,
    Desired,
    Ending,
    Exit,
    ExitKind,
    HookState,
    Phase,
    Role,
)
from twinwatch.linux.gate import Child
from twinwatch.linux.statefile import Read
from twinwatch.watch.vitals import Vitals


class Guarded:
    """One worker slot, and what its guard has found out about it."""

    __slots__ = (
        "child",
        "damage",
        "dead_ns",
        "deferred_ns",
        "failure",
        "has_program",
        "hook_ended",
        "hook_pidfd",
        "index",
        "instance",
        "parting",
        "pause_ns",
        "pidfd",
        "read",
        "rest",
        "seen_ns",
        "spec",
        "unknowable",
        "vitals",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.spec: WorkerSpec | None = None
        self.parting = Stop()  # of the worker that had this place in the configuration before
        self.instance = 0
        self.read = Read(Slot(), -1)
        self.damage: Damage | None = None
        self.pidfd = -1
        self.child: Child | None = None
        self.hook_pidfd = -1
        self.vitals: Vitals | None = None
        self.forget_generation()

    def forget_generation(self) -> None:
        self.dead_ns = 0  # when its death was seen
        self.seen_ns = 0  # when this guard first saw this generation
        self.deferred_ns = 0  # until then its owner has the first say
        self.has_program = False
        self.unknowable = False
        self.failure: Exit | None = None
        self.hook_ended = False
        self.rest = Rest.UNSEEN
        self.pause_ns = reconcile.LEFTOVER_PAUSE_NS

    @property
    def slot(self) -> Slot:
        return self.read.slot

    @property
    def names_process(self) -> bool:
        """Its record names a process whose end is not recorded."""
        return bool(self.slot.identity) and not self.slot.is_over and self.slot.phase not in NO_PROCESS

    @property
    def life(self) -> Life:
        if self.slot.phase in NO_PROCESS:
            return Life.NONE
        if self.slot.is_over or self.dead_ns:
            return Life.DEAD
        return Life.UNKNOWABLE if self.unknowable else Life.ALIVE

    @property
    def hook(self) -> HookLife:
        if self.slot.hook is not HookState.BEGUN:
            return HookLife.NONE
        return HookLife.DEAD if self.hook_ended else HookLife.ALIVE

    @property
    def is_registered(self) -> bool:
        """The pair did not start this process: it leads no group that could be ended with it."""
        return self.slot.owner is Role.GUEST

    @property
    def owner(self) -> Role:
        """Whose first say it is: who gave birth last, or by turns for one that was never born."""
        if self.slot.owner in (Role.A, Role.B):
            return self.slot.owner
        return Role.A if self.index % 2 else Role.B


class Roster:
    """All worker slots by index."""

    def __init__(self) -> None:
        self._slots: dict[int, Guarded] = {}
        self._order: list[int] = []
        self._members: dict[str, list[int]] = {}
        self._dependants: dict[str, list[str]] = {}
        self._ready: dict[str, int] = {}
        self._live: dict[str, int] = {}
        self._groups: dict[str, Group] = {}
        self._next = 0

    def __getitem__(self, index: int) -> Guarded:
        return self._slots[index]

    def __iter__(self) -> Iterator[Guarded]:
        return iter(self._slots.values())

    def get(self, index: int) -> Guarded | None:
        return self._slots.get(index)

    @property
    def indices(self) -> list[int]:
        return self._order

    def adopt(self, spec: PairSpec, slots: int) -> None:
        """Give every slot its worker of this configuration, or none."""
        places = {index: (spec.worker_named(name), instance) for index, name, instance in spec.places}
        for index in range(FIRST_WORKER_SLOT, slots):
            guarded = self._slots.setdefault(index, Guarded(index))
            if guarded.spec is not None:
                guarded.parting = guarded.spec.stop
            guarded.spec, guarded.instance = places.get(index, (None, 0))
        self._order = list(self._slots)
        self._members, self._dependants = {}, {}
        for index, name, _ in spec.places:
            self._members.setdefault(name, []).append(index)
        for worker in spec.workers:
            for name in worker.depends_on:
                self._dependants.setdefault(name, []).append(worker.name)
        self._groups = {name: group for group in spec.groups for name in group.workers}

    def take_turns(self, count: int) -> list[Guarded]:
        """The next few slots, neighbours in the state file, round and round."""
        if self._next >= len(self._order):
            self._next = 0
        begin, self._next = self._next, self._next + count
        return [self._slots[index] for index in self._order[begin : self._next]]

    # ------------------------------------------------------------ counts

    def count(self) -> None:
        """Count anew."""
        self._ready, self._live = {}, {}
        for guarded in self:
            self._add(guarded.slot, 1)

    def _add(self, slot: Slot, by: int) -> None:
        if is_ready(slot):
            self._ready[slot.name] = self._ready.get(slot.name, 0) + by
        if slot.phase not in NO_PROCESS:
            self._live[slot.name] = self._live.get(slot.name, 0) + by

    def changed(self, old: Slot, new: Slot) -> list[int]:
        """Account for a change; the slots that may go on because of it."""
        if (old.phase, old.name, old.ready, old.is_over) == (new.phase, new.name, new.ready, new.is_over):
            return []
        self._add(old, -1)
        self._add(new, 1)
        names = list(self._dependants.get(new.name, ()))
        if new.name in self._groups:
            names += self._groups[new.name].workers
        if new.phase in NO_PROCESS:
            names += self._dependencies(new.name)
        return [index for name in names for index in self._members.get(name, ())]

    def _dependencies(self, name: str) -> tuple[str, ...]:
        spec = next((self._slots[index].spec for index in self._members.get(name, ())), None)
        return spec.depends_on if spec else ()

    @property
    def is_all_over(self) -> bool:
        """No worker slot has a process."""
        return not any(self._live.values())

    def concerns_others(self, guarded: Guarded) -> bool:
        name = guarded.slot.name
        return (
            name in self._dependants or name in self._groups or bool(guarded.spec and guarded.spec.depends_on)
        )

    def group_of(self, guarded: Guarded) -> Group | None:
        return self._groups.get(guarded.slot.name)

    def kin(self, guarded: Guarded, group: Group) -> list[tuple[int, Guarded]]:
        """The other members of a slot's group: (rank of its worker, member)."""
        return [
            (rank, self._slots[index])
            for rank, name in enumerate(group.workers)
            for index in self._members.get(name, ())
            if index != guarded.index
        ]

    def are_dependencies_ready(self, guarded: Guarded) -> bool:
        names = guarded.spec.depends_on if guarded.spec else ()
        return all(self._ready.get(name, 0) >= len(self._members.get(name, ())) for name in names)

    def are_dependants_live(self, guarded: Guarded, pair: Desired) -> bool:
        """Whether one that has to end before this one lives: a dependant, or a later one of its group."""
        names = [name for name in self._dependants.get(guarded.slot.name, ()) if self._live.get(name, 0)]
        if pair is Desired.STOP:
            return bool(names)
        return self._are_later_ending(guarded) or any(
            self._is_to_end(index) for name in names for index in self._members.get(name, ())
        )

    def _is_to_end(self, index: int) -> bool:
        slot = self._slots[index].slot
        return slot.phase not in NO_PROCESS and (slot.desired is Desired.STOP or _is_ending(slot))

    def _are_later_ending(self, guarded: Guarded) -> bool:
        group = self.group_of(guarded)
        if group is None:
            return False
        own, kin = group.workers.index(guarded.slot.name), self.kin(guarded, group)
        gave_up = any(has_given_up(other.slot) for _, other in kin)
        return any(rank > own and _is_ending(other.slot, gave_up=gave_up) for rank, other in kin)


def _is_ending(slot: Slot, *, gave_up: bool = False) -> bool:
    """It has a process that is to end with its group."""
    if slot.phase in NO_PROCESS or slot.is_over:
        return False
    return slot.ending is Ending.GROUP or (gave_up and slot.desired is not Desired.PAUSE)


def is_ready(slot: Slot) -> bool:
    """It runs, or it was a job that has ended well."""
    if slot.phase in (Phase.RUNNING, Phase.PAUSED):
        return slot.ready
    return (
        slot.phase is Phase.STOPPED and slot.exit.kind is ExitKind.CLEAN and slot.exit.ending is Ending.NONE
    )
