"""What is decided about one slot: tables of every state, and a small world in which it is carried out."""

from dataclasses import dataclass, replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from twinwatch.control import workers
from twinwatch.core import fence
from twinwatch.core.fence import Claim
from twinwatch.core.reconcile import (
    Birth,
    Change,
    EndEscaped,
    Examine,
    Life,
    Rest,
    Signal,
    View,
    Wait,
    decide,
    ending_of,
)
from twinwatch.core.record import Slot
from twinwatch.core.spec import Backoff, Limit, OnUnknown, Policy, Restart, Stop, WorkerSpec
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import (
    NO_EXIT,
    NO_PROCESS,
    Desired,
    Ending,
    Exit,
    ExitKind,
    Identity,
    Phase,
    Role,
)

NOW_NS = 1000
LATER_NS = 2000
SPEC = WorkerSpec("w", ("w",), birth_hash=1)
FAILED = Exit(ExitKind.ERROR, 3, code=1, at_ns=900)
CHILD = Identity(5, 6, 7, b"x")


def slot_in(phase: Phase, desired: Desired = Desired.RUN, **fields: object) -> Slot:
    """Generation 3, whose end is recorded where its phase says that it has ended."""
    over = phase in NO_PROCESS
    whole = {
        "generation": 3,
        "identity": CHILD,
        "exit": FAILED if over else replace(FAILED, generation=2),
        "birth_hash": 1,
        "born_ns": 500,
        "until_ns": LATER_NS,
        "ready": phase is Phase.RUNNING,
    }
    return Slot("w", phase=phase, desired=desired, **{**whole, **fields})


def view(slot: Slot, **fields: object) -> View:
    whole = {
        "spec": SPEC,
        "pair": Desired.RUN,
        "now_ns": NOW_NS,
        "rest": Rest.EMPTY,
        "end": FAILED,
        "gate_until_ns": 5000,
        "has_program": True,
    }
    return View(slot, **{**whole, **fields})


def said(action: object) -> str:
    match action:
        case Change(slot, _):
            return f"change to {slot.phase.name}"
        case Signal(number, group, slot, _):
            return f"signal {number}{' to the group' if group else ''}, {slot.ending.name}"
        case Wait(None):
            return "wait"
        case Wait(until_ns):
            return f"wait until {until_ns}"
        case _:
            return type(action).__name__


STOP, RUN, PAUSE = Desired.STOP, Desired.RUN, Desired.PAUSE

# The answers to a process that lives, and to none, by phase and desired state.
ALIVE = {
    (Phase.STARTING, STOP): "signal 15, STOP",
    (Phase.STARTING, RUN): "change to RUNNING",
    (Phase.STARTING, PAUSE): "change to RUNNING",
    (Phase.RUNNING, STOP): "signal 15, STOP",
    (Phase.RUNNING, RUN): "wait",
    (Phase.RUNNING, PAUSE): "change to PAUSED",
    (Phase.STOPPING, STOP): "wait until 2000",
    (Phase.STOPPING, RUN): "wait until 2000",
    (Phase.STOPPING, PAUSE): "wait until 2000",
    (Phase.PAUSED, STOP): "signal 15, STOP",
    (Phase.PAUSED, RUN): "change to RUNNING",
    (Phase.PAUSED, PAUSE): "wait",
}
NONE = {
    (Phase.FREE, STOP): "change to STOPPED",
    (Phase.FREE, RUN): "change to STOPPED",
    (Phase.FREE, PAUSE): "change to STOPPED",
    (Phase.STOPPED, STOP): "wait",
    (Phase.STOPPED, RUN): "Birth",
    (Phase.STOPPED, PAUSE): "wait",
    (Phase.BACKOFF, STOP): "change to STOPPED",
    (Phase.BACKOFF, RUN): "wait until 2000",
    (Phase.BACKOFF, PAUSE): "change to STOPPED",
    (Phase.FATAL, STOP): "change to STOPPED",
    (Phase.FATAL, RUN): "wait",
    (Phase.FATAL, PAUSE): "wait",
}


