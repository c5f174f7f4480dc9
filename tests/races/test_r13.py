"""R13: a watcher is stopped, and its twin is dead or stopped too: nobody is dead whom a reserve waits for."""

from scene import Actor, Scene, rest, taken_out, until

from twinwatch.core.values import Role
from twinwatch.watch import reserve


def stop_the_last_watcher(scene: Scene) -> Actor:
    def fork_one(say):
        scene.gated(Role.A)
        say("forked")
        rest()

    watcher = scene.hold(Role.A, fork_one)
    assert watcher.hear() == "forked"
    watcher.stop()
    return watcher


def test_a_reserve_ends_its_stopped_parent_and_takes_over(scene):
    watcher = stop_the_last_watcher(scene)
    until(lambda: scene.slot(Role.A.slot).generation == 2, "its reserve has taken over")
    assert watcher.is_dead


def test_else_nobody_acts_for_ever(scene):
    periods = scene.directory / "periods"

    def count(_vigil, **_how) -> bool:
        with periods.open("ab") as file:
            file.write(b"x")
        return False

    with taken_out(reserve._Vigil, "is_all_still", count):
        watcher = stop_the_last_watcher(scene)
    until(lambda: periods.exists() and periods.stat().st_size >= 6, "the reserve has waited for six periods")
    assert not watcher.is_dead
    assert scene.slot(Role.A.slot).generation == 1


def test_siblings_of_the_keeper_look_rarely_and_keep_vigil_once_nothing_moves(scene):
    """For the case that the keepers were killed, too."""
    timeout_ns = scene.spec.watch.timeout_ns
    vigil = reserve._Vigil(reserve.Duty(scene.paths, scene.spec, Role.A, 1, keeps_vigil=False))
    looks = [(vigil.period_ns, vigil.is_all_still(on_time=True)) for _ in range(3)]
    assert looks == [(16 * timeout_ns, False), (16 * timeout_ns, False), (timeout_ns, True)]


def test_the_keeper_looks_in_every_period(scene):
    vigil = reserve._Vigil(reserve.Duty(scene.paths, scene.spec, Role.A, 1))
    assert vigil.period_ns == scene.spec.watch.timeout_ns
