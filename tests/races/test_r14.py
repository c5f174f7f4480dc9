"""R14: a birth is recorded, then the worker (or the pair) is told to stop, then its gate opens."""

from collections.abc import Callable

import pytest
from scene import JOB, Scene, taken_out, until

from twinwatch.core.values import Desired
from twinwatch.linux import process
from twinwatch.linux.gate import Child, Order
from twinwatch.linux.identity import is_alive
from twinwatch.linux.statefile import StateFile
from twinwatch.watch import reserve

STOPS = {
    "worker": lambda scene: scene.record(JOB, desired=Desired.STOP),
    "pair": lambda scene: scene.record_header(desired=Desired.STOP),
    "its-generation": lambda scene: scene.record(JOB, generation=2),
}


def is_told(scene: Scene) -> bool:
    slot = scene.slot()
    return Desired.STOP in (slot.desired, scene.state.header().desired) or slot.generation == 2


def stop_between_record_and_gate(scene: Scene, stop: Callable[[Scene], object]) -> Child:
    child = scene.gated()
    orders: list[Order] = []
    with taken_out(Child, "let_through", lambda _, order: orders.append(order) or True):
        scene.bear(child)
    stop(scene)
    child.let_through(*orders)
    return child


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_the_child_looks_at_its_slot_again_and_leaves(scene, stop):
    child = stop_between_record_and_gate(scene, stop)
    until(lambda: not is_alive(child.identity) or scene.births(), "it has left, or begun")
    assert scene.births() == []
    assert process.child_status(child.pidfd, reap=False) == reserve.LEFT_AT_GATE << 8


@pytest.mark.parametrize("guard", [(reserve, "_is_wanted"), (StateFile, "is_as_recorded")])
@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_else_the_program_starts_after_the_stop(scene, stop, guard):
    with taken_out(*guard, lambda *_: True):
        child = stop_between_record_and_gate(scene, stop)
    until(scene.births, "the program has begun")
    assert scene.births() == [child.pid]
    assert is_told(scene)


def test_another_change_of_its_slot_does_not_keep_it(scene):
    """It looks closely then."""
    child = stop_between_record_and_gate(scene, lambda scene: scene.record(JOB, note="seen"))
    until(scene.births, "the program has begun")
    assert scene.births() == [child.pid]


def test_versions_say_nothing_of_a_slot_that_names_somebody_else(scene):
    """As a file that was made anew may have the same ones."""
    child = scene.gated()
    born = scene.bear(child)
    recorded = (born.version, scene.state.header_version)
    assert scene.state.is_as_recorded(JOB, child.pid, *recorded)
    assert not scene.state.is_as_recorded(JOB, child.pid + 1, *recorded)