def life_of(phase: Phase) -> list[Life]:
    return [Life.NONE] if phase in NO_PROCESS else [Life.ALIVE, Life.DEAD, Life.UNKNOWABLE]


@pytest.mark.parametrize(
    ("phase", "desired", "life"), [(p, d, life) for p, d in product(Phase, Desired) for life in life_of(p)]
)
def test_every_phase_life_and_desire(phase, desired, life):
    answer = said(decide(view(slot_in(phase, desired), life=life)))
    if life is Life.UNKNOWABLE:
        assert answer == "wait"  # it must not be touched
    elif life is Life.DEAD:
        assert answer == "change to STOPPING"  # its end is recorded, before anything else
    else:
        assert answer == (ALIVE if life is Life.ALIVE else NONE)[phase, desired]


@pytest.mark.parametrize(
    ("phase", "desired", "life"), [(p, d, life) for p, d in product(Phase, Desired) for life in life_of(p)]
)
def test_every_state_of_a_pair_that_is_to_be_down(phase, desired, life):
    action = decide(view(slot_in(phase, desired), life=life, pair=STOP))
    assert not isinstance(action, Birth)
    if life is Life.ALIVE and phase is not Phase.STOPPING:
        assert said(action) == "signal 15, DOWN"


@pytest.mark.parametrize(("life", "phase"), [(life, phase) for phase in Phase for life in life_of(phase)])
def test_every_state_of_a_worker_that_left_the_configuration(life, phase):
    for spec in (None, replace(SPEC, name="other")):
        action = decide(view(slot_in(phase), life=life, spec=spec))
        if phase is Phase.FREE:
            assert said(action) == ("wait" if spec is None else "change to STOPPED")
        elif life is Life.NONE:
            assert said(action) == "change to FREE"  # unless something of it escaped, see below
            assert (action.slot.generation, action.slot.is_over) == (3, True)
        elif life is Life.ALIVE and phase is not Phase.STOPPING:
            assert said(action) == "signal 15, REMOVED"
        else:
            assert not isinstance(action, Birth)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Ending.NONE),
        ({"spec": None}, Ending.REMOVED),
        ({"instance": 1}, Ending.REMOVED),
        ({"pair": STOP}, Ending.DOWN),
        ({"slot": slot_in(Phase.RUNNING, STOP)}, Ending.STOP),
        ({"slot": slot_in(Phase.RUNNING, end_generation=3)}, Ending.RESTART),
        ({"slot": slot_in(Phase.RUNNING, end_generation=2)}, Ending.NONE),
        ({"spec": replace(SPEC, birth_hash=2)}, Ending.RELOAD),
        ({"slot": slot_in(Phase.RUNNING, PAUSE)}, Ending.NONE),
    ],
)
def test_why_a_process_has_to_end(fields, expected):
    fields = {"slot": slot_in(Phase.RUNNING), "life": Life.ALIVE, **fields}
    assert ending_of(view(**fields)) is expected


# ---------------------------------------------------------------- a birth recorded, no program yet


@pytest.mark.parametrize(
    ("now_ns", "expected"), [(4999, "wait until 5000"), (5000, "signal 9, GATED"), (9999, "signal 9, GATED")]
)
def test_a_recorded_child_has_its_time_behind_the_gate(now_ns, expected):
    starting = view(slot_in(Phase.STARTING), life=Life.ALIVE, has_program=False, now_ns=now_ns)
    assert said(decide(starting)) == expected


@pytest.mark.parametrize(("wish", "pair", "why"), [(STOP, RUN, "STOP"), (RUN, STOP, "DOWN")])
def test_a_gated_child_is_ended_by_kill_at_once(wish, pair, why):
    """It has no program that could end in order."""
    action = decide(view(slot_in(Phase.STARTING, wish), life=Life.ALIVE, has_program=False, pair=pair))
    assert said(action) == f"signal 9, {why}"
    assert action.slot.killed


