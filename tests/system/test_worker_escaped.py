"""A worker that daemonises is never given a second instance, and is ended when it is to end."""

import os
import signal
from collections.abc import Iterator

import pytest
from worker_kit import (
    LivePair,
    entry,
    kill_guards,
    kill_watchers,
    program,
    shown,
    until,
    wait_change,
    wait_phase,
)

from twinwatch.core.values import WATCHER_ROLES, ExitKind, Phase
from twinwatch.linux.identity import is_dead


@pytest.fixture
def daemon(pair: LivePair) -> Iterator[int]:
    """A pidfd of the daemon, whose slot says that it escaped."""
    command = program("daemon_worker.py", pair.lock_of("d"), pair.births_of("d"))
    pair.configure(entry("d", command), watch="{interval: 100ms, timeout: 20s}")
    pair.call("up", str(pair.config), check=False)  # 0 or 1: it has begun well
    wait_phase(pair, "d", Phase.FATAL)
    until(lambda: pair.births("d"), "the daemon is there")
    pidfd = os.pidfd_open(int(pair.births("d")[0][0]))
    assert not is_dead(pidfd)
    yield pidfd
    os.close(pidfd)


def only_one(pair: LivePair) -> bool:
    return len(pair.births("d")) == 1 and not list(pair.directory.glob("*.double"))


def test_it_is_fatal_and_says_why(pair: LivePair, daemon: int):
    slot = pair.worker("d")
    assert (slot.exit.kind, slot.generation) == (ExitKind.ESCAPED, 1)
    assert shown(pair, "d")["last_exit"]["kind"] == "escaped"
    assert wait_change(pair, "d", "fatal")["reason"] == "a process of it escaped"
    assert pair.status()["state"] == "fatal"


def test_no_second_instance_whoever_looks(pair: LivePair, daemon: int):
    for _ in range(5):
        kill_watchers(pair)
    kill_guards(pair)
    pair.call("up", str(pair.config), check=False)
    slot = wait_phase(pair, "d", Phase.FATAL)
    assert slot.generation == 1
    assert only_one(pair) and not is_dead(daemon)


@pytest.mark.parametrize("when", ["at once", "watchers killed before", "all guards killed before"])
@pytest.mark.parametrize("command", ["stop", "restart", "down"])
def test_command_ends_the_escaped_one(pair: LivePair, daemon: int, command: str, when: str):
    if when == "watchers killed before":
        kill_watchers(pair)
    elif when == "all guards killed before":
        kill_guards(pair)
        if command != "down":  # `down` alone acts with no watcher alive
            pair.call("up", str(pair.config), check=False)
    if command == "down":
        pair.down()
    else:
        pair.call(command, "-p", pair.name, "d")
    assert is_dead(daemon), f"acknowledged before it was dead by {command}"
    if command == "stop":
        assert wait_phase(pair, "d", Phase.STOPPED).generation == 1
        assert pair.status()["state"] == "up"
    if command == "restart":  # which escapes again, and is no second one
        until(lambda: len(pair.births("d")) == 2, "the next daemon is there")
        assert wait_phase(pair, "d", Phase.FATAL, generation=2).generation == 2


def test_stop_is_not_acknowledged_while_it_lives(pair: LivePair, daemon: int):
    """With both watchers stopped nobody can end it: so nobody may say that it is stopped."""
    watchers = [pair.role(role).identity for role in WATCHER_ROLES]
    pair.kill(*watchers, number=signal.SIGSTOP)
    call = pair.call("stop", "-p", pair.name, "d", "--timeout", "500ms", check=False)
    assert not is_dead(daemon)
    pair.kill(*watchers, number=signal.SIGCONT)
    assert call.returncode == 1, call.stdout
    pair.call("stop", "-p", pair.name, "d")
    assert is_dead(daemon)


def test_the_next_life_of_the_pair_refuses_a_second_instance(pair: LivePair, daemon: int):
    """Its state file lost, the pair knows nothing of the daemon: the kernel still does (token)."""
    kill_guards(pair)
    pair.forget_state()
    for path in pair.runtime.iterdir():
        path.unlink()
    pair.call("up", str(pair.config), check=False)
    slot = wait_phase(pair, "d", Phase.FATAL)
    assert slot.exit.kind is ExitKind.ESCAPED
    assert only_one(pair) and not is_dead(daemon)
    pair.call("stop", "-p", pair.name, "d")
    assert is_dead(daemon)


def test_what_a_killed_leader_left_is_ended(pair: LivePair):
    """A child in a session of its own that outlives a crash: ended, and then the worker is born again."""
    said = pair.directory / "child"
    script = f'setsid sleep 100000 & echo $! >"{said}.draft"; mv "{said}.draft" "{said}"; exec sleep 100000'
    pair.configure(entry("w", ["sh", "-c", script]))
    pair.up()
    until(said.exists, "the child is there")
    child = os.pidfd_open(int(said.read_text()))
    until(lambda: os.getsid(int(said.read_text())) == int(said.read_text()), "it has its own session")
    before = pair.worker("w")
    said.unlink()
    pair.kill(before.identity)
    until(lambda: pair.worker("w").generation == before.generation + 1, "it is born again")
    assert is_dead(child)
    os.close(child)
    until(said.exists, "its child is there again")
