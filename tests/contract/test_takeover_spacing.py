"""A role that was born too often in a short time is taken over at intervals, and at last it is."""

from scene import Scene, rest, until

from twinwatch.core import spacing
from twinwatch.core.values import Role
from twinwatch.linux.clock import monotonic_ns


def take_over_after(scene: Scene, births: int) -> int:
    """Nanoseconds from the newest of so many births to the one by a reserve whose parent was killed."""

    def watch(say):
        scene.gated(Role.A)
        say("forked")
        rest()

    watcher = scene.hold(Role.A, watch)
    assert watcher.hear() == "forked"
    newest = monotonic_ns()
    scene.record(Role.A.slot, births_ns=(newest,) * births)
    watcher.kill()
    until(lambda: scene.slot(Role.A.slot).generation == 2, "a reserve has taken over")
    return scene.slot(Role.A.slot).born_ns - newest


def test_a_crash_loop_is_spaced(scene):
    assert take_over_after(scene, spacing.BURST) >= spacing.SPACE_NS


def test_the_last_takeover_counts_as_well(scene):
    take_over_after(scene, spacing.BURST - 1)
    slot = scene.slot(Role.A.slot)
    assert spacing.not_before_ns(slot.births_ns, slot.born_ns) == slot.born_ns + spacing.SPACE_NS
