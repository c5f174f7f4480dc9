"""Both watchers see a worker die: the one that did not give birth to it waits before it looks how."""

from scene import JOB, Pump, Scene, StubNursery

from twinwatch.core.values import WATCHER_ROLES, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat

PARENT = Seat(Role.A, generation=1, config_generation=1)
SEEN = "its death is seen"


def looks_after_death(scene: Scene, guard_as: Seat, end: str) -> int:
    """How often such a guard has looked closely when `end` has come; its twin lives, in generation 1."""
    looks: list[int] = []
    scene.spec = scene.make_spec("exec sleep 1000")
    for role in WATCHER_ROLES:
        scene.record(role.slot, generation=1)
    with scene.guarding(guard_as, StubNursery()) as pump:
        pump.guard.sight.twin_generation = lambda: 1
        assert not isinstance(scene.bear(scene.gated(), PARENT), str)
        pump.until(lambda: scene.slot().phase is Phase.RUNNING, "the worker runs")
        pump.until(lambda: not pump.guard.has_work, "nothing is left to do")
        view = pump.guard.sight.view
        pump.guard.sight.view = lambda *args: looks.append(1) or view(*args)
        process.end(scene.slot().identity)
        pump.until(lambda: is_at(pump, scene, end), end)
    return len(looks)


def is_at(pump: Pump, scene: Scene, end: str) -> bool:
    return bool(pump.guard.at(JOB).dead_ns) if end == SEEN else scene.slot().is_over


def test_who_is_not_its_parent_leaves_it_to_its_parent(scene):
    assert looks_after_death(scene, Seat(Role.B, generation=1, config_generation=1), SEEN) == 0


def test_and_acts_when_that_one_does_not(scene):
    assert looks_after_death(scene, Seat(Role.B, generation=1, config_generation=1), "it is recorded") > 0


def test_its_parent_looks_at_once(scene):
    assert looks_after_death(scene, PARENT, SEEN) > 0
