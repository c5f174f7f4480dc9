"""R31: a guard asks whether a token is held and is stopped in the middle; a newborn needs that token."""

import errno
import fcntl
import os
import signal

import pytest
from scene import Scene, is_stopped, taken_out, until

from twinwatch.linux import lock, token


def take(scene: Scene) -> str:
    """What a newborn says that takes the token of `job`."""

    def part(say):
        try:
            token.take(scene.paths.token("job", 0))
        except OSError as error:
            say(errno.errorcode[error.errno])
        else:
            say("taken")

    return scene.act(part).hear()


def stop_in_the_middle(scene: Scene) -> None:
    """A guard that looks at the token is stopped before it closes it again."""
    real = os.close

    def stopped(fd: int) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        real(fd)

    def look(_say):
        with taken_out(token.os, "close", stopped):
            token.is_held(scene.paths.token("job", 0))

    guard = scene.act(look)
    until(lambda: is_stopped(guard.pid), "it is stopped")


@pytest.fixture(autouse=True)
def made(scene: Scene) -> None:
    os.close(os.open(scene.paths.token("job", 0), os.O_RDWR | os.O_CREAT, 0o600))


def test_a_newborn_takes_it_all_the_same(scene):
    stop_in_the_middle(scene)
    assert take(scene) == "taken"


def try_it(fd: int, _command: int, asked: bytes) -> bytes:
    """The probe that takes the lock for a moment."""
    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return lock._FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)


def lock_it(fd: int, command: int, asked: object) -> object:
    """`take` with the lock that such a probe is for."""
    if command != fcntl.F_OFD_SETLK:
        return real_fcntl(fd, command, asked)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return asked


real_fcntl = fcntl.fcntl


def test_else_no_newborn_gets_it_until_the_guard_is_ended(scene):
    with taken_out(token.fcntl, "fcntl", try_it):
        stop_in_the_middle(scene)
    with taken_out(token.fcntl, "fcntl", lock_it):
        assert take(scene) == "EBUSY"