# ---------------------------------------------------------------- the escalation of a stop


def test_a_stop_is_asked_for_then_forced_then_reported():
    spec = replace(SPEC, stop=Stop(signal=2, timeout_ns=100))
    slot = slot_in(Phase.RUNNING, STOP)
    asked = decide(view(slot, life=Life.ALIVE, spec=spec))
    assert said(asked) == "signal 2, STOP"
    assert (asked.slot.phase, asked.slot.until_ns, asked.slot.killed) == (Phase.STOPPING, NOW_NS + 100, False)
    forced = decide(view(asked.slot, life=Life.ALIVE, spec=spec, now_ns=NOW_NS + 100))
    assert said(forced) == "signal 9 to the group, STOP"
    assert forced.slot.killed
    assert said(decide(view(forced.slot, life=Life.ALIVE, spec=spec, now_ns=NOW_NS + 100))).startswith(
        "wait until"
    )
    reported = decide(view(forced.slot, life=Life.ALIVE, spec=spec, now_ns=forced.slot.until_ns))
    assert "no second copy" in reported.reason


@pytest.mark.parametrize(
    ("pair", "desired", "waits"), [(STOP, RUN, True), (RUN, STOP, True), (RUN, RUN, False)]
)
def test_dependants_end_first(pair, desired, waits):
    slot = slot_in(Phase.RUNNING, desired, end_generation=0 if waits else 3)
    action = decide(view(slot, life=Life.ALIVE, pair=pair, dependants_live=True))
    assert isinstance(action, Wait if waits else Signal)


# ---------------------------------------------------------------- after an end


OVER = slot_in(Phase.STOPPING, exit=FAILED)


def test_the_end_is_recorded_with_why_it_was_ended():
    slot = slot_in(Phase.STOPPING, ending=Ending.RESTART)
    action = decide(view(slot, life=Life.DEAD))
    assert action.slot.exit == replace(FAILED, ending=Ending.RESTART)
    assert action.slot.is_over


def test_an_end_that_may_still_be_found_out_is_waited_for():
    assert said(decide(view(slot_in(Phase.RUNNING), life=Life.DEAD, end=None))) == "wait"


@pytest.mark.parametrize(
    ("rest", "desired", "expected"),
    [
        (Rest.UNSEEN, RUN, "Examine"),
        (Rest.GROUP, RUN, "Examine"),
        (Rest.ESCAPED, RUN, "EndEscaped"),  # FAILED: it crashed, and this is what it left
        (Rest.ESCAPED, STOP, "EndEscaped"),
        (Rest.EMPTY, RUN, "Birth"),
        (Rest.EMPTY, STOP, "change to STOPPED"),
        (Rest.EMPTY, PAUSE, "change to STOPPED"),
    ],
)
def test_what_it_left_is_dealt_with_first(rest, desired, expected):
    assert said(decide(view(replace(OVER, desired=desired), life=Life.DEAD, rest=rest))) == expected


@pytest.mark.parametrize("kind", ExitKind)
def test_only_what_an_orderly_leader_left_may_be_what_it_was_for(kind):
    expected = "EndEscaped" if kind in (ExitKind.SIGNAL, ExitKind.ERROR) else "change to FATAL"
    over = replace(OVER, exit=replace(FAILED, kind=kind))
    assert said(decide(view(over, life=Life.DEAD, rest=Rest.ESCAPED))) == expected


def test_what_follows_the_end():
    def after(restart: Restart, **fields: object) -> str:
        spec = replace(SPEC, restart=restart)
        return said(decide(view(replace(OVER, **fields), life=Life.DEAD, spec=spec)))

    assert after(Restart(Policy.NEVER)) == "change to STOPPED"
    assert after(Restart(backoff=Backoff(burst=0))) == "change to BACKOFF"
    assert after(Restart(limit=Limit(1, 100)), births_ns=(950,)) == "change to FATAL"
    assert after(Restart(Policy.NEVER), end_generation=3) == "Birth"


