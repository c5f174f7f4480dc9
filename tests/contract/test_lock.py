"""The state lock on the real kernel."""

import os
import signal

import pytest
from scene import JOB, Actor, Scene, rest, until

from twinwatch.linux.lock import LOCK_BYTE, LockWedged


def take(scene: Scene, then) -> Actor:
    """A process that has taken the lock, and then does `then(say)`."""

    def hold(say):
        state = scene.open()
        with state.lock:
            say("taken")
            then(say)

    actor = scene.act(hold)
    assert actor.hear() == "taken"
    return actor


def test_it_excludes_other_processes(scene):
    """Many processes count in one file; none loses another's count."""
    counter = scene.directory / "counter"
    counter.write_text("0")

    def count(_say):
        state = scene.open()
        for _ in range(100):
            with state.lock:
                counter.write_text(str(int(counter.read_text()) + 1))

    actors = [scene.act(count) for _ in range(4)]
    assert [actor.status() for actor in actors] == [0] * 4
    assert counter.read_text() == "400"


def test_the_kernel_names_its_holder(scene):
    assert scene.state.lock.holder() == 0
    holder = take(scene, lambda _say: rest())
    assert scene.state.lock.holder() == holder.pid
    assert scene.state.lock.holder(LOCK_BYTE + holder.pid) == holder.pid
    holder.kill()
    assert scene.state.lock.holder() == 0


def test_a_member_stays_one_after_the_lock_is_free(scene):
    def join(say):
        state = scene.open()
        with state.lock:
            pass
        say("free")
        rest()

    member = scene.act(join)
    assert member.hear() == "free"
    assert scene.state.lock.holder() == 0
    assert scene.state.lock.holder(LOCK_BYTE + member.pid) == member.pid


def test_a_fork_does_not_inherit_it(scene):
    with scene.state.lock:

        def try_it(say):
            say(scene.state.lock._try(LOCK_BYTE))
            say(scene.state.lock.holder() == os.getppid())

        child = scene.act(try_it)
        assert (child.hear(), child.hear()) == ("False", "True")
        assert child.status() == 0
        # Nor does the child's death, and with it the close of its descriptor, take it away.
        assert scene.act(lambda say: say(scene.open().lock._try(LOCK_BYTE))).hear() == "False"


def test_a_forked_process_becomes_a_member_of_its_own(scene):
    with scene.state.lock:
        pass

    def join(say):
        with scene.state.lock:
            say(scene.state.lock.holder(LOCK_BYTE + os.getpid()))
            rest()

    child = scene.act(join)
    assert child.hear() == "0"  # its own locks are not shown to itself
    assert scene.state.lock.holder(LOCK_BYTE + child.pid) == child.pid


def test_it_is_free_at_the_holders_death(scene):
    """Also while a child of the holder lives on with the same descriptor."""

    def fork(say):
        if os.fork() == 0:
            rest()
        say("forked")
        rest()

    holder = take(scene, fork)
    assert holder.hear() == "forked"
    holder.kill()
    with scene.state.lock:
        pass


def test_a_stopped_member_is_ended(scene):
    holder = take(scene, lambda _say: rest())
    holder.stop()
    with scene.state.lock:
        assert holder.status() == signal.SIGKILL


def test_a_member_that_waits_for_something_is_ended(scene):
    """It stands still as well: under the lock nothing is ever waited for."""
    holder = take(scene, lambda _say: rest())
    with scene.state.lock:
        assert holder.status() == signal.SIGKILL


def test_a_stranger_is_not_ended(scene):
    """Something that is no member holds the byte: the pair is wedged, and says by whom."""

    def hold(say):
        state = scene.open()
        assert state.lock._try(LOCK_BYTE)
        say("taken")
        rest()

    stranger = scene.act(hold)
    assert stranger.hear() == "taken"
    stranger.stop()
    with pytest.raises(LockWedged) as wedged, scene.state.lock:
        pass
    assert (wedged.value.pid, wedged.value.state) == (stranger.pid, "T")
    assert not stranger.is_dead
    stranger.send(signal.SIGKILL)


def test_a_busy_holder_is_not_ended(scene):
    """It runs, so it stands not still, however long it takes."""

    def work(say):
        looks = scene.directory / "enough"
        while not looks.exists():
            pass
        say("done")

    holder = take(scene, work)
    waited = 0

    def count() -> None:
        nonlocal waited
        waited += 1
        if waited == 100:
            (scene.directory / "enough").touch()

    scene.state.lock.on_wait = count
    with scene.state.lock:
        pass
    assert waited >= 100
    assert holder.hear() == "done"
    assert holder.status() == 0


def test_a_waiter_is_told_that_it_waits(scene):
    """So that a watcher goes on beating."""
    waits = []
    scene.state.lock.on_wait = lambda: waits.append(1)
    holder = take(scene, lambda _say: rest())
    with scene.state.lock:
        assert holder.status() == signal.SIGKILL
    assert waits


def test_an_error_under_the_lock_frees_it(scene):
    with pytest.raises(ZeroDivisionError), scene.state.lock:
        raise ZeroDivisionError
    until(lambda: take(scene, lambda _say: None).status() == 0)
    assert scene.slot(JOB).generation == 0
