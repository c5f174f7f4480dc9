"""What is decided about readiness, health and age, about hooks, and about the others of a group."""

from dataclasses import replace

import pytest
from reconcile_kit import FAILED, NOW_NS, PAUSE, RUN, SPEC, STOP, said, slot_in, view

from twinwatch.core.checks import Ready
from twinwatch.core.reconcile import (
    Birth,
    Change,
    HookLife,
    Kin,
    Life,
    Rest,
    RunHook,
    Wait,
    decide,
    ending_of,
)
from twinwatch.core.spec import Hook, Policy, Restart
from twinwatch.core.values import Desired, Ending, Exit, ExitKind, Health, HookState, Met, Phase, Stage

RUNNING = slot_in(Phase.RUNNING)
UNREADY = slot_in(Phase.RUNNING, ready=False, until_ns=1500)
OVER = slot_in(Phase.STOPPING, exit=FAILED)
NOTIFIES = replace(SPEC, ready=Ready(notify=True, timeout_ns=500))
OLD = replace(SPEC, max_age_ns=700)  # born at 500: too old at 1200
HOOKED = replace(SPEC, after_exit=Hook(("h",), timeout_ns=50))
SILENT = "no heartbeat for 3 s"


def alive(slot: object, **fields: object) -> object:
    return decide(view(slot, life=Life.ALIVE, **fields))


def over(slot: object = OVER, **fields: object) -> object:
    return decide(view(slot, life=Life.DEAD, **fields))


# ---------------------------------------------------------------- of a newer configuration


@pytest.mark.parametrize("life", Life)
@pytest.mark.parametrize("phase", Phase)
def test_a_slot_of_a_newer_configuration_is_left_alone(life, phase):
    for spec in (SPEC, None, replace(SPEC, birth_hash=2)):
        seen = view(slot_in(phase, STOP), life=life, spec=spec, is_newer=True, verdict=SILENT)
        assert decide(seen) == Wait()


# ---------------------------------------------------------------- readiness


def test_readiness_is_asked_for_from_the_first_instruction():
    starting = slot_in(Phase.STARTING)
    begun = alive(starting, spec=NOTIFIES)
    assert (begun.slot.phase, begun.slot.ready, begun.slot.until_ns) == (Phase.RUNNING, False, 1500)
    at_once = alive(starting)
    assert (at_once.slot.phase, at_once.slot.ready, at_once.slot.until_ns) == (Phase.RUNNING, True, 0)
    already = alive(replace(starting, met=Met.NOTIFY), spec=NOTIFIES)
    assert (already.slot.ready, already.slot.until_ns) == (True, 0)


def test_it_becomes_ready():
    assert said(alive(UNREADY, spec=NOTIFIES)) == "wait until 1500"
    action = alive(UNREADY, spec=NOTIFIES, met=Met.NOTIFY)
    assert (action.slot.ready, action.slot.met, action.slot.until_ns) == (True, Met.NOTIFY, 0)
    assert action.reason == "ready"
    assert said(alive(action.slot, spec=NOTIFIES)) == "wait"


def test_what_was_met_once_is_met():
    """Two guards see two conditions: what one has written, the other adds to."""
    both = replace(SPEC, ready=Ready(notify=True, heartbeat=True))
    first = alive(UNREADY, spec=both, met=Met.HEARTBEAT)
    assert (first.slot.ready, first.slot.met, first.slot.until_ns) == (False, Met.HEARTBEAT, 1500)
    second = alive(first.slot, spec=both, met=Met.NOTIFY)
    assert second.slot.ready


def test_it_is_not_ready_any_more():
    """A reload asks for more than it has shown."""
    action = alive(RUNNING, spec=NOTIFIES)
    assert (action.slot.ready, action.reason) == (False, "not ready any more")


@pytest.mark.parametrize(
    ("now_ns", "is_fresh", "expected"),
    [
        (1499, True, "wait until 1500"),
        (1500, True, "change to RUNNING"),
        (1500, False, "wait until 1500"),  # this guard was away: it must not judge yet
        (9999, False, "wait until 1500"),
    ],
)
def test_it_has_its_time_to_get_ready(now_ns, is_fresh, expected):
    action = alive(UNREADY, spec=NOTIFIES, now_ns=now_ns, is_fresh=is_fresh)
    assert said(action) == expected
    if expected == "change to RUNNING":
        assert action.slot.note == "not ready in time"
        assert said(alive(action.slot, spec=NOTIFIES, now_ns=now_ns)) == "signal 15, UNREADY"


def test_a_sign_that_came_at_the_last_moment_counts():
    assert said(alive(UNREADY, spec=NOTIFIES, now_ns=1500, met=Met.NOTIFY)) == "change to RUNNING"


