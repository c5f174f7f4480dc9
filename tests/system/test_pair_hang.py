"""A watcher that stands still is replaced; what was stopped and wakes up again changes nothing."""

import time

import pytest
from live_pair import LivePair, until

from twinwatch.core.values import WATCHER_ROLES, Identity, Role
from twinwatch.linux import process
from twinwatch.linux.identity import is_alive

STOP, CONT = 19, 18
TIMEOUT_NS = 1_000_000_000  # watch.timeout of the harness
PROMISE_NS = TIMEOUT_NS + 1_000_000_000  # the issue: replaced within watch.timeout + 1 s
# A judge that was itself late does not convict (P9), so a busy machine may make any one hang last
# longer. Only where each of several hangs was late is the promise broken.
TRIES = 4


@pytest.fixture
def running(pair: LivePair) -> LivePair:
    pair.configure(pair.lone("web") + pair.lone("db"))
    pair.up()
    pair.wait_whole()
    return pair


def replace_hung(pair: LivePair, role: Role) -> tuple[Identity, int]:
    """Stop the holder of a role, wait for its successor: (the old holder, ns from stop to successor)."""
    before, old = pair.generations(), pair.role(role).identity
    since_ns = time.monotonic_ns()
    pair.kill(old, number=STOP)
    wanted = before | {role.label: before[role.label] + 1}
    pair.wait_whole(wanted)
    assert pair.generations() == wanted
    assert not is_alive(old), "two processes in one role"
    return old, watching_ns(pair, role) - since_ns


def watching_ns(pair: LivePair, role: Role) -> int:
    """When the present holder of a role said that it watches."""
    generation = pair.role(role).generation

    def said() -> list[int]:
        return [
            event["monotonic_ns"]
            for event in pair.events()
            if (event.get("slot"), event.get("generation")) == (role.label, generation)
            and event.get("new") == "running"
        ]

    until(said, f"{role.label}.{generation} says that it watches")
    return said()[0]


@pytest.mark.smoke
@pytest.mark.parametrize("role", WATCHER_ROLES, ids=["a", "b"])
def test_a_stopped_watcher_is_replaced(running: LivePair, role: Role):
    workers = {label: slot.identity for label, slot in running.workers().items()}
    old, _ = replace_hung(running, role)
    before = running.generations()
    process.end(old, CONT)  # where it still lives: it does not
    running.wait_beats()
    assert running.generations() == before
    assert {label: slot.identity for label, slot in running.workers().items()} == workers
    convictions = [event for event in running.events() if event.get("new") == "stopping"]
    assert [event["slot"] for event in convictions] == [role.label]
    ends = [
        event["exit"] for event in running.events() if event.get("slot") == role.label and "exit" in event
    ]
    assert [end["reason"] for end in ends] == ["hung"]  # who took the role over need not have seen the signal


def test_it_is_replaced_in_time(running: LivePair):
    assert_replaced_within(PROMISE_NS, running)


@pytest.mark.slow
def test_it_is_replaced_in_time_at_a_slow_pulse(pair: LivePair):
    """Its judge looks every 2 s, and yet not 2 s too late."""
    pair.configure(pair.lone("web"), "{interval: 2s, timeout: 8s}")
    pair.up()
    pair.wait_whole()
    assert_replaced_within(9_000_000_000, pair)


def assert_replaced_within(promise_ns: int, pair: LivePair) -> None:
    took = []
    for _ in range(TRIES):
        took.append(replace_hung(pair, Role.B)[1])
        if took[-1] <= promise_ns:
            return
    pytest.fail(
        f"replaced after {[round(ns / 1e9, 3) for ns in took]} s, each more than {promise_ns / 1e9} s"
    )


def test_both_stopped(running: LivePair):
    """No watcher is left to judge: the reserves convict their parents and take over (R13)."""
    before = running.generations()
    workers = {label: slot.identity for label, slot in running.workers().items()}
    old = [running.role(role).identity for role in WATCHER_ROLES]
    running.kill(*old, number=STOP)
    wanted = before | {"a": before["a"] + 1, "b": before["b"] + 1}
    running.wait_whole(wanted)
    assert running.generations() == wanted
    assert not any(map(is_alive, old))
    assert {label: slot.identity for label, slot in running.workers().items()} == workers


def test_one_dead_the_other_stopped(running: LivePair):
    before = running.generations()
    running.kill(*running.reserves(Role.A), running.role(Role.A).identity, number=STOP)
    stopped = running.role(Role.B).identity
    running.kill(stopped, number=STOP)
    running.kill(running.role(Role.A).identity)
    running.wait_whole({"a": before["a"] + 1, "b": before["b"] + 1})
    assert not is_alive(stopped)
    assert running.generations() == before | {"a": before["a"] + 1, "b": before["b"] + 1}


@pytest.mark.parametrize("stopped", WATCHER_ROLES, ids=["a", "b"])
def test_workers_that_die_under_a_stopped_watcher(running: LivePair, stopped: Role):
    """Its owner stands still, or its owner's twin does: each dead worker is born again exactly once."""
    running.wait_at_work("web", "db")
    before = running.generations()
    dead = [slot.identity for slot in running.workers().values()]
    running.kill(running.role(stopped).identity, number=STOP)
    running.kill(*dead)
    running.wait_whole({"web": before["web"] + 1, "db": before["db"] + 1})
    running.wait_whole({stopped.label: before[stopped.label] + 1})
    running.wait_at_work("web", "db")
    running.wait_beats()
    assert running.generations() == {label: before[label] + (label != stopped.twin.label) for label in before}
    assert [len(running.births(name)) for name in ("web", "db")] == [2, 2]


def test_stopped_for_a_moment_is_not_hung(pair: LivePair):
    pair.configure(pair.lone("web"), "{interval: 100ms, timeout: 30s}")
    pair.up()
    pair.wait_whole()
    before, beat = pair.generations(), pair.state.heartbeat(Role.B).sequence
    identity = pair.role(Role.A).identity
    pair.kill(identity, number=STOP)
    until(lambda: pair.state.heartbeat(Role.B).sequence >= beat + 5, "b has judged five times")
    pair.kill(identity, number=CONT)
    pair.wait_beats()
    assert pair.generations() == before
    assert pair.role(Role.A).identity == identity


def test_a_stopped_reserve_holds_nobody_up(running: LivePair):
    """Reserves that do not take over when their parent dies: the twin gives birth with its own."""
    before = running.generations()
    stopped = running.reserves(Role.A)
    running.kill(*stopped, number=STOP)
    running.kill(running.role(Role.A).identity)
    running.wait_whole({"a": before["a"] + 1})
    assert running.generations() == before | {"a": before["a"] + 1}
    running.kill(*stopped, number=CONT)
    until(lambda: not any(map(is_alive, stopped)), "they see that they are late, and leave")
    running.wait_beats()
    assert running.generations() == before | {"a": before["a"] + 1}