@pytest.mark.parametrize("phase", [Phase.STOPPED, Phase.BACKOFF])
def test_no_birth_before_what_it_depends_on(phase):
    slot = slot_in(phase, until_ns=0)
    assert said(decide(view(slot, dependencies_ready=False))) == "wait"
    assert said(decide(view(slot, dependencies_ready=True))) == "Birth"
    dead = view(OVER, life=Life.DEAD, dependencies_ready=False)
    assert said(decide(dead)) == "change to BACKOFF"


def test_a_finished_job_is_not_run_again():
    spec = replace(SPEC, restart=Restart(Policy.ON_FAILURE))
    done = slot_in(Phase.STOPPED, exit=Exit(ExitKind.CLEAN, 3))
    assert said(decide(view(done, spec=spec))) == "wait"
    stopped_by_us = slot_in(Phase.STOPPED, exit=Exit(ExitKind.CLEAN, 3, ending=Ending.DOWN))
    assert said(decide(view(stopped_by_us, spec=spec))) == "Birth"


ESCAPED = slot_in(Phase.FATAL, exit=replace(FAILED, kind=ExitKind.ESCAPED))


@pytest.mark.parametrize(
    ("changed", "ends_as"),
    [
        ({"slot": replace(ESCAPED, desired=STOP)}, "change to STOPPED"),
        ({"pair": STOP}, "change to STOPPED"),
        ({"spec": None}, "change to FREE"),
        ({"slot": workers._to_restart(ESCAPED)}, "Birth"),
        ({"slot": workers._to_start(ESCAPED)}, "Birth"),
        ({"spec": replace(SPEC, birth_hash=2)}, "Birth"),
    ],
)
def test_there_is_a_way_back_from_an_escape(changed, ends_as):
    """What escaped is ended, and then the worker is what it was told to be."""
    fields = {"slot": ESCAPED, "rest": Rest.ESCAPED, **changed}
    action = decide(view(**{**fields, "life": life_in(fields["slot"], alive=False)}))
    if isinstance(action, Change):
        fields["slot"] = action.slot
        action = decide(view(**{**fields, "life": Life.DEAD}))
    assert said(action) == "EndEscaped"
    action = decide(view(**{**fields, "life": Life.DEAD, "rest": Rest.EMPTY}))
    assert said(action) == ends_as


def life_in(slot: Slot, *, alive: bool) -> Life:
    """As a guard sees it."""
    if slot.phase in NO_PROCESS:
        return Life.NONE
    return Life.DEAD if slot.is_over or not alive else Life.ALIVE


# ---------------------------------------------------------------- properties of every view


NUMBER = st.integers(0, 4)
SLOT = st.builds(
    Slot,
    name=st.sampled_from(["w", "other"]),
    instance=st.integers(0, 1),
    phase=st.sampled_from(Phase),
    desired=st.sampled_from(Desired),
    ending=st.sampled_from(Ending),
    killed=st.booleans(),
    generation=NUMBER,
    end_generation=NUMBER,
    birth_hash=st.integers(0, 1),
    born_ns=st.integers(0, NOW_NS),
    until_ns=st.integers(0, 2 * NOW_NS),
    failures=NUMBER,
    exit=st.builds(
        Exit,
        st.sampled_from(ExitKind),
        NUMBER,
        code=NUMBER,
        ending=st.sampled_from(Ending),
        at_ns=st.just(NOW_NS),
    ),
    births_ns=st.lists(st.integers(0, NOW_NS), max_size=4).map(lambda ns: tuple(sorted(ns))),
)
POLICIES = st.builds(
    Restart,
    st.sampled_from(Policy),
    on_unknown=st.sampled_from(OnUnknown),
    backoff=st.builds(Backoff, burst=st.integers(0, 2)),
    limit=st.sampled_from([None, Limit(2, NOW_NS)]),
)
VIEW = st.builds(
    View,
    slot=SLOT,
    spec=st.none()
    | st.builds(WorkerSpec, st.just("w"), st.just(("w",)), birth_hash=st.integers(0, 1), restart=POLICIES),
    pair=st.sampled_from([STOP, RUN]),
    now_ns=st.just(NOW_NS),
    life=st.sampled_from(Life),
    rest=st.sampled_from(Rest),
    end=st.none() | st.just(FAILED),
    instance=st.integers(0, 1),
    has_program=st.booleans(),
    gate_until_ns=st.integers(0, 2 * NOW_NS),
    dependencies_ready=st.booleans(),
    dependants_live=st.booleans(),
)


