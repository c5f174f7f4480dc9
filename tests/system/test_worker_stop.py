"""`stop`: the signal, CONT, the time, KILL for the whole group; acknowledged when dead, and for good."""

import os
import signal

import pytest
from worker_kit import (
    SLEEP,
    TIRELESS,
    LivePair,
    background,
    changes,
    entry,
    kill_guards,
    kill_watchers,
    program,
    shown,
    status_field,
    until,
    wait_phase,
    wait_running,
)

from twinwatch.core.values import Ending, Phase
from twinwatch.linux.identity import is_alive, is_dead


def family(pair: LivePair, name: str, mode: str = "", timeout: str = "10s") -> str:
    command = program("family_worker.py", pair.lock_of(name), pair.births_of(name), *([mode] if mode else []))
    return entry(name, command, stop={"timeout": timeout}, restart=TIRELESS)


def wait_family(pair: LivePair, name: str, count: int = 1) -> list[int]:
    """PIDs of leader and child of the newest generation."""
    until(lambda: len(pair.births(name)) >= count, f"family {name} is there")
    leader, _, child = pair.births(name)[-1]
    return [int(leader), int(child)]


def are_dead(pidfds: list[int]) -> bool:
    return all(map(is_dead, pidfds))


def close_all(pidfds: list[int]) -> None:
    for pidfd in pidfds:
        os.close(pidfd)


def test_stopped_by_its_own_signal(pair: LivePair):
    pair.configure(entry("int", SLEEP, stop={"signal": "INT"}) + entry("usual", SLEEP))
    pair.up()
    slots = pair.workers()
    assert pair.call("stop", "-p", pair.name, "int", "usual").stdout == "int: is stopped\nusual: is stopped\n"
    for name, number in (("int", signal.SIGINT), ("usual", signal.SIGTERM)):
        assert not is_alive(slots[name].identity)
        slot = pair.worker(name)
        assert (slot.phase, slot.exit.signal, slot.exit.ending) == (Phase.STOPPED, number, Ending.STOP)
        assert shown(pair, name)["last_exit"]["reason"] == "stop"
        assert (shown(pair, name)["desired"], shown(pair, name)["pid"]) == ("stop", None)
        told = [(event["old"], event["new"]) for event in changes(pair, name)]
        expected = [("running", "stopping"), ("stopping", "stopping"), ("stopping", "stopped")]
        assert told[-3:] == expected


def test_worker_that_was_stopped_by_a_signal_still_ends(pair: LivePair):
    """TERM alone does nothing to a stopped process: CONT follows, long before the time is over."""
    pair.configure(entry("w", SLEEP, stop={"timeout": "1h"}))
    pair.up()
    slot = pair.worker("w")
    pair.kill(slot.identity, number=signal.SIGSTOP)
    until(lambda: status_field(slot.identity.pid, "State").startswith("T"), "it is stopped")
    pair.call("stop", "-p", pair.name, "w")
    assert pair.worker("w").exit.signal == signal.SIGTERM


def test_deaf_worker_and_its_children_are_killed_in_the_end(pair: LivePair):
    pair.configure(family(pair, "deaf", "deaf", timeout="300ms"))
    pair.up()
    pidfds = [os.pidfd_open(pid) for pid in wait_family(pair, "deaf")]
    pair.call("stop", "-p", pair.name, "deaf")
    assert are_dead(pidfds), "acknowledged when everything is dead"
    close_all(pidfds)
    assert pair.worker("deaf").exit.signal == signal.SIGKILL
    reasons = [event["reason"] for event in changes(pair, "deaf")]
    assert reasons[-4:] == ["stop", "stop timeout", "ended", "stopped"]


