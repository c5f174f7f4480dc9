"""When a guard looks, and when it waits: for its twin, for its child, for what has happened meanwhile."""

import select

from scene import JOB, PATIENCE_S, Pump, Scene, StubNursery

from twinwatch.core.values import WATCHER_ROLES, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat
from twinwatch.watch import guard as guard_module

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


def test_a_late_guard_hears_its_child_before_it_convicts_it(scene):
    """So many were born in one go that the first one's time is over before its report is read (P9)."""
    scene.spec = scene.make_spec("exec sleep 1000")
    for role in WATCHER_ROLES:
        scene.record(role.slot, generation=1)
    child = scene.gated()
    with scene.guarding(PARENT, StubNursery(child)) as pump:
        pump.guard.work()
        assert select.select([child.report], [], [], PATIENCE_S)[0], "its report does not come"
        scene.record(JOB, until_ns=1)  # its time is over
        pump.guard.catch_up()
        pump.guard.work()
        pump.until(lambda: scene.slot().phase is not Phase.STARTING, "it is judged")
        assert (scene.slot().phase, scene.slot().generation) == (Phase.RUNNING, 1)


def test_a_guard_hears_what_has_happened_between_two_handfuls(scene, monkeypatch):
    steps: list[int] = []
    with scene.guarding(PARENT, StubNursery()) as pump, monkeypatch.context() as patch:
        patch.setattr(guard_module, "_AT_ONCE", 1)
        patch.setattr(pump.guard, "_step", lambda guarded: steps.append(guarded.index))
        patch.setattr(pump.guard, "_todo", {JOB: None, JOB + 1: None})
        pump.guard.work()
        assert (steps, pump.guard.has_work) == ([JOB], True)
