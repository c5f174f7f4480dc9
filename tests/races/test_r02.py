"""R02: a child is recorded, its parent is killed before it opens the gate, the child takes over."""

from scene import Scene, rest, taken_out, until

from twinwatch.core.record import Slot
from twinwatch.core.values import Role
from twinwatch.linux import process
from twinwatch.linux.birth import Newborn, Seat, respawn
from twinwatch.linux.gate import Child, Let
from twinwatch.linux.identity import is_alive
from twinwatch.linux.statefile import StateFile


def kill_between_record_and_gate(scene: Scene) -> None:
    """`a` records a reserve as the worker and is killed with its gate still shut."""

    def record_it(say):
        child = scene.gated(Role.A)
        with taken_out(Child, "let_through", lambda *_: True):
            scene.bear(child)
        say("recorded")
        rest()

    watcher = scene.hold(Role.A, record_it)
    assert watcher.hear() == "recorded"
    child = scene.slot().identity
    assert is_alive(child)
    watcher.kill()
    until(lambda: not is_alive(child) or scene.slot(Role.A.slot).generation == 2, "the child has decided")


def test_a_child_that_a_slot_names_leaves(scene):
    kill_between_record_and_gate(scene)
    assert not is_alive(scene.slot().identity)  # so the worker's slot can be claimed
    assert scene.slot(Role.A.slot).generation == 1
    assert scene.names_of_living() == []
    assert scene.births() == []


def test_else_one_process_is_the_worker_and_a_watcher(scene):
    with taken_out(StateFile, "naming", lambda *_: None):
        kill_between_record_and_gate(scene)
    assert scene.names_of_living() == ["a", "job"]
    assert scene.slot(Role.A.slot).identity == scene.slot().identity
    # Nobody starts the worker: its slot names a living process. And `stop job` would end a watcher.
    with scene.guarding() as pump:
        pump.round()
    assert scene.slot().generation == 1
    assert scene.births() == []
    process.end(scene.slot().identity)


def kill_between_record_of_a_twin_and_gate(scene: Scene) -> Slot:
    """`a` records a reserve as the next `b` and is killed with its gate still shut. What `b` says then."""

    def record_it(say):
        child = scene.gated(Role.A)
        seen = scene.state.read(Role.B.slot)
        newborn = Newborn(Let.ROLE, Role.B.slot, seen, seen.slot)
        with taken_out(Child, "let_through", lambda *_: True):
            assert not isinstance(respawn(scene.state, Seat(Role.A, 1, 1), child, newborn), str)
        say("recorded")
        rest()

    watcher = scene.hold(Role.A, record_it)
    assert watcher.hear() == "recorded"
    slot = scene.slot(Role.B.slot)
    watcher.kill()
    return slot


def test_a_child_that_a_role_names_takes_that_seat(scene):
    named = kill_between_record_of_a_twin_and_gate(scene)
    until(lambda: scene.seats() or not is_alive(named.identity), "the child has decided")
    assert scene.seats() == [f"b {named.generation}"]
    assert is_alive(named.identity)
    assert scene.slot(Role.A.slot).generation == 1  # which is left to another reserve, or to the new b


def test_else_it_has_both_roles(scene):
    with taken_out(StateFile, "naming", lambda *_: None):
        named = kill_between_record_of_a_twin_and_gate(scene)
        until(scene.seats, "the child has decided")
    assert scene.seats() == ["a 2"]
    assert scene.slot(Role.A.slot).identity == scene.slot(Role.B.slot).identity == named.identity
