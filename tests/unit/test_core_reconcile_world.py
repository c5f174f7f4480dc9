"""A small world of one slot, in which the answers of `core.reconcile` are carried out."""

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from reconcile_kit import CHILD, NOW_NS, PAUSE, RUN, SPEC, STOP, life_in

from twinwatch.control import workers
from twinwatch.core import fence
from twinwatch.core.fence import Claim
from twinwatch.core.reconcile import (
    Birth,
    Change,
    EndEscaped,
    Examine,
    HookLife,
    Rest,
    RunHook,
    Signal,
    View,
    Wait,
    decide,
)
from twinwatch.core.record import Slot
from twinwatch.core.spec import Backoff, Hook, Limit, Policy, Restart, WorkerSpec
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import NO_EXIT, NO_PROCESS, Exit, ExitKind, HookState, Phase, Role

STEPS_MAX = 12  # between two waits; a guard allows 32


HOOKED = replace(
    SPEC,
    restart=Restart(backoff=Backoff(burst=1), limit=Limit(5, SECOND_NS)),
    after_exit=Hook(("h",), timeout_ns=SECOND_NS),
)


@dataclass
class Process:
    has_program: bool = False
    obeys: bool = True  # ends at a signal that can be ignored
    group: int = 0  # members that it leaves
    escapee: bool = False  # one that leaves the group and keeps the token


