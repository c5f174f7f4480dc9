"""The tracer strikes exactly where it says: a program that writes one byte a call tells how far it came."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from every_step_strike import NEVER, Strike, needs_ptrace
from live_pair import until

from twinwatch.core.values import Identity
from twinwatch.linux.identity import identify
from twinwatch.linux.process import wait_dead

pytestmark = needs_ptrace

WRITES = 4
# It opens its file once, and waits for a signal before it begins.
WRITER = """
import os, signal, sys
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print(flush=True)
signal.sigwait({signal.SIGUSR1})
for _ in range(int(sys.argv[2])):
    os.getppid()
    os.write(out, b"x")
"""
BARE = [sys.executable, "-I", "-S", "-c", WRITER]


class Writer:
    def __init__(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        self.path = place / "written"
        self.process = subprocess.Popen([*BARE, str(self.path), str(WRITES)], stdout=subprocess.PIPE)
        self.process.stdout.readline()
        self.pidfd = os.pidfd_open(self.process.pid)
        self.identity = identify(self.process.pid, self.pidfd)

    def begin(self) -> None:
        signal.pidfd_send_signal(self.pidfd, signal.SIGUSR1)

    def end(self) -> None:
        self.process.kill()
        self.process.stdout.close()
        self.process.wait()
        os.close(self.pidfd)


@pytest.fixture
def writer(tmp_path: Path):
    found = Writer(tmp_path)
    yield found
    found.end()


def strike_living(writer: Writer, strike: Strike) -> int:
    """How much was written when it was struck, or had ended."""
    with strike:
        writer.begin()
        strike.go()
        until(lambda: strike.is_struck or strike.is_through, "struck, or through")
    return writer.path.stat().st_size


@pytest.mark.parametrize("nth", range(1, WRITES + 1))
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_of_changes(writer: Writer, name: str, nth: int) -> None:
    """A KILL comes before the N-th call, a STOP after it."""
    strike = Strike(name, nth, [writer.identity], only_changes=True)
    assert strike_living(writer, strike) == (nth - 1 if name == "SIGKILL" else nth)
    assert strike.who == writer.identity
    if name == "SIGSTOP":
        assert not wait_dead(writer.pidfd, 0)
        signal.pidfd_send_signal(writer.pidfd, signal.SIGCONT)
    assert wait_dead(writer.pidfd, None)
    assert writer.path.stat().st_size == (nth - 1 if name == "SIGKILL" else WRITES)


def test_of_all_calls(writer: Writer) -> None:
    """Calls of different kinds are counted together: the wait that goes on, then two a byte."""
    strike = Strike("SIGKILL", 1 + 2 * 3, [writer.identity])
    assert strike_living(writer, strike) in (2, 3)


def test_who_ends_before_is_not_struck(writer: Writer) -> None:
    strike = Strike("SIGKILL", NEVER, [writer.identity], only_changes=True)
    assert strike_living(writer, strike) == WRITES
    assert not strike.struck
    assert strike.calls == WRITES + 1, "its exit is a change, too"


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_a_command(tmp_path: Path, name: str) -> None:
    path = tmp_path / "written"
    program = "import os, sys; out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT); os.write(out, b'x')"
    strike = Strike(
        name, 2, command=[sys.executable, "-I", "-S", "-c", program, str(path)], only_changes=True
    )
    with strike:
        strike.go()
        until(lambda: strike.is_struck, "struck")
        assert path.stat().st_size == (0 if name == "SIGKILL" else 1)
        if name == "SIGSTOP":
            assert not strike.has_ended
            os.kill(strike.pid, signal.SIGCONT)
        until(lambda: strike.has_ended, "ended")
        assert strike.code == (-signal.SIGKILL if name == "SIGKILL" else 0)


def test_the_first_of_several(tmp_path: Path) -> None:
    """Who comes to the N-th call first is struck, and the others are let go."""
    writers = [Writer(tmp_path / name) for name in ("idle", "busy")]
    try:
        strike = Strike("SIGKILL", 2, [writer.identity for writer in writers], only_changes=True)
        with strike:
            strike.go()
            writers[1].begin()
            until(lambda: strike.is_struck, "struck")
        struck: Identity = strike.who
        assert struck == writers[1].identity
        writers[0].begin()
        assert wait_dead(writers[0].pidfd, None)
        assert [writer.path.stat().st_size for writer in writers] == [WRITES, 1]
    finally:
        for writer in writers:
            writer.end()
