"""R21: an event of one wake-up is of a process that the same wake-up has already replaced."""

from dataclasses import replace

import pytest
from scene import JOB, Actor, Scene, closing_loop, rest, taken_out

from twinwatch.core.values import NO_EXIT, ExitKind, HookState, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat
from twinwatch.linux.events import EventLog
from twinwatch.linux.identity import is_alive
from twinwatch.linux.loop import Loop
from twinwatch.watch import anchored, hooks, nursery, twin
from twinwatch.watch import guard as guard_module
from twinwatch.watch.anchored import Anchored
from twinwatch.watch.nursery import Nursery
from twinwatch.watch.pair import Pair
from twinwatch.watch.twin import Twin


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


def believe(_pidfd: int) -> bool:
    """The mutant: whatever an event is about is dead."""
    return True


def watched(scene: Scene, loop: Loop, part: str) -> bool:
    """A stale event of a living process. Whether it is still watched as one that lives."""
    events = EventLog(scene.paths.events, "shop", "test")
    pair = Pair(scene.paths, scene.spec, scene.state, Seat(Role.A, 1, 1), events)
    try:
        match part:
            case "anchor":
                seen = Anchored(pair, loop)
                seen.look()
                seen.died()
                is_watched = scene.slot(Role.ANCHOR.slot).phase is Phase.RUNNING
                seen._drop()
            case "twin":
                seen = Twin(pair, loop, None, Role.B)
                seen.look()
                seen.died()
                is_watched = seen.is_live()
                seen._drop()
            case _:
                seen = Nursery(pair, loop, -1)
                child = scene.gated()
                seen.give_back(child)
                seen.died(child.pidfd, process.reap)
                is_watched = not seen.is_empty
    finally:
        events.close()
    return is_watched


def play(scene: Scene, part: str) -> bool:
    for role in (Role.A, Role.B, Role.ANCHOR):
        scene.hold(role, lambda _say: rest())
    with closing_loop() as loop:
        return watched(scene, loop, part)


PARTS = [("anchor", anchored), ("twin", twin), ("reserve", nursery)]


@pytest.mark.parametrize("part", [part for part, _ in PARTS])
def test_a_stale_event_changes_nothing(scene, part):
    assert play(scene, part)


@pytest.mark.parametrize(("part", "module"), PARTS)
def test_else_who_lives_is_watched_no_more(scene, part, module):
    with taken_out(module, "is_dead", believe):
        assert not play(scene, part)


def begin_hook(scene: Scene) -> Actor:
    """The slot names a hook that was begun."""
    running = scene.act(lambda _say: rest())
    over = replace(NO_EXIT, kind=ExitKind.CLEAN, generation=1)
    far_ns = 2**62
    begun = {"hook": HookState.BEGUN, "identity": running.identity, "until_ns": far_ns}
    scene.record(JOB, generation=1, phase=Phase.STOPPING, exit=over, birth_hash=1, **begun)
    return running


def hook_after_stale_event(scene: Scene) -> HookState:
    running = begin_hook(scene)
    with scene.guarding() as pump:
        pump.guard.hook_ready(JOB)
        pump.until(_rounds(5), "everything is decided")
        pump.guard._hooks.drop(pump.guard.at(JOB))
    assert not running.is_dead
    return scene.slot().hook


def test_a_running_hook_is_not_over(scene):
    assert hook_after_stale_event(scene) is HookState.BEGUN


def test_else_its_worker_is_born_beside_its_hook(scene):
    with taken_out(hooks, "is_dead", believe):
        assert hook_after_stale_event(scene) is HookState.DONE
