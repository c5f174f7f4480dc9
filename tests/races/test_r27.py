"""R27: a judge has told a hung worker to end, and is killed before its record says why."""

from dataclasses import replace

from scene import taken_out

from twinwatch.core import reconcile
from twinwatch.core.reconcile import Change, Life, Rest, Signal, View
from twinwatch.core.record import Slot
from twinwatch.core.spec import Policy, Restart, WorkerSpec
from twinwatch.core.values import Desired, Ending, Exit, ExitKind, Identity, Phase

SPEC = WorkerSpec("job", ("server",), restart=Restart(Policy.ON_FAILURE), birth_hash=1)
RUNNING = Slot(
    "job",
    phase=Phase.RUNNING,
    desired=Desired.RUN,
    ready=True,
    generation=1,
    birth_hash=1,
    identity=Identity(42),
    born_ns=1,
)


AGED = replace(SPEC, max_age_ns=50)


def what_an_heir_does(spec: WorkerSpec, verdict: str = "") -> reconcile.Action:
    """The judge acts until it has sent TERM, and dies. The worker ends well. Its heir goes on from the record."""
    slot = RUNNING
    action = reconcile.decide(View(slot, spec, Desired.RUN, 100, Life.ALIVE, verdict=verdict))
    while not isinstance(action, Signal):
        assert isinstance(action, Change)
        slot = action.slot
        action = reconcile.decide(View(slot, spec, Desired.RUN, 100, Life.ALIVE))
    ended = View(slot, spec, Desired.RUN, 200, Life.DEAD, end=Exit(ExitKind.CLEAN, 1, at_ns=150))
    over = reconcile.decide(ended)
    assert isinstance(over, Change)
    return reconcile.decide(replace(ended, slot=over.slot, rest=Rest.EMPTY))


def at_once(view: View, _reason: str = "") -> reconcile.Action:
    """The mutant: the signal first, and then the record."""
    return reconcile._ask_to_end(view, Ending.UNHEALTHY)


def test_it_is_started_again():
    assert isinstance(what_an_heir_does(SPEC, "no heartbeat for 3 s"), reconcile.Birth)


def test_else_it_passes_for_one_that_has_done_its_work():
    with taken_out(reconcile, "_convict", at_once):
        action = what_an_heir_does(SPEC, "no heartbeat for 3 s")
    assert isinstance(action, Change)
    assert action.slot.phase is Phase.STOPPED


def test_one_that_was_too_old_is_started_again():
    assert isinstance(what_an_heir_does(AGED), reconcile.Birth)


def test_else_the_old_one_passes_for_done():
    with taken_out(reconcile, "_running", at_once):
        action = what_an_heir_does(AGED)
    assert isinstance(action, Change)
    assert action.slot.phase is Phase.STOPPED