# ---------------------------------------------------------------- health


def test_the_first_sign_makes_it_healthy():
    action = alive(RUNNING, is_beating=True)
    assert (action.slot.health, action.reason) == (Health.HEALTHY, "healthy")
    assert said(alive(action.slot, is_beating=True)) == "wait"


def test_who_is_silent_is_convicted():
    """First on record, then by a signal: whatever happens to this guard in between."""
    recorded = alive(RUNNING, verdict=SILENT)
    assert said(recorded) == "change to RUNNING"
    assert (recorded.slot.health, recorded.slot.note) == (Health.UNHEALTHY, SILENT)
    action = alive(recorded.slot)
    assert said(action) == "signal 15, UNHEALTHY"
    assert not action.slot.ready
    assert action.reason == f"unhealthy: {SILENT}"


def test_it_was_convicted_also_where_the_guard_that_signalled_could_not_say_so():
    """It was killed between its signal and its record; the worker ended well meanwhile."""
    convicted = replace(RUNNING, health=Health.UNHEALTHY, note=SILENT)
    ended = decide(view(convicted, life=Life.DEAD, end=replace(FAILED, kind=ExitKind.CLEAN)))
    assert ended.slot.exit.ending is Ending.UNHEALTHY
    late = replace(UNREADY, health=Health.UNHEALTHY, note="not ready in time")
    assert decide(view(late, life=Life.DEAD, end=FAILED)).slot.exit.ending is Ending.UNREADY


def test_who_was_convicted_by_another_is_ended():
    """A service writes `unhealthy` and a note into the slot; a watcher acts on it."""
    action = alive(replace(RUNNING, health=Health.UNHEALTHY, note="probe failed"))
    assert said(action) == "signal 15, UNHEALTHY"
    assert action.slot.note == "probe failed"


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.PAUSED, Phase.STOPPING])
def test_only_a_running_worker_is_convicted(phase):
    desired = PAUSE if phase is Phase.PAUSED else RUN
    for fields in ({"verdict": SILENT}, {"slot": slot_in(phase, desired, health=Health.UNHEALTHY)}):
        slot = fields.pop("slot", slot_in(phase, desired))
        assert "UNHEALTHY" not in said(alive(slot, **fields))


@pytest.mark.parametrize("ending", [Ending.UNHEALTHY, Ending.UNREADY])
def test_a_convicted_worker_is_started_again_however_it_ended(ending):
    spec = replace(SPEC, restart=Restart(Policy.ON_FAILURE))
    for kind in (ExitKind.CLEAN, ExitKind.SIGNAL):
        assert said(over(replace(OVER, exit=Exit(kind, 3, ending=ending)), spec=spec)) == "Birth"
    assert said(over(replace(OVER, exit=Exit(ExitKind.CLEAN, 3)), spec=spec)) == "change to STOPPED"


def test_who_signed_off_is_not_started_again():
    """It said so before it died; the guard that records the end looks once more."""
    ended = decide(view(RUNNING, life=Life.DEAD, signed_off=True))
    assert ended.slot.signed_off
    action = over(ended.slot)
    assert (said(action), action.reason) == ("change to STOPPED", "it had signed off")
    assert said(decide(view(action.slot))) == "wait", "and stays so"
    silent = decide(view(RUNNING, life=Life.DEAD))
    assert not silent.slot.signed_off
    assert said(over(silent.slot)) == "Birth"


@pytest.mark.parametrize("ending", [Ending.UNHEALTHY, Ending.UNREADY, Ending.AGE, Ending.GROUP])
def test_what_a_convicted_worker_left_is_ended_however_well_it_ended(ending):
    """Its leader obeyed TERM with 0; what left its group is no daemon that it was started for."""
    left = replace(OVER, exit=replace(OVER.exit, kind=ExitKind.CLEAN, ending=ending))
    assert said(over(left, rest=Rest.ESCAPED)) == "EndEscaped"
    in_order = replace(OVER, exit=replace(OVER.exit, kind=ExitKind.CLEAN))
    assert said(over(in_order, rest=Rest.ESCAPED)) == "change to FATAL"


# ---------------------------------------------------------------- age


@pytest.mark.parametrize(
    ("now_ns", "expected"),
    [(1199, "wait until 1200"), (1200, "change to RUNNING"), (10**6, "change to RUNNING")],
)
def test_too_old(now_ns, expected):
    """First on record, then by a signal: its end is an ordered one whoever finds it."""
    action = alive(RUNNING, spec=OLD, now_ns=now_ns)
    assert said(action) == expected
    if expected.startswith("change"):
        assert said(alive(action.slot, spec=OLD, now_ns=now_ns)) == "signal 15, AGE"
        assert decide(view(action.slot, life=Life.DEAD, end=FAILED)).slot.exit.ending is Ending.AGE


