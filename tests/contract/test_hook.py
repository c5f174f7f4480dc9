"""A command that is run to its end before a worker's program: what it gets, how it fails, what is left."""

import errno
import os
import signal
import sys
from pathlib import Path

import pytest
from scene import taken_out, until

from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import HOOK_EXIT
from twinwatch.linux import hook, process
from twinwatch.linux.hook import HookFailed
from twinwatch.linux.identity import is_dead

PATIENT_NS = 60 * SECOND_NS
ENVIRON = {"PATH": os.environ["PATH"], "COLOUR": "blue"}


def sh(script: str, *, timeout_ns: int = PATIENT_NS, **environ: str) -> None:
    hook.run(("sh", "-c", script), ENVIRON | environ, timeout_ns)


def failure(script: str, **fields: object) -> int:
    with pytest.raises(HookFailed) as failed:
        sh(script, **fields)
    return failed.value.number


def test_it_is_run_to_its_end(tmp_path):
    said = tmp_path / "said"
    sh(f"echo begun >{said}; echo $COLOUR >>{said}; sleep 0.01; echo ended >>{said}")
    assert said.read_text().split() == ["begun", "blue", "ended"]


def test_it_leads_a_group_of_its_own(tmp_path):
    said = tmp_path / "said"
    sh(f"cut -d' ' -f1,5,6 /proc/$$/stat >{said}")
    pid, group, session = map(int, said.read_text().split())
    assert pid == group
    assert session == os.getsid(0)


def test_signals_are_as_a_program_expects_them(tmp_path):
    said = tmp_path / "said"
    sh(f"grep -E '^Sig(Ign|Blk)' /proc/self/status >{said}")
    ignored = {line.split()[0]: int(line.split()[1], 16) for line in said.read_text().splitlines()}
    assert ignored["SigBlk:"] == 0
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGUSR1, signal.SIGHUP):
        assert not ignored["SigIgn:"] & 1 << number - 1, number


@pytest.mark.parametrize(
    ("script", "number"),
    [("exit 1", 1), ("exit 110", 110), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_how_it_failed(script, number):
    """Also a code that is an errno as well: ETIMEDOUT is 110."""
    assert failure(script) == HOOK_EXIT + number


def test_a_core_dump_is_a_signal():
    assert failure("ulimit -c 0; kill -ABRT $$") == HOOK_EXIT + 134


def test_its_whole_group_is_ended_when_its_time_is_over(tmp_path):
    said = tmp_path / "said"
    script = f"trap '' TERM; sleep 100000 & echo $! >{said}.draft; mv {said}.draft {said}; wait"
    in_time = process.wait_dead

    def begun_and_over(pidfd: int, timeout_ms: int | None) -> bool:
        until(said.exists, "it has begun")
        return in_time(pidfd, 0 if timeout_ms else timeout_ms)

    with taken_out(process, "wait_dead", begun_and_over):
        assert failure(script) == errno.ETIMEDOUT
    until(lambda: not _lives(int(said.read_text())), "its child is dead")


def _lives(pid: int) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not is_dead(pidfd)
    finally:
        os.close(pidfd)


def test_nothing_is_left_of_it(tmp_path):
    before = os.listdir("/proc/self/fd")
    sh("exit 0")
    failure("exit 1")
    failure("exec sleep 100000", timeout_ns=MILLISECOND_NS)
    with pytest.raises(FileNotFoundError):
        hook.run(("no-such-program",), ENVIRON, PATIENT_NS)
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# ---------------------------------------------------------------- its program


def program(path: Path, said: Path, word: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {word} >{said}\n")
    path.chmod(0o755)


def test_it_is_searched_on_the_path_that_the_worker_gets(tmp_path):
    said = tmp_path / "said"
    program(tmp_path / "one/hook-program", said, "one")
    program(tmp_path / "two/hook-program", said, "two")
    (tmp_path / "one/hook-program").chmod(0o644)  # no program: the next one is taken
    hook.run(("hook-program",), {"PATH": f"/nowhere:{tmp_path}/one:{tmp_path}/two"}, PATIENT_NS)
    assert said.read_text() == "two\n"


@pytest.mark.parametrize("name", ["no-such-program", "/no/such/program", f"{sys.executable}/no-folder"])
def test_a_program_that_is_not_there(name):
    with pytest.raises(FileNotFoundError):
        hook.run((name,), ENVIRON, PATIENT_NS)


def test_a_program_that_may_not_be_executed(tmp_path):
    program(tmp_path / "one/hook-program", tmp_path / "said", "one")
    (tmp_path / "one/hook-program").chmod(0o644)
    with pytest.raises(PermissionError):
        hook.run(("hook-program",), {"PATH": f"{tmp_path}/one:/nowhere"}, PATIENT_NS)


def test_a_program_that_is_no_program(tmp_path):
    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o755)
    with pytest.raises(OSError, match=os.strerror(errno.ENOEXEC)):
        hook.run((str(text),), ENVIRON, PATIENT_NS)
