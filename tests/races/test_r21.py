"""R21: an event of one wake-up is of a process that the same wake-up has already replaced."""

from scene import JOB, Scene, taken_out

from twinwatch.core.values import ExitKind, Phase, Role
from twinwatch.linux.birth import Seat
from twinwatch.linux.identity import is_alive
from twinwatch.watch import guard as guard_module


def stale_event(scene: Scene) -> None:
    """The guard hears of a death; the pidfd that has this place now is of a process that lives."""
    scene.spec = scene.make_spec("exec sleep 1000")
    with scene.guarding() as pump:
        scene.bear(scene.gated(), Seat(Role.A, config_generation=1))
        pump.until(lambda: scene.slot().phase is Phase.RUNNING, "the worker runs")
        pump.guard.pidfd_ready(JOB)
        pump.until(_rounds(5), "everything is decided")


def _rounds(count: int):
    left = iter(range(count))
    return lambda: next(left, None) is None


def test_only_the_pidfd_says_dead(scene):
    stale_event(scene)
    assert scene.slot().phase is Phase.RUNNING
    assert is_alive(scene.slot().identity)


def test_else_a_living_worker_is_recorded_as_dead_and_ended(scene):
    with taken_out(guard_module, "is_dead", lambda _pidfd: True):
        stale_event(scene)
    assert scene.slot().exit.kind is ExitKind.UNKNOWN
    assert not is_alive(scene.slot().identity)
