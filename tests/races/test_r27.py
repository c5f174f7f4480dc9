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


def what_an_heir_does() -> reconcile.Action:
    """The judge acts until it has sent TERM, and dies. The worker ends well. Its heir goes on from the record."""
    slot = RUNNING
    action = reconcile.decide(View(slot, SPEC, Desired.RUN, 100, Life.ALIVE, verdict="no heartbeat for 3 s"))
    while not isinstance(action, Signal):
        assert isinstance(action, Change)
        slot = action.slot
        action = reconcile.decide(View(slot, SPEC, Desired.RUN, 100, Life.ALIVE))
    ended = View(slot, SPEC, Desired.RUN, 200, Life.DEAD, end=Exit(ExitKind.CLEAN, 1, at_ns=150))
    over = reconcile.decide(ended)
    assert isinstance(over, Change)
    return reconcile.decide(replace(ended, slot=over.slot, rest=Rest.EMPTY))


def test_it_is_started_again():
    assert isinstance(what_an_heir_does(), reconcile.Birth)


def test_else_it_passes_for_one_that_has_done_its_work():
    def at_once(view: View, _reason: str) -> reconcile.Action:
        return reconcile._ask_to_end(view, Ending.UNHEALTHY)

    with taken_out(reconcile, "_convict", at_once):
        action = what_an_heir_does()
    assert isinstance(action, Change)
    assert action.slot.phase is Phase.STOPPED