def test_what_is_due_first_is_waited_for():
    spec = replace(OLD, ready=Ready(notify=True))
    assert said(alive(UNREADY, spec=spec)) == "wait until 1200"
    assert said(alive(replace(UNREADY, until_ns=1100), spec=spec)) == "wait until 1100"


def test_a_paused_worker_may_grow_old():
    assert said(alive(slot_in(Phase.PAUSED, PAUSE), spec=OLD, now_ns=10**6)) == "wait"


def test_one_that_was_too_old_is_born_again_under_every_policy():
    for policy in Policy:
        aged = replace(OVER, exit=Exit(ExitKind.CLEAN, 3, ending=Ending.AGE))
        action = over(aged, spec=replace(OLD, restart=Restart(policy)), kin=Kin((4,), exceeded="too often"))
        assert isinstance(action, Birth), policy
        assert not action.counts
        assert action.slot.failures == 0


# ---------------------------------------------------------------- after_exit


def test_the_hook_runs_when_nothing_is_left():
    assert said(over(spec=HOOKED, rest=Rest.UNSEEN)) == "Examine"
    action = over(spec=HOOKED)
    assert isinstance(action, RunHook)
    assert (action.slot.hook, action.slot.until_ns) == (HookState.BEGUN, NOW_NS + 50)


@pytest.mark.parametrize("fields", [{"pair": STOP}, {"slot": replace(OVER, desired=STOP)}], ids=str)
def test_the_hook_runs_also_before_it_rests(fields):
    slot = fields.pop("slot", OVER)
    assert isinstance(over(slot, spec=HOOKED, **fields), RunHook)
    done = over(replace(slot, hook=HookState.DONE), spec=HOOKED, **fields)
    assert said(done) == "change to STOPPED"


@pytest.mark.parametrize("rest", Rest)
def test_everything_waits_for_the_hook(rest):
    begun = replace(OVER, hook=HookState.BEGUN, until_ns=1050)
    for desired in Desired:
        slot = replace(begun, desired=desired)
        assert said(over(slot, spec=HOOKED, rest=rest, hook=HookLife.ALIVE)) == "wait until 1050"


def test_a_hook_that_takes_too_long_is_ended():
    begun = replace(OVER, hook=HookState.BEGUN, until_ns=1050)
    action = over(begun, spec=HOOKED, hook=HookLife.ALIVE, now_ns=1050)
    assert said(action) == "signal 9 to the group, NONE"
    assert action.slot.until_ns > 1050
    assert isinstance(over(action.slot, spec=HOOKED, hook=HookLife.ALIVE, now_ns=1051), Wait)


@pytest.mark.parametrize("hook", [HookLife.DEAD, HookLife.NONE])
def test_a_hook_runs_once(hook):
    begun = replace(OVER, hook=HookState.BEGUN, until_ns=1050)
    action = over(begun, spec=HOOKED, hook=hook)
    assert (said(action), action.slot.hook) == ("change to STOPPING", HookState.DONE)
    assert said(over(action.slot, spec=HOOKED)) == "Birth"


@pytest.mark.parametrize(
    "end",
    [
        Exit(ExitKind.EXEC_FAILED, 3, code=2, stage=Stage.EXEC),
        Exit(ExitKind.EXEC_FAILED, 3, stage=Stage.GATE),
        Exit(ExitKind.SIGNAL, 3, signal=9, ending=Ending.GATED),
        Exit(ExitKind.NONE, 3),
    ],
    ids=str,
)
def test_what_never_ran_has_no_hook(end):
    assert not isinstance(over(replace(OVER, exit=end), spec=HOOKED), RunHook)


@pytest.mark.parametrize("kind", set(ExitKind) - {ExitKind.EXEC_FAILED, ExitKind.NONE, ExitKind.ESCAPED})
def test_what_ran_has_one_however_it_ended(kind):
    assert isinstance(over(replace(OVER, exit=Exit(kind, 3)), spec=HOOKED), RunHook)


@pytest.mark.parametrize("spec", [SPEC, None, replace(HOOKED, name="other")])
def test_no_hook_of_another(spec):
    assert not isinstance(over(spec=spec), RunHook)


# ---------------------------------------------------------------- groups


DRAGGED = replace(OVER, ending=Ending.GROUP, end_generation=3, exit=replace(FAILED, ending=Ending.GROUP))


