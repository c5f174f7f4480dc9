"""Rotation while others write and read: joined backups, and what `logs -f` shows, are exact."""

import builtins
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from live_pair import until
from test_rotation import BLOCK, Log, place  # noqa: F401 - the fixture

from twinwatch.cli import log_tail

LINES = 1_000_000
# Four times in between it waits until another rotation is over, so that there are some on a slow disk, too.
WRITER = """
import os, sys
log, rotations, lines = sys.argv[1], sys.argv[2], int(sys.argv[3])
out = os.open(log, os.O_WRONLY | os.O_APPEND)
for first in range(0, lines, 100):
    if first % (lines // 5) == 0:
        while os.stat(rotations).st_size < first // (lines // 5):
            os.sched_yield()
    os.write(out, b"".join(b"%d\\n" % number for number in range(first, first + 100)))
"""
# Rotates whenever there is enough, compresses between, and says so in the file that it is told.
ROTATOR = """
import os, sys
sys.path.insert(0, sys.argv[1])
from twinwatch.core.spec import Rotate
from twinwatch.services.rotator import Rotator
path, record = sys.argv[2:4]
while True:
    with Rotator(path, record) as rotator:
        rotator.settle()
        rotator.tidy()
        if rotator.check(Rotate(size=1 << 17), 1) and rotator.rotate(10000, 1):
            os.write(1, b".")
        for _ in rotator.compression():
            pass
"""
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def running(place):  # noqa: F811 - the fixture
    """A log with its writer and its rotator."""
    log = Log(place)
    log.path.touch()
    bare = [sys.executable, "-I", "-S", "-c"]
    told = place / "rotations"
    with (
        told.open("wb") as output,
        subprocess.Popen([*bare, ROTATOR, str(ROOT), str(log.path), log.record], stdout=output) as rotator,
        subprocess.Popen([*bare, WRITER, str(log.path), str(told), str(LINES)]) as writer,
    ):
        yield log, writer, rotator
        writer.kill()
        rotator.kill()


def take(follower, upto):
    """All lines until this one."""
    found = []
    while not found or found[-1] != b"%d" % upto:
        found += follower.step()
        os.sched_yield()
    return found


def test_each_line_once_and_in_order(running, place):  # noqa: F811
    log, writer, rotator = running
    follower = log.follower()
    found = take(follower, LINES - 1)
    assert found == [b"%d" % number for number in range(LINES)]
    assert follower.lost == 0
    follower.close()
    writer.wait()
    rotator.kill()
    rotator.wait()
    log.written = b"".join(line + b"\n" for line in found)
    log.recover()
    assert (place / "rotations").stat().st_size > 3, "it was rotated meanwhile"
    assert log.joined() == log.written == log.shown()


def test_begun_in_the_middle(running, place):  # noqa: F811
    """The last lines of what is there, and then every further one, whatever is rotated meanwhile."""
    log, _, _ = running
    until(lambda: (place / "rotations").stat().st_size > 1, "it was rotated twice")
    follower = log.follower(last=1000)
    found = take(follower, LINES - 1)
    numbers = [int(line) for line in found]
    assert numbers == list(range(numbers[0], LINES))
    assert len(numbers) >= 1000
    assert follower.lost == 0
    follower.close()


class Interrupter:
    """Does something before the N-th system call of a reader."""

    def __init__(self, monkeypatch, number, work):
        self.left, self.work = number, work
        for name in ("pread", "lseek", "open", "fstat", "listdir"):
            monkeypatch.setattr(os, name, self._wrap(getattr(os, name)))
        monkeypatch.setattr(log_tail, "load", self._wrap(log_tail.load))
        monkeypatch.setattr(builtins, "open", self._wrap(open))

    def _wrap(self, function):
        def call(*args, **how):
            self.left -= 1
            if self.left == 0:
                self.work()
            return function(*args, **how)

        return call


@pytest.mark.parametrize("is_behind", [False, True])
@pytest.mark.parametrize("last", [None, 700])
def test_a_rotation_at_every_moment_of_reading(place, monkeypatch, last, is_behind):  # noqa: F811
    """`is_behind`: it was rotated before already, and the reader has yet to read backups."""
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    for number in itertools.count(1):
        log = Log(place / str(number))
        log.write(3 * BLOCK)
        log.rotate()
        log.write(BLOCK)
        with monkeypatch.context() as patch:
            follower = log.follower(last) if is_behind else None
            log.write(3 * BLOCK)
            if is_behind:
                log.rotate()
                log.rotate()
            log.write(BLOCK)
            interrupter = Interrupter(patch, number, lambda log=log: interrupt(log))
            follower = follower or log.follower(last)
            found = [*follower.step(), *follower.step()]
        found += follower.step()
        follower.close()
        log.close()
        lines = log.written.splitlines()
        first = 0 if last is None else int(found[0])
        assert found == lines[first : len(found) + first], f"interrupted at call {number}"
        assert found[-1] == lines[-1]
        assert last is None or len(found) >= last
        assert follower.lost == 0
        if interrupter.left > 0:
            break
    assert number > 10


def interrupt(log):
    for _ in range(2):
        log.write(2 * BLOCK + 50)
        log.rotate()
    log.write(50)
