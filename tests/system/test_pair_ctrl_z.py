"""A command that is stopped, at any moment, holds nobody up: neither the pair nor the next command."""

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from live_pair import LivePair, until

from twinwatch.core.values import Role
from twinwatch.linux.lock import LOCK_BYTE

RANDOM_MOMENTS = 3  # in one run; another seed draws others
READS_MAX = 900  # read calls of a command from its first instruction to its end: about that many


@pytest.fixture
def running(pair: LivePair) -> LivePair:
    pair.configure(pair.lone("web") + pair.lone("db"))
    pair.up()
    pair.wait_whole()
    pair.wait_at_work("web", "db")
    return pair


def holds(pid: int, path: object) -> bool:
    """Whether a process has a file open."""
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}") == str(path) for fd in os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def at_operator_lock(pair: LivePair, pid: int) -> bool:
    return holds(pid, pair.kept.with_name(f"{pair.name}.lock"))


def at_state_file(pair: LivePair, pid: int) -> bool:
    return holds(pid, pair.runtime / "state")


def as_member(pair: LivePair, pid: int) -> bool:
    """It has the right to take the state lock, and mostly has just taken it."""
    return pair.state.lock.holder(LOCK_BYTE + pid) == pid


def after_reads(count: int) -> Callable[[LivePair, int], bool]:
    """Progress in system calls, which a busy machine does not change."""

    def is_there(_: LivePair, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/io", encoding="ascii") as file:
                return int(file.read().partition("syscr:")[2].split()[0]) >= count
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return False

    return is_there


@contextmanager
def stopped(
    pair: LivePair, moment: Callable[[LivePair, int], bool], *arguments: str
) -> Iterator["subprocess.Popen[str]"]:
    """The command, stopped at that moment, or ended where it was faster. At the end it went on."""
    with pair.begin(*arguments) as command:
        try:
            while command.poll() is None and not moment(pair, command.pid):
                pass
            command.send_signal(signal.SIGSTOP)
            yield command
        finally:
            command.send_signal(signal.SIGCONT)
            command.communicate()


def commands(pair: LivePair) -> dict[str, tuple[str, ...]]:
    return {
        "up": ("up", str(pair.config)),
        "reload": ("reload", "-p", pair.name),
        # When it goes on after a `start`, its wish is not to come true any more.
        "stop": ("stop", "-p", pair.name, "--timeout", "3s", "web"),
        "restart": ("restart", "-p", pair.name, "web"),
        "down": ("down", "-p", pair.name),
    }


def assert_all_goes_on(pair: LivePair) -> None:
    """Deaths are dealt with, and every other command works."""
    before = pair.generations()
    pair.kill(pair.role(Role.A).identity, pair.worker("db").identity)
    until(lambda: pair.generations()["a"] > before["a"], "the watcher is back")
    pair.call("restart", "-p", pair.name, "db")
    pair.call("start", "-p", pair.name, "web")
    pair.up()
    pair.call("reload", "-p", pair.name)
    assert pair.status()["state"] == "up"


MOMENTS = [at_operator_lock, at_state_file, as_member]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
@pytest.mark.parametrize("name", ["up", "reload"])
def test_a_stopped_command_of_the_pair(running: LivePair, name: str, moment: Callable[[LivePair, int], bool]):
    with stopped(running, moment, *commands(running)[name]):
        assert_all_goes_on(running)
    running.wait_whole()


@pytest.mark.parametrize("moment", MOMENTS[1:], ids=lambda moment: moment.__name__)
@pytest.mark.parametrize("name", ["stop", "restart"])
def test_a_stopped_command_of_a_worker(running: LivePair, name: str, moment: Callable[[LivePair, int], bool]):
    with stopped(running, moment, *commands(running)[name]):
        assert_all_goes_on(running)
    running.call("start", "-p", running.name, "all")
    running.wait_whole()


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
def test_a_stopped_down(running: LivePair, moment: Callable[[LivePair, int], bool]):
    """Another `down` finishes what it began; when it goes on itself, it finds nothing to do."""
    with stopped(running, moment, *commands(running)["down"]):
        running.down()
        assert running.processes() == []
    assert running.status()["state"] == "down"
    running.up()
    running.wait_whole()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["up", "reload", "restart"])
def test_stopped_at_any_moment(running: LivePair, name: str):
    for _ in range(RANDOM_MOMENTS):
        moment = after_reads(random.randrange(READS_MAX))
        with stopped(running, moment, *commands(running)[name]):
            assert_all_goes_on(running)
        running.wait_whole()
    running.assert_never_double()


@pytest.mark.slow
def test_down_stopped_at_any_moment(running: LivePair):
    for _ in range(RANDOM_MOMENTS):
        moment = after_reads(random.randrange(READS_MAX))
        with stopped(running, moment, *commands(running)["down"]):
            running.down()
            assert running.processes() == []
        running.up()
        running.wait_whole()


@pytest.mark.parametrize("moment", [at_operator_lock, as_member], ids=lambda moment: moment.__name__)
def test_a_first_up_is_stopped(pair: LivePair, moment: Callable[[LivePair, int], bool]):
    """Stopped before anything lives; the next `up` brings the pair up, once."""
    pair.configure(pair.lone("web") + pair.lone("db"))

    def is_there(pair: LivePair, pid: int) -> bool:
        return (moment is at_operator_lock or (pair.runtime / "state").exists()) and moment(pair, pid)

    with stopped(pair, is_there, *commands(pair)["up"]):
        pair.up()
        pair.wait_whole()
    pair.wait_whole()
    until(lambda: len(pair.guards()) == len(pair.everyone()) == 6, "two watchers with two reserves each")
    assert pair.generations()["web"] == 1
