"""R14: a birth is recorded, then the worker is told to stop, then its gate opens."""

from scene import Scene, taken_out, until

from twinwatch.core.values import Desired
from twinwatch.linux import process
from twinwatch.linux.gate import Child, Let, Order
from twinwatch.linux.identity import is_alive
from twinwatch.watch import reserve


def stop_between_record_and_gate(scene: Scene) -> Child:
    child = scene.gated()
    with taken_out(Child, "let_through", lambda *_: True):
        scene.bear(child)
    scene.record(3, desired=Desired.STOP)
    child.let_through(Order(Let.WORKER, 3, 1, 1))
    return child


def test_the_child_reads_its_slot_again_and_leaves(scene):
    child = stop_between_record_and_gate(scene)
    until(lambda: not is_alive(child.identity) or scene.births(), "it has left, or begun")
    assert scene.births() == []
    assert process.child_status(child.pidfd, reap=False) == reserve.LEFT_AT_GATE << 8


def test_else_the_program_starts_after_the_stop(scene):
    with taken_out(reserve, "_is_wanted", lambda *_: True):
        child = stop_between_record_and_gate(scene)
    until(scene.births, "the program has begun")
    assert scene.births() == [child.pid]
    assert scene.slot().desired is Desired.STOP
