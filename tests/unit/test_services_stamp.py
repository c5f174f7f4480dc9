"""The time before each line: pieces as they come, ends, and a disk that is full."""

import os
import re
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.services import stamp
from twinwatch.services.stamp import Output, Stamper

STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a\n"], ["0 a\n"]),
        (["a\nb\n\n"], ["0 a\n0 b\n0 \n"]),
        (["a", "b\nc"], ["", "1 ab\n"]),
        (["a", "", "\n"], ["", "", "2 a\n"]),
        (["\n"], ["0 \n"]),
    ],
)
def test_lines(pieces, expected):
    stamper = Stamper()
    assert [stamper.take(p.encode(), str(n)).decode() for n, p in enumerate(pieces)] == expected


def test_a_long_line_is_stamped_once(monkeypatch):
    monkeypatch.setattr(stamp, "LINE_MAX", 4)
    stamper = Stamper()
    pieces = [b"abc", b"def", b"gh", b"\ni", b"jklm"]
    assert b"".join(stamper.take(piece, "t") for piece in pieces) == b"t abcdefgh\nt ijklm"
    assert stamper.end("t") == b"\n"


@pytest.mark.parametrize(("given", "end"), [(b"", b""), (b"a\n", b""), (b"a\nb", b"t b\n")])
def test_what_is_held_at_the_end(given, end):
    stamper = Stamper()
    stamper.take(given, "t")
    assert stamper.end("t") == end


@given(st.lists(st.binary(max_size=9).map(lambda data: data.replace(b"x", b"\n"))))
def test_nothing_is_added_but_the_time(pieces):
    stamper = Stamper()
    out = b"".join(stamper.take(piece, "t") for piece in pieces) + stamper.end("t")
    data = b"".join(pieces)
    lines = data.split(b"\n")
    expected = [b"t " + line + b"\n" for line in lines[:-1]] + (
        [b"t " + lines[-1] + b"\n"] if lines[-1] else []
    )
    assert out == b"".join(expected)


def test_what_cannot_be_written_is_counted(tmp_path):
    """/dev/full is a full disk; then there is room again."""
    full, log = os.open("/dev/full", os.O_WRONLY), os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    output = Output(full)
    output.write(b"0123456789", "t")
    output.write(b"abc", "t")
    os.dup2(log, full)
    output.write(b"t back\n", "t")
    assert os.pread(log, 999, 0) == b"t twinwatch: 13 bytes could not be written\nt back\n"
    os.close(full)
    os.close(log)


@pytest.fixture
def running(tmp_path):
    """A stamp as it is launched: input from a FIFO that has other readers, output appended to a file."""
    fifo, log = tmp_path / "fifo", tmp_path / "log"
    os.mkfifo(fifo)
    fd = os.open(fifo, os.O_RDWR)
    with subprocess.Popen([sys.executable, "-I", "-S", stamp.__file__, str(log)], stdin=fd) as process:
        yield process, fd, log
        process.kill()
    os.close(fd)


def test_told_to_end_it_takes_what_is_there(running):
    process, fd, log = running
    lines = [b"%d\n" % number for number in range(5000)]
    process.send_signal(signal.SIGSTOP)
    os.write(fd, b"".join(lines) + b"rest")
    process.send_signal(signal.SIGCONT)
    while not log.exists():  # it catches signals by then
        os.sched_yield()
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    found = log.read_bytes().splitlines(keepends=True)
    assert all(STAMP.match(line) for line in found)
    assert [STAMP.sub(b"", line, count=1) for line in found] == [*lines, b"rest\n"]


def test_what_is_not_read_waits_for_the_next(running, tmp_path):
    """Killed, it takes nothing along that is still in the pipe; the writer does not notice."""
    process, fd, log = running
    while not log.exists():
        os.sched_yield()
    process.kill()
    process.wait()
    os.write(fd, b"later\n")
    with subprocess.Popen([sys.executable, "-I", "-S", stamp.__file__, str(log)], stdin=fd) as following:
        while b"later" not in log.read_bytes():
            os.sched_yield()
        following.send_signal(signal.SIGTERM)
    assert STAMP.sub(b"", log.read_bytes(), count=1) == b"later\n"