@settings(max_examples=500)
@given(VIEW)
def test_a_birth_is_decided_only_where_it_harms_nobody(any_view):
    """Whatever the view: also those that cannot be."""
    action = decide(any_view)
    if not isinstance(action, Birth):
        return
    slot = any_view.slot
    assert any_view.life in (Life.NONE, Life.DEAD)
    assert any_view.pair is RUN
    assert slot.desired is RUN
    assert any_view.spec is not None
    assert any_view.dependencies_ready
    assert action.slot.generation == slot.generation
    if any_view.life is Life.DEAD:
        assert slot.is_over
        assert any_view.rest is Rest.EMPTY


@settings(max_examples=500)
@given(VIEW)
def test_no_answer_touches_what_is_not_its_own(any_view):
    action = decide(any_view)
    if any_view.life is Life.UNKNOWABLE:
        assert action == Wait()
    if isinstance(action, Signal):
        assert any_view.life is Life.ALIVE
    if isinstance(action, Examine | EndEscaped):
        assert any_view.life is Life.DEAD
        assert any_view.slot.is_over
    if isinstance(action, Change | Signal):
        assert action.slot.generation == any_view.slot.generation
        assert action.slot != any_view.slot
        in_process, was = action.slot.phase not in NO_PROCESS, any_view.slot.phase not in NO_PROCESS
        if was and not in_process:
            assert any_view.life in (Life.NONE, Life.DEAD)  # a living process is never forgotten


# ---------------------------------------------------------------- a small world


STEPS_MAX = 12  # between two waits; a guard allows 32


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
        self.spec: WorkerSpec | None = replace(
            SPEC, restart=Restart(backoff=Backoff(burst=1), limit=Limit(5, SECOND_NS))
        )
        self.pair = RUN
        self.process: Process | None = None
        self.end: Exit | None = None
        self.rest = Rest.UNSEEN
        self.group = 0
        self.escaped = False
        self.stopped_at = -1  # generation at which a stop was last obeyed to the end
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
        self.spec = None if gone else replace(SPEC, birth_hash=birth_hash, restart=restart)
        self.settle()

    @invariant()
    def what_has_ended_is_recorded(self):
        if self.slot.phase in NO_PROCESS:
            assert self.process is None
            assert self.slot.is_over
            assert self.slot.phase is Phase.FATAL or not self.escaped

    @invariant()
    def what_is_to_stop_comes_to_rest(self):
        if (self.pair is STOP or self.slot.desired is STOP) and self.process is None:
            assert self.slot.phase in (Phase.STOPPED, Phase.FREE, Phase.FATAL)

    @invariant()
    def what_is_to_run_has_a_process_or_a_reason(self):
        if self.pair is RUN and self.slot.desired is RUN and self.spec and self.process is None:
            assert self.slot.phase in (Phase.BACKOFF, Phase.FATAL, Phase.STOPPED)
            if self.slot.phase is Phase.STOPPED:
                assert self.spec.restart.policy is not Policy.ALWAYS
            assert self.slot.exit != NO_EXIT


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=80, stateful_step_count=30)
