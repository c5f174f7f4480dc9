"""A small world of one group: its guards act a step at a time, are killed in between, and heirs go on.

The roster and the decisions are the real ones. A drag may be cut off after any mark, and whoever acts next sees
only the records. What is asked: nobody is born beside one that has yet to end, all end in reverse order, and in
the end all run again, in order.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from twinwatch.control import workers
from twinwatch.core import fence
from twinwatch.core.fence import Claim
from twinwatch.core.kinship import Member, kin_of
from twinwatch.core.reconcile import (
    Birth,
    Change,
    Drag,
    Examine,
    HookLife,
    Kin,
    Life,
    Rest,
    RunHook,
    Signal,
    View,
    Wait,
    decide,
)
from twinwatch.core.record import Slot
from twinwatch.core.spec import Backoff, Group, Hook, Limit, PairSpec, Restart, Strategy, WorkerSpec
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import (
    NO_PROCESS,
    Desired,
    Ending,
    Exit,
    ExitKind,
    HookState,
    Identity,
    Phase,
    Role,
)
from twinwatch.linux.statefile import Read
from twinwatch.watch.roster import Guarded, Roster

NAMES = ("a1", "b1", "c1")
PLACES = tuple((3 + at, name, 0) for at, name in enumerate(NAMES))
INDICES = [index for index, _, _ in PLACES]
STEPS_MAX = 200
LIMIT = Limit(3, 1000 * SECOND_NS)


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_ns = SECOND_NS
        self.roster = Roster()
        self.alive: dict[int, bool] = {}  # index: whether it was told to end
        self.hooks: set[int] = set()  # whose hook runs
        self.crashes: dict[int, int] = {}  # of slots that ended by themselves: when that was recorded

    @initialize(strategy=st.sampled_from(Strategy), limit=st.sampled_from([None, LIMIT]), hook=st.booleans())
    def begin(self, strategy, limit, hook):
        chained = strategy is not Strategy.ONE_FOR_ONE
        specs = tuple(
            WorkerSpec(
                name,
                (name,),
                restart=Restart(backoff=Backoff(burst=1, jitter=0)),
                depends_on=(NAMES[at - 1],) if chained and at else (),
                after_exit=Hook(("h",)) if hook else None,
            )
            for at, name in enumerate(NAMES)
        )
        group = Group("g", NAMES, strategy, limit)
        self.strategy, self.limit = strategy, limit
        self.roster.adopt(PairSpec("p", workers=specs, groups=(group,), places=PLACES), 6)
        self.roster.count()
        self.settle()
        assert self.all_run()

    # ------------------------------------------------------------ a guard

    def view(self, guarded: Guarded) -> View:
        slot, index = guarded.slot, guarded.index
        life = Life.NONE if slot.phase in NO_PROCESS else Life.ALIVE
        if life is Life.ALIVE and (slot.is_over or index not in self.alive):
            life = Life.DEAD
        return View(
            slot,
            guarded.spec,
            Desired.RUN,
            self.now_ns,
            life,
            rest=guarded.rest,
            end=Exit(ExitKind.SIGNAL, slot.generation, signal=9, at_ns=self.now_ns),
            has_program=True,
            gate_until_ns=self.now_ns + SECOND_NS,
            dependencies_ready=self.roster.are_dependencies_ready(guarded),
            dependants_live=self.roster.are_dependants_live(guarded, Desired.RUN),
            hook=HookLife.ALIVE if index in self.hooks else HookLife.DEAD,
            kin=self.kin(guarded),
        )

    def kin(self, guarded: Guarded) -> Kin:
        group = self.roster.group_of(guarded)
        if group is None:
            return Kin()
        others = [Member(kin.index, rank, kin.slot) for rank, kin in self.roster.kin(guarded, group)]
        return kin_of(
            group, Member(guarded.index, NAMES.index(guarded.slot.name), guarded.slot), others, self.now_ns
        )

    def act(self, index: int, marks: int = 9) -> bool:
        """One step for one slot; False: there was nothing to do. A drag is cut off after so many marks."""
        guarded = self.roster[index]
        self.now_ns += 1
        action = decide(self.view(guarded))
        match action:
            case Wait(until_ns):
                if until_ns is None or until_ns > self.now_ns + 60 * SECOND_NS:
                    return False
                self.now_ns = max(self.now_ns, until_ns)
                return guarded.slot.phase is Phase.BACKOFF
            case Change(slot, _):
                if slot.is_over and not guarded.slot.is_over and slot.exit.ending is Ending.NONE:
                    self.crashes[index] = self.now_ns
                self.write(index, slot)
            case Signal(_, _, slot, _) if slot.hook is HookState.BEGUN:
                self.hooks.discard(index)
                self.write(index, slot)
            case Signal(_, _, slot, _):
                self.check_end(index, slot)
                self.alive[index] = True
                self.write(index, slot)
            case Birth(slot, counts, _):
                self.bear(index, slot, counts)
            case RunHook(slot):
                self.hooks.add(index)
                self.write(index, slot)
            case Examine():
                guarded.rest = Rest.EMPTY
            case Drag(indices):
                self.drag(indices, marks)
        return True

    def drag(self, indices: tuple[int, ...], marks: int) -> None:
        """As `Guard._drag` does it: the last one first."""
        for index in list(reversed(indices))[:marks]:
            slot = self.roster[index].slot
            if slot.phase in (Phase.RUNNING, Phase.STARTING, Phase.PAUSED):
                self.write(index, replace(slot, end_generation=slot.generation, ending=Ending.GROUP))

    def write(self, index: int, slot: Slot) -> None:
        guarded = self.roster[index]
        if slot.generation != guarded.slot.generation:
            guarded.rest = Rest.UNSEEN
        guarded.read = Read(slot, guarded.read.version + 1)
        self.roster.count()

    def bear(self, index: int, slot: Slot, counts: bool) -> None:
        assert index not in self.alive, "a second process of one worker"
        assert index not in self.hooks, "beside the hook of the last one"
        self.check_birth(index)
        claim = Claim(slot.generation, 1, Role.A, 1)
        born = fence.born(slot, claim, Identity(index), now_ns=self.now_ns, is_restart=counts)
        self.alive[index] = False
        self.crashes.pop(index, None)
        self.write(index, born)

    def settle(self) -> None:
        """Guards act, whoever was told to ends, hooks end, until nothing happens any more."""
        for _ in range(STEPS_MAX):
            moved = [index for index in INDICES if self.act(index)]
            ending = [index for index, told in self.alive.items() if told]
            for index in ending:
                del self.alive[index]
            if not (moved or ending or self.hooks):
                return
            self.hooks.clear()
        raise AssertionError(f"no rest: {[self.roster[index].slot for index in INDICES]}")

    # ------------------------------------------------------------ what must hold

    def slots(self) -> list[Slot]:
        return [self.roster[index].slot for index in INDICES]

    def all_run(self) -> bool:
        return all(slot.phase is Phase.RUNNING for slot in self.slots()) and sorted(self.alive) == INDICES

    def taken_by(self, index: int) -> list[int]:
        """Whom the death of this one takes along."""
        match self.strategy:
            case Strategy.ONE_FOR_ONE:
                return []
            case Strategy.REST_FOR_ONE:
                return [other for other in INDICES if other > index]
            case Strategy.ONE_FOR_ALL:
                return [other for other in INDICES if other != index]

    def check_birth(self, index: int) -> None:
        """Nobody is born while one lives that has to end because of a death."""
        for dead, at_ns in self.crashes.items():
            slot = self.roster[dead].slot
            if not slot.is_over or slot.generation <= slot.end_generation or slot.desired is not Desired.RUN:
                continue
            left = [other for other in self.taken_by(dead) if self.has_to_end(other, at_ns)]
            assert not left, f"{index} is born, {left} have to end because of {dead}"

    def has_to_end(self, index: int, died_ns: int) -> bool:
        """One that was ordered to start anew ends by that order."""
        slot = self.roster[index].slot
        ordered = slot.generation <= slot.end_generation and slot.ending is not Ending.GROUP
        old = slot.born_ns < died_ns and slot.desired is Desired.RUN
        return index in self.alive and old and not ordered

    def check_end(self, index: int, slot: Slot) -> None:
        if slot.ending is not Ending.GROUP:
            return
        later = [
            other
            for other in INDICES
            if other > index
            and other in self.alive
            and self.roster[other].slot.ending is Ending.GROUP
            and not self.roster[other].slot.is_over
        ]
        assert not later, f"{index} is asked to end before {later}"

    @invariant()
    def an_over_one_has_no_process(self):
        for index in INDICES if self.roster.indices else []:
            slot = self.roster[index].slot
            assert not (slot.is_over and index in self.alive)

    # ------------------------------------------------------------ what happens

    @rule(index=st.sampled_from(INDICES), steps=st.integers(1, 4), marks=st.integers(0, 2))
    def a_guard_acts(self, index, steps, marks):
        """And is killed afterwards, perhaps in the middle of a drag."""
        for _ in range(steps):
            self.act(index, marks)

    @rule(index=st.sampled_from(INDICES))
    def an_heir_looks(self, index):
        self.roster[index].rest = Rest.UNSEEN

    @rule(index=st.sampled_from(INDICES), steps=st.integers(0, 5), marks=st.integers(0, 2))
    def dies(self, index, steps, marks):
        self.alive.pop(index, None)
        for _ in range(steps):
            self.act(index, marks)

    @rule(steps=st.integers(0, 5))
    def one_that_was_told_ends(self, steps):
        told = [index for index, is_told in self.alive.items() if is_told]
        if told:
            self.dies(told[-1], steps, 9)

    @rule()
    @precondition(lambda self: self.hooks)
    def a_hook_ends(self):
        self.hooks.pop()

    @rule(index=st.sampled_from(INDICES), to=st.sampled_from([workers._to_start, workers._to_restart]))
    def is_told_to_run(self, index, to):
        """As the command does it: all that gave up with it are told as well."""
        for other in INDICES:
            slot = self.roster[other].slot
            if workers._not_given_up(slot) != slot:
                self.write(other, workers._to_start(workers._not_given_up(slot)))
        self.write(index, to(self.roster[index].slot))

    @rule(index=st.sampled_from(INDICES))
    def is_told_to_stop(self, index):
        self.write(index, replace(self.roster[index].slot, desired=Desired.STOP))

    @rule()
    def comes_to_rest(self):
        self.settle()
        slots = self.slots()
        wanted = [slot for slot in slots if slot.desired is Desired.RUN]
        if any(slot.phase is Phase.FATAL for slot in slots):
            assert self.limit
            assert {slot.phase for slot in wanted} == {Phase.FATAL}
            assert not self.alive
            return
        if len(wanted) < len(NAMES):
            return  # who depends on a stopped one may wait
        assert self.all_run(), slots
        if self.strategy is Strategy.ONE_FOR_ALL:
            deaths = [
                slot.exit.at_ns for slot in slots if slot.exit.ending is Ending.NONE and slot.exit.signal
            ]
            assert all(slot.born_ns > max(deaths, default=0) for slot in slots), slots


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=200, stateful_step_count=30)
