"""R07: a child is recorded and never let through, and cannot leave by itself: it is stopped."""

import signal

from scene import JOB, Scene, is_stopped, rest, taken_out, until

from twinwatch.core import reconcile
from twinwatch.core.values import Ending, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat
from twinwatch.linux.gate import Child
from twinwatch.linux.identity import is_alive


def kill_parent_of_stopped_child(scene: Scene) -> None:
    """`b` records a child that is stopped behind its gate, and is killed before it opens it."""

    def record_it(say):
        child = scene.gated(Role.B)
        process.send(child.pidfd, signal.SIGSTOP)
        until(lambda: is_stopped(child.pid), "the child is stopped")
        with taken_out(Child, "let_through", lambda *_: True):
            scene.bear(child, Seat(Role.B, 1, 1))
        say("recorded")
        rest()

    watcher = scene.hold(Role.B, record_it)
    assert watcher.hear() == "recorded"
    watcher.kill()
    scene.hold(Role.A, lambda _say: rest())
    assert is_alive(scene.slot().identity)


def test_the_twin_ends_and_reclaims_it(scene):
    kill_parent_of_stopped_child(scene)
    child = scene.slot().identity
    with scene.guarding(Seat(Role.A, 1, 1)) as pump:
        pump.until(lambda: scene.slot().is_over, "its end is recorded")
    assert scene.slot().exit.ending is Ending.GATED
    assert not is_alive(child)


def test_else_the_worker_is_recorded_alive_and_never_runs(scene):
    kill_parent_of_stopped_child(scene)
    child = scene.slot().identity
    before = scene.state.read(JOB)

    def patient(view):
        return reconcile.Change(view.slot, "x") if view.has_program else reconcile.Wait(view.gate_until_ns)

    with taken_out(reconcile, "_starting", patient), scene.guarding(Seat(Role.A, 1, 1)) as pump:
        beyond = before.slot.born_ns + 10 * scene.spec.watch.interval_ns
        pump.until(lambda: pump.now_ns() > beyond, "its time behind the gate is over by far")
        assert is_alive(child)
        assert scene.state.read(JOB) == before
    assert scene.births() == []
