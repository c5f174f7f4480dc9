"""What is decided about one slot: tables of every state, and what holds for any view."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reconcile_kit import FAILED, NOW_NS, PAUSE, RUN, SPEC, STOP, life_in, said, slot_in, view

from twinwatch.control import workers
from twinwatch.core.checks import Ready
from twinwatch.core.reconcile import (
    Birth,
    Change,
    Drag,
    EndEscaped,
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
    ending_of,
)
from twinwatch.core.record import Slot
from twinwatch.core.spec import Backoff, Hook, Limit, OnUnknown, Policy, Restart, Stop, WorkerSpec
from twinwatch.core.values import (
    NO_PROCESS,
    Desired,
    Ending,
    Exit,
    ExitKind,
    Health,
    HookState,
    Met,
    Phase,
)

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
    ready=st.booleans(),
    health=st.sampled_from(Health),
    signed_off=st.booleans(),
    hook=st.sampled_from(HookState),
    met=st.sampled_from(Met),
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
    | st.builds(
        WorkerSpec,
        st.just("w"),
        st.just(("w",)),
        birth_hash=st.integers(0, 1),
        restart=POLICIES,
        ready=st.sampled_from([None, Ready(notify=True), Ready(exit=True)]),
        after_exit=st.sampled_from([None, Hook(("h",))]),
        max_age_ns=st.sampled_from([0, NOW_NS // 2]),
    ),
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
    is_newer=st.booleans(),
    verdict=st.sampled_from(["", "silent"]),
    met=st.sampled_from(Met),
    is_beating=st.booleans(),
    is_fresh=st.booleans(),
    signed_off=st.booleans(),
    hook=st.sampled_from(HookLife),
    kin=st.builds(
        Kin,
        st.sampled_from([(), (4, 5)]),
        ending=st.booleans(),
        exceeded=st.sampled_from(["", "too often"]),
        gave_up=st.booleans(),
    ),
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
    assert not any_view.is_newer
    if any_view.life is Life.DEAD:
        assert slot.is_over
        assert any_view.rest is Rest.EMPTY
        assert slot.hook is not HookState.BEGUN


@settings(max_examples=500)
@given(VIEW)
def test_no_answer_touches_what_is_not_its_own(any_view):
    action = decide(any_view)
    if any_view.life is Life.UNKNOWABLE:
        assert action == Wait()
    if isinstance(action, Signal):
        of_hook = any_view.slot.hook is HookState.BEGUN and any_view.hook is HookLife.ALIVE
        assert any_view.life is Life.ALIVE or (any_view.slot.is_over and of_hook)
    if isinstance(action, Examine | EndEscaped | RunHook | Drag):
        assert any_view.life is Life.DEAD
        assert any_view.slot.is_over
        assert any_view.slot.hook is not HookState.BEGUN
    if isinstance(action, RunHook):
        assert (any_view.rest, any_view.slot.hook) == (Rest.EMPTY, HookState.NONE)
    if isinstance(action, Change | Signal):
        assert action.slot.generation == any_view.slot.generation
        assert action.slot != any_view.slot
        in_process, was = action.slot.phase not in NO_PROCESS, any_view.slot.phase not in NO_PROCESS
        if was and not in_process:
            assert any_view.life in (Life.NONE, Life.DEAD)  # a living process is never forgotten
