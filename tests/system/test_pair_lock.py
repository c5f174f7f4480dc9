"""The state lock in hands that do not let go: a member that stands still is ended, a stranger never."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from live_pair import ROOM, LivePair, until

from twinwatch.core.values import WATCHER_ROLES
from twinwatch.linux.identity import is_alive

SIGSTOP, SIGCONT, SIGKILL = 19, 18, 9


@pytest.fixture
def running(pair: LivePair) -> LivePair:
    pair.configure(pair.lone("web") + pair.lone("db"))
    pair.up()
    pair.wait_whole()
    pair.wait_at_work("web", "db")
    return pair


@contextmanager
def holder(pair: LivePair, kind: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the state lock. At the end it has let go, or is dead."""
    command = [sys.executable, str(ROOM / "lock_holder.py"), kind, str(pair.runtime)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            assert pair.state.lock.holder() == child.pid
            yield child
        finally:
            child.send_signal(SIGCONT)


def wedged(pair: LivePair) -> set[str]:
    """Who said that the pair is wedged, role and generation."""
    return {str(event["by"]) for event in pair.events() if event["event"] == "wedged"}


def seats(pair: LivePair) -> set[str]:
    return {f"{role.label}.{pair.role(role).generation}" for role in WATCHER_ROLES}


def test_a_stopped_member_is_ended_by_a_watcher(running: LivePair):
    before = running.generations()
    with holder(running, "member") as child:
        child.send_signal(SIGSTOP)
        running.kill(running.worker("web").identity)
        running.wait_whole({"web": before["web"] + 1})
        assert child.wait() == -SIGKILL
    assert running.generations() == before | {"web": before["web"] + 1}


def test_a_stopped_member_is_ended_by_a_command(running: LivePair):
    before = running.generations()
    with holder(running, "member") as child:
        child.send_signal(SIGSTOP)
        running.call("restart", "-p", running.name, "web")
        assert child.wait() == -SIGKILL
    running.wait_whole()
    assert running.generations() == before | {"web": before["web"] + 1}


def test_a_stopped_member_is_ended_by_the_heirs_of_both_watchers(running: LivePair):
    before = running.generations()
    with holder(running, "member") as child:
        child.send_signal(SIGSTOP)
        running.kill(*(running.role(role).identity for role in WATCHER_ROLES))
        running.wait_whole({"a": before["a"] + 1, "b": before["b"] + 1})
        assert child.wait() == -SIGKILL
    assert running.generations() == before | {"a": before["a"] + 1, "b": before["b"] + 1}


def test_a_killed_holder_holds_nothing(running: LivePair):
    before = running.generations()
    with holder(running, "member") as child:
        child.kill()
        child.wait()
        running.kill(running.worker("web").identity, running.worker("db").identity)
        running.wait_whole({"web": before["web"] + 1, "db": before["db"] + 1})


def test_a_stranger_is_never_ended(running: LivePair):
    """Wedged is said, nothing is broken by force, and all goes on when the stranger lets go (P6, P7)."""
    before = running.generations()
    slots = running.workers()
    with holder(running, "stranger") as child:
        running.kill(slots["web"].identity, slots["db"].identity)
        until(lambda: wedged(running) >= seats(running), "both watchers say that the pair is wedged")
        running.wait_beats()
        assert child.poll() is None
        assert running.generations() == before
        named = [event["reason"] for event in running.events() if event["event"] == "wedged"]
        assert f"PID {child.pid} " in named[0]
    running.wait_whole({"web": before["web"] + 1, "db": before["db"] + 1})
    assert running.generations() == before | {"web": before["web"] + 1, "db": before["db"] + 1}
    until(lambda: len(running.guards()) == len(running.everyone()) == 6, "no gated child is forgotten")


def test_a_stranger_while_a_watcher_dies(running: LivePair):
    """Its reserves and its twin wait; a claim that waited is won by one of them."""
    before = running.generations()
    with holder(running, "stranger") as child:
        running.kill(running.role(WATCHER_ROLES[0]).identity)
        until(lambda: f"b.{before['b']}" in wedged(running), "the twin says that the pair is wedged")
        assert child.poll() is None
    running.wait_whole({"a": before["a"] + 1})
    assert running.generations() == before | {"a": before["a"] + 1}
    until(lambda: len(running.guards()) == len(running.everyone()) == 6, "no gated child is forgotten")


def test_a_stranger_while_both_watchers_die(running: LivePair):
    """Reserves that cannot claim because of a wedge go on trying: they are all that is left."""
    before = running.generations()
    old = [running.role(role).identity for role in WATCHER_ROLES]
    with holder(running, "stranger") as child:
        running.kill(*old)
        until(lambda: not any(map(is_alive, old)), "both are dead")
        waited = running.state.lock.timeout_ns * 4  # twice what a waiter takes until it knows the wedge
        assert child.poll() is None
        hold(waited)
    running.wait_whole({"a": before["a"] + 1, "b": before["b"] + 1})
    assert running.generations() == before | {"a": before["a"] + 1, "b": before["b"] + 1}


def hold(duration_ns: int) -> None:
    """Keep the lock for longer than waiters are patient. No verdict depends on how much longer."""
    import time

    end_ns = time.monotonic_ns() + duration_ns
    until(lambda: time.monotonic_ns() > end_ns, "the patience of the waiters is over")


def test_a_command_says_that_the_pair_is_wedged(running: LivePair):
    before = running.generations()
    with holder(running, "stranger") as child:
        done = running.call("restart", "-p", running.name, "web", check=False)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert f"PID {child.pid}" in done.stderr
    running.wait_beats()
    assert running.generations() == before
    running.call("restart", "-p", running.name, "web")
