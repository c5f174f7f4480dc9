"""R10: a gate's pipe ends though its parent lives; or does not end though its parent is dead."""

import os
import select
from pathlib import Path

from scene import Scene, rest, taken_out, until

from twinwatch.core.values import Identity, Role
from twinwatch.linux.gate import Gate
from twinwatch.linux.identity import is_alive, is_dead
from twinwatch.watch import reserve


def end_the_pipe(scene: Scene) -> int:
    """A living `a` closes the gate of its reserve, as an exec would. How many processes are `a` then."""

    def close_it(say):
        child = scene.gated(Role.A)
        os.close(child.gate)
        child.gate = -1
        say(child.pid)
        rest()

    watcher = scene.hold(Role.A, close_it)
    pidfd = os.pidfd_open(int(watcher.hear()))
    until(lambda: is_dead(pidfd) or scene.slot(Role.A.slot).generation == 2, "the reserve has decided")
    assert not watcher.is_dead
    os.close(pidfd)
    return 1 + (scene.slot(Role.A.slot).identity != watcher.identity)


def test_at_the_end_of_the_pipe_a_reserve_leaves(scene):
    assert end_the_pipe(scene) == 1


def test_else_two_processes_have_the_role(scene):
    with taken_out(Gate, "wait_parent", lambda *_: True):
        assert end_the_pipe(scene) == 2
    assert is_alive(scene.slot(Role.A.slot).identity)


def poll_gate_only(gate: Gate, timeout_ms: int) -> tuple[bool, bool]:
    """The mutant: only the pipe is looked at."""
    poll = select.poll()
    poll.register(gate.fd, select.POLLIN)
    return bool(poll.poll(timeout_ms)), False


def leak_and_kill(scene: Scene) -> Path:
    """A write end leaks to a process that lives on; `a` is killed. The file grows as its reserve waits."""

    def leak_it(say):
        child = scene.gated(Role.A)
        if os.fork() == 0:
            rest()
        say(child.pid)
        rest()

    periods = scene.directory / "periods"

    def count(_vigil, **_how) -> bool:
        with periods.open("ab") as file:
            file.write(b"x")
        return False

    with taken_out(reserve._Vigil, "is_all_still", count):
        watcher = scene.hold(Role.A, leak_it)
        watcher.hear()
    watcher.kill()
    return periods


def test_a_leaked_pipe_end_hides_no_death(scene):
    leak_and_kill(scene)
    until(lambda: scene.slot(Role.A.slot).generation == 2, "the reserve has taken over")


def test_else_the_reserve_waits_for_ever(scene):
    with taken_out(Gate, "wait", poll_gate_only):
        periods = leak_and_kill(scene)
    until(lambda: periods.exists() and periods.stat().st_size >= 5, "it has waited for five periods")
    assert scene.slot(Role.A.slot).generation == 1


def death_seen_first(gate: Gate, _timeout_ms: int) -> tuple[bool, bool]:
    """One poll whose look at the gate came before the order, and whose look at the pidfd after the death."""
    gate.wait_parent(-1)
    return False, True


def let_through_and_kill(scene: Scene) -> Identity:
    """`a` lets a child through and is killed before the child has looked."""

    def let_it(say):
        with taken_out(Gate, "wait", death_seen_first):
            child = scene.gated(Role.A)
        scene.bear(child)
        say("through")
        rest()

    watcher = scene.hold(Role.A, let_it)
    assert watcher.hear() == "through"
    child = scene.slot().identity
    watcher.kill()
    until(lambda: scene.births() or not is_alive(child), "the child has decided")
    return child


def test_an_order_wins_over_a_death_that_was_seen_first(scene):
    child = let_through_and_kill(scene)
    assert scene.births() == [child.pid]


def test_else_the_birth_is_lost(scene):
    with taken_out(reserve, "_pending", lambda _fd: False):
        child = let_through_and_kill(scene)
    assert not is_alive(child)
    assert scene.births() == []