def test_not_acknowledged_before_it_is_dead(pair: LivePair):
    pair.configure(family(pair, "deaf", "deaf", timeout="1h"))
    pair.up()
    wait_family(pair, "deaf")
    with background(pair, "stop", "-p", pair.name, "deaf", "--timeout", "60s") as call:
        slot = wait_phase(pair, "deaf", Phase.STOPPING)
        refused = pair.call("stop", "-p", pair.name, "deaf", "--timeout", "200ms", check=False)
        assert refused.returncode == 1
        assert "not in time: deaf" in refused.stderr
        assert call.poll() is None and is_alive(slot.identity)
        pair.kill(slot.identity)
        assert call.communicate(timeout=60)[0] == "deaf: is stopped\n"
        assert call.returncode == 0


@pytest.mark.parametrize("who", ["owner", "both", "all"])
def test_heir_finishes_a_stop_that_was_begun(pair: LivePair, who: str):
    """The giver of the signal is killed before the time is over: KILL comes from another."""
    pair.configure(family(pair, "deaf", "deaf", timeout="1500ms"))
    pair.up()
    pidfds = [os.pidfd_open(pid) for pid in wait_family(pair, "deaf")]
    with background(pair, "stop", "-p", pair.name, "deaf") as call:
        slot = wait_phase(pair, "deaf", Phase.STOPPING)
        if who == "all":
            kill_guards(pair)
            pair.up()
        else:
            kill_watchers(pair, *([slot.owner] if who == "owner" else []))
        output, errors = call.communicate(timeout=60)
        assert (call.returncode, output) == (0, "deaf: is stopped\n"), errors
    assert are_dead(pidfds)
    close_all(pidfds)
    slot = pair.worker("deaf")
    assert (slot.phase, slot.exit.signal, slot.generation) == (Phase.STOPPED, signal.SIGKILL, 1)
    assert len(pair.births("deaf")) == 1


def test_nothing_starts_a_stopped_worker_again(pair: LivePair):
    """Not the next watchers, not `up`, not another life of the pair (P8)."""
    pair.configure(pair.lone("w") + pair.lone("x"))
    pair.up()
    pair.wait_at_work("w")
    pair.call("stop", "-p", pair.name, "w")
    for _ in range(5):
        kill_watchers(pair)
    kill_guards(pair)
    pair.up()
    wait_running(pair, "x")
    assert pair.worker("w").phase is Phase.STOPPED
    pair.down()
    pair.up()
    wait_running(pair, "x")
    assert (pair.worker("w").phase, shown(pair, "w")["desired"]) == (Phase.STOPPED, "stop")
    assert len(pair.births("w")) == 1
    pair.call("start", "-p", pair.name, "w")
    assert wait_running(pair, "w")[0].generation == 2, "the generation goes on over both lives"
    pair.wait_at_work("w")
    assert [line[1] for line in pair.births("w")] == ["1", "2"]


def test_leftovers_are_ended_before_the_next_generation(pair: LivePair):
    """Twenty times the leader is killed; its deaf child has to be gone before the next child locks."""
    pair.configure(family(pair, "kin", "deaf"))
    pair.up()
    for count in range(1, 21):
        leader, child = wait_family(pair, "kin", count)
        pidfd = os.pidfd_open(child)
        slot = wait_running(pair, "kin", generation=count)[0]
        assert slot.identity.pid == leader
        pair.kill(slot.identity)
        until(lambda fd=pidfd: is_dead(fd), "the child is ended")
        os.close(pidfd)
    wait_family(pair, "kin", 21)
    assert [int(line[1]) for line in pair.births("kin")] == list(range(1, 22))
    assert not list(pair.directory.glob("*.double"))


def test_leftovers_are_ended_by_the_heirs_of_killed_watchers(pair: LivePair):
    """Leader and both watchers die at once: nobody has a pidfd of the leader any more."""
    pair.configure(family(pair, "kin", "deaf"))
    pair.up()
    for count in range(1, 6):
        _, child = wait_family(pair, "kin", count)
        pidfd = os.pidfd_open(child)
        slot = wait_running(pair, "kin", generation=count)[0]
        kill_guards(pair)
        pair.kill(slot.identity)
        pair.up()
        until(lambda fd=pidfd: is_dead(fd), "the child is ended")
        os.close(pidfd)
    wait_family(pair, "kin", 6)
    assert not list(pair.directory.glob("*.double"))
