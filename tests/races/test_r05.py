"""R05: a process is killed while it holds the state lock, and a child that it forked lives on."""

import fcntl
import os

from scene import Scene, rest, taken_out

from twinwatch.linux.lock import LOCK_BYTE, StateLock


def is_free_after_the_kill(scene: Scene) -> bool:
    def take_it_and_fork(say):
        state = scene.open()
        state.lock.__enter__()
        if os.fork() == 0:
            rest()
        say("forked")
        rest()

    holder = scene.act(take_it_and_fork)
    assert holder.hear() == "forked"
    other = scene.open()
    try:
        assert not other.lock._try(LOCK_BYTE)
        holder.kill()
        return other.lock._try(LOCK_BYTE)
    finally:
        other.close()


def flock(lock: StateLock, byte: int) -> bool:
    """The mutant: a lock of the open file, which a fork shares."""
    if byte != LOCK_BYTE:
        return True
    try:
        fcntl.flock(lock._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_the_kernel_frees_the_lock_at_its_holders_death(scene):
    assert is_free_after_the_kill(scene)


def test_else_a_lock_that_a_fork_inherits_is_held_for_ever(scene):
    with taken_out(StateLock, "_try", flock):
        assert not is_free_after_the_kill(scene)