class World(RuleBasedStateMachine):
    """One slot; its process, its group and its token; the answers are carried out as a guard does."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = NOW_NS
        self.slot = Slot()
        self.spec: WorkerSpec | None = HOOKED
        self.pair = RUN
        self.process: Process | None = None
        self.end: Exit | None = None
        self.rest = Rest.UNSEEN
        self.group = 0
        self.escaped = False
        self.hook = HookLife.NONE
        self.hooked: list[int] = []  # generations whose hook was begun
        self.verdict = ""
        self.settle()

    # what the guard does

    def view(self) -> View:
        life = life_in(self.slot, alive=self.process is not None)
        return View(
            self.slot,
            self.spec,
            self.pair,
            self.now_ns,
            life,
            self.rest,
            self.end,
            has_program=bool(self.process and self.process.has_program),
            gate_until_ns=self.slot.until_ns,
            verdict=self.verdict,
            hook=self.hook,
        )

    def settle(self) -> None:
        """Decide and act until there is nothing to do."""
        for _ in range(STEPS_MAX):
            action = decide(self.view())
            if isinstance(action, Wait):
                assert action.until_ns is None or action.until_ns > self.now_ns
                return
            self.carry_out(action)
        raise AssertionError(f"no wait within {STEPS_MAX} steps: {action}")

    def carry_out(self, action) -> None:
        match action:
            case Change(slot, _):
                self.write(slot)
            case RunHook(slot):
                assert slot.generation not in self.hooked, "its hook ran already"
                self.hooked.append(slot.generation)
                self.hook = HookLife.ALIVE
                self.write(slot)
            case Signal(9, True, slot, _) if slot.hook is HookState.BEGUN:
                self.hook = HookLife.DEAD
                self.write(slot)
            case Signal(number, _, slot, _):
                if self.process and (number == 9 or self.process.obeys):
                    self.die(Exit(ExitKind.SIGNAL, self.slot.generation, signal=number, at_ns=self.now_ns))
                self.write(slot)
            case Birth(slot, counts, _):
                self.bear(slot, counts)
            case Examine():
                self.group = 0
                self.rest = Rest.ESCAPED if self.escaped else Rest.EMPTY
            case EndEscaped():
                self.escaped, self.rest = False, Rest.UNSEEN

    def write(self, slot: Slot) -> None:
        assert slot.generation == self.slot.generation
        self.slot = slot

    def bear(self, slot: Slot, counts: bool) -> None:
        assert self.process is None, "a second process of one worker"
        assert self.group == 0, "beside what the last one left"
        assert not self.escaped, "beside one that escaped"
        assert self.slot.is_over, "the last end is not recorded"
        assert self.hook is not HookLife.ALIVE, "beside the hook of the last one"
        assert self.pair is RUN
        assert self.slot.desired is RUN
        claim = Claim(slot.generation, 1, Role.A, 1)
        self.slot = fence.born(
            slot,
            claim,
            CHILD,
            now_ns=self.now_ns,
            until_ns=self.now_ns + 100,
            birth_hash=self.spec.birth_hash,
            is_restart=counts,
        )
        self.process, self.end, self.rest = Process(), None, Rest.UNSEEN
        self.hook, self.verdict = HookLife.NONE, None

    def die(self, end: Exit) -> None:
        self.group, self.escaped = self.process.group, self.escaped or self.process.escapee
        self.process, self.end = None, end

    # what happens

    @rule()
    @precondition(lambda self: self.process and not self.process.has_program)
    def executes(self):
        self.process.has_program = True
        self.settle()

    @rule(obeys=st.booleans(), group=st.integers(0, 2), escapee=st.booleans())
    @precondition(lambda self: self.process and self.process.has_program)
    def behaves(self, obeys, group, escapee):
        self.process.obeys, self.process.group, self.process.escapee = obeys, group, escapee

    @rule(
        kind=st.sampled_from(
            [ExitKind.CLEAN, ExitKind.ERROR, ExitKind.SIGNAL, ExitKind.EXEC_FAILED, ExitKind.UNKNOWN]
        )
    )
    @precondition(lambda self: self.process)
    def ends(self, kind):
        self.die(Exit(kind, self.slot.generation, code=1, at_ns=self.now_ns))
        self.settle()

    @rule()
    @precondition(lambda self: self.hook is HookLife.ALIVE)
    def hook_ends(self):
        self.hook = HookLife.DEAD
        self.settle()

    @rule()
    @precondition(lambda self: self.process and self.slot.phase is Phase.RUNNING)
    def is_convicted(self):
        self.verdict = "silent"
        self.settle()

    @rule()
    @precondition(lambda self: self.slot.is_over)
    def an_heir_looks(self):
        """The guard was killed: what it had seen of the remains is forgotten."""
        self.rest = Rest.UNSEEN
        self.settle()

    @rule(span_ns=st.sampled_from([1, 100, SECOND_NS, 60 * SECOND_NS]))
    def time_passes(self, span_ns):
        self.now_ns += span_ns
        self.settle()

    @rule(to=st.sampled_from([workers._to_start, workers._to_restart]))
    @precondition(lambda self: self.slot.phase is not Phase.FREE)
    def told_to_run(self, to):
        self.slot = to(self.slot)
        self.settle()

    @rule(desired=st.sampled_from([STOP, PAUSE, RUN]))
    @precondition(lambda self: self.slot.phase is not Phase.FREE)
    def wished(self, desired):
        self.slot = replace(self.slot, desired=desired)
        self.settle()

    @rule(pair=st.sampled_from([STOP, RUN]))
    def pair_is_to_be(self, pair):
        self.pair = pair
        self.settle()

    @rule(birth_hash=st.integers(1, 3), policy=st.sampled_from(Policy), gone=st.booleans())
    def reloaded(self, birth_hash, policy, gone):
        restart = Restart(policy, backoff=Backoff(burst=1), limit=Limit(5, SECOND_NS))
        self.spec = None if gone else replace(HOOKED, birth_hash=birth_hash, restart=restart)
        self.settle()

    @invariant()
    def what_has_ended_is_recorded(self):
        if self.slot.phase in NO_PROCESS:
            assert self.process is None
            assert self.slot.is_over
            assert self.slot.phase is Phase.FATAL or not self.escaped

    @invariant()
    def nobody_rests_beside_a_hook(self):
        if self.hook is HookLife.ALIVE:
            assert self.process is None
            assert self.slot.phase is Phase.STOPPING

    @invariant()
    def what_is_to_stop_comes_to_rest(self):
        if (self.pair is STOP or self.slot.desired is STOP) and self.process is None:
            waits = self.hook is HookLife.ALIVE
            assert waits or self.slot.phase in (Phase.STOPPED, Phase.FREE, Phase.FATAL)

    @invariant()
    def what_is_to_run_has_a_process_or_a_reason(self):
        if self.pair is RUN and self.slot.desired is RUN and self.spec and self.process is None:
            if self.hook is HookLife.ALIVE:
                return
            assert self.slot.phase in (Phase.BACKOFF, Phase.FATAL, Phase.STOPPED)
            if self.slot.phase is Phase.STOPPED:
                assert self.spec.restart.policy is not Policy.ALWAYS
            assert self.slot.exit != NO_EXIT


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=80, stateful_step_count=30)
