"""R02: a child is recorded, its parent is killed before it opens the gate, the child takes over."""

from scene import Scene, rest, taken_out, until

from twinwatch.core.values import Role
from twinwatch.linux import process
from twinwatch.linux.gate import Child
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
    with taken_out(StateFile, "names", lambda *_: False):
        kill_between_record_and_gate(scene)
    assert scene.names_of_living() == ["a", "job"]
    assert scene.slot(Role.A.slot).identity == scene.slot().identity
    # Nobody starts the worker: its slot names a living process. And `stop job` would end a watcher.
    with scene.guarding() as pump:
        pump.round()
    assert scene.slot().generation == 1
    assert scene.births() == []
    process.end(scene.slot().identity)