def test_a_death_drags_others_and_waits_for_them():
    assert said(over(kin=Kin((4, 5)))) == "drag 4, 5"
    assert said(over(kin=Kin((5,), ending=True))) == "drag 5"
    assert said(over(kin=Kin(ending=True))) == "wait"
    action = over()
    assert (said(action), action.counts) == ("Birth", True)


@pytest.mark.parametrize(
    ("slot", "fields"),
    [
        (replace(OVER, desired=STOP), {}),
        (replace(OVER, end_generation=3), {}),  # `restart`
        (replace(OVER, exit=replace(FAILED, ending=Ending.RELOAD)), {}),
        (replace(OVER, exit=replace(FAILED, ending=Ending.AGE)), {}),
        (OVER, {"pair": STOP}),
        (OVER, {"spec": replace(SPEC, restart=Restart(Policy.NEVER))}),
    ],
)
def test_what_was_ordered_or_is_enough_drags_nobody(slot, fields):
    action = over(slot, kin=Kin((4, 5)), **fields)
    assert said(action) in ("Birth", "change to STOPPED")
    waits = over(slot, kin=Kin((4, 5), ending=True), **fields)
    assert said(waits) == ("wait" if said(action) == "Birth" else said(action))


@pytest.mark.parametrize("phase", [Phase.STOPPED, Phase.BACKOFF])
def test_none_of_a_group_is_born_while_others_have_to_end(phase):
    slot = slot_in(phase, until_ns=0)
    assert said(decide(view(slot, kin=Kin(ending=True)))) == "wait"
    assert said(decide(view(slot))) == "Birth"


def test_one_that_was_told_ends_with_its_group():
    told = replace(RUNNING, end_generation=3, ending=Ending.GROUP)
    assert ending_of(view(told)) is Ending.GROUP
    assert said(alive(told)) == "signal 15, GROUP"
    assert said(alive(told, dependants_live=True)) == "wait", "those that depend on it first"
    assert ending_of(view(replace(told, desired=STOP))) is Ending.STOP


def test_one_that_was_told_waits_and_is_no_failure():
    assert said(over(DRAGGED, kin=Kin(ending=True))) == "wait"
    never = replace(SPEC, restart=Restart(Policy.NEVER))
    action = over(replace(DRAGGED, failures=7), spec=never)
    assert (said(action), action.counts, action.slot.failures) == ("Birth", False, 0)
    later = over(DRAGGED, dependencies_ready=False)
    assert (said(later), later.slot.until_ns) == ("change to BACKOFF", NOW_NS)


def test_too_many_restarts_of_a_group():
    action = over(kin=Kin((4, 5), exceeded="too often"))
    assert (said(action), action.reason) == ("change to FATAL", "too often")
    assert action.slot.exit.ending is Ending.GROUP


@pytest.mark.parametrize("slot", [OVER, DRAGGED, slot_in(Phase.BACKOFF)], ids=lambda slot: slot.phase.name)
def test_all_give_up_with_their_group(slot):
    life = Life.NONE if slot.phase is Phase.BACKOFF else Life.DEAD
    action = decide(view(slot, life=life, kin=Kin(gave_up=True)))
    assert (said(action), action.reason) == ("change to FATAL", "its group gave up")
    assert action.slot.exit.ending is Ending.GROUP
    assert said(decide(view(action.slot, kin=Kin(gave_up=True)))) == "wait"


def test_the_living_end_when_their_group_gives_up():
    gave_up = {"kin": Kin(gave_up=True)}
    assert said(alive(RUNNING, **gave_up)) == "signal 15, GROUP"
    assert said(alive(RUNNING, dependants_live=True, **gave_up)) == "wait"
    assert said(alive(slot_in(Phase.PAUSED, PAUSE), **gave_up)) == "wait", "it is to be left alone"
    assert ending_of(view(slot_in(Phase.RUNNING, STOP), **gave_up)) is Ending.STOP


def test_a_stop_is_a_stop_also_when_the_group_gave_up():
    action = over(replace(OVER, desired=STOP), kin=Kin(gave_up=True, exceeded="too often"))
    assert said(action) == "change to STOPPED"


def test_who_stands_still_by_wish_does_not_give_up():
    stopped = slot_in(Phase.STOPPED, STOP)
    assert isinstance(decide(view(stopped, kin=Kin(gave_up=True))), Wait)


def test_a_fatal_one_that_is_told_to_stop_is_stopped():
    gave_up = slot_in(Phase.FATAL, STOP, exit=replace(FAILED, ending=Ending.GROUP))
    assert isinstance(decide(view(gave_up, kin=Kin(gave_up=True))), Change)
