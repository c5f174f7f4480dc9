"""What a waiter for the state lock believes of its holder, with the kernel's answers given by the test."""

import errno
import os
from collections.abc import Iterator

import pytest
from scene import Scene, taken_out

from twinwatch.core.timing import MILLISECOND_NS
from twinwatch.linux import lock as module
from twinwatch.linux.lock import LOCK_BYTE, LockWedged, StateLock

TIMEOUT_NS = 5 * MILLISECOND_NS
HOLDER = 4711


def ended(scene: Scene, *, holder: int, state: str, progress: Iterator[bytes]) -> list[int]:
    """Whom a waiter tries to end until it gives up, of a lock that is never to be had."""
    lock = StateLock(scene.state.fileno(), TIMEOUT_NS)
    found: list[int] = []
    with (
        taken_out(StateLock, "_try", lambda _lock, byte: byte != LOCK_BYTE),
        taken_out(StateLock, "holder", lambda *_: holder),
        taken_out(StateLock, "_end_holder", lambda _lock, pid: found.append(pid)),
        taken_out(module, "_state", lambda _pid: state),
        taken_out(module, "_progress", lambda _pid: next(progress)),
        pytest.raises(LockWedged) as wedged,
        lock,
    ):
        pass
    assert (wedged.value.pid, wedged.value.state) == (holder, state)
    return found


def same() -> Iterator[bytes]:
    while True:
        yield b"1 2 3"


def moving() -> Iterator[bytes]:
    yield from (str(number).encode() for number in range(10**9))


@pytest.mark.parametrize("state", ["T", "S", "D"])
def test_one_that_stands_still_is_ended(scene, state):
    assert set(ended(scene, holder=HOLDER, state=state, progress=same())) == {HOLDER}


def test_one_that_wants_to_run_and_gets_no_processor_is_left_alone(scene):
    assert ended(scene, holder=HOLDER, state="R", progress=same()) == []


def test_one_that_moves_is_left_alone(scene):
    assert ended(scene, holder=HOLDER, state="S", progress=moving()) == []


def test_a_holder_that_nobody_can_name_is_left_alone(scene):
    assert ended(scene, holder=0, state="", progress=same()) == []


def test_who_cannot_become_a_member_takes_no_lock(scene):
    lock = StateLock(scene.state.fileno(), TIMEOUT_NS)
    asked = []
    with (
        taken_out(StateLock, "_try", lambda _lock, byte: asked.append(byte)),
        pytest.raises(LockWedged, match="member byte taken"),
        lock,
    ):
        pass
    assert LOCK_BYTE not in asked


def test_a_member_joins_once(scene):
    lock = StateLock(scene.state.fileno(), TIMEOUT_NS)
    joined = []
    join = StateLock._join
    with taken_out(StateLock, "_join", lambda lock: (joined.append(lock), join(lock))):
        for _ in range(3):
            with lock:
                pass
    assert joined == [lock]


@pytest.mark.parametrize("number", [errno.ESRCH, errno.EINVAL, errno.EMFILE])
def test_a_holder_that_cannot_be_opened(scene, number):
    def refuse(_pid: int) -> int:
        raise OSError(number, os.strerror(number))

    lock = StateLock(scene.state.fileno(), TIMEOUT_NS)
    with taken_out(os, "pidfd_open", refuse):
        if number == errno.EMFILE:
            with pytest.raises(OSError, match=os.strerror(number)):
                lock._end_holder(HOLDER)
        else:
            lock._end_holder(HOLDER)  # it is gone, or none of this PID namespace
