"""`reload` touches what was changed, and nothing else; whoever dies meanwhile."""

import json

import pytest
from worker_kit import (
    SLEEP,
    LivePair,
    background,
    changes,
    entry,
    kill_guards,
    kill_watchers,
    until,
    wait_guarded,
    wait_phase,
    wait_running,
)

from twinwatch.core.record import Slot
from twinwatch.core.values import WATCHER_ROLES, Phase, Role
from twinwatch.linux.identity import is_alive


def reload(pair: LivePair) -> dict[str, object]:
    return json.loads(pair.call("reload", "-p", pair.name, "--json").stdout)


def three(pair: LivePair, **keys: object) -> str:
    return entry("one", SLEEP) + entry("two", SLEEP, **keys) + entry("three", SLEEP)


def stayed(before: dict[str, Slot], after: dict[str, Slot], *labels: str) -> bool:
    return all(before[label].identity == after[label].identity for label in labels)


@pytest.mark.parametrize(
    "keys",
    [{"environment": {"X": "1"}}, {"umask": "027"}, {"rlimits": {"core": 0}}, {"log": {"file": "other.log"}}],
)
def test_only_what_changed_is_restarted(pair: LivePair, keys: dict[str, object]):
    pair.configure(three(pair))
    pair.up()
    before = pair.workers()
    pair.configure(three(pair, **keys))
    said = reload(pair)
    assert said == {
        "started": [],
        "stopped": [],
        "restarted": ["two"],
        "unchanged": ["one", "three"],
        "config_generation": 2,
    }
    after = pair.workers()
    assert stayed(before, after, "one", "three")
    assert not is_alive(before["two"].identity)
    assert (after["two"].phase, after["two"].generation) == (Phase.RUNNING, 2)
    reasons = [event["reason"] for event in changes(pair, "two")]
    assert "reload" in reasons
    assert after["two"].restarts == 0, "an ordered restart does not count"


@pytest.mark.parametrize(
    "keys",
    [
        {"restart": "never"},
        {"stop": {"timeout": "3s", "signal": "INT"}},
        {"start_timeout": "3s"},
        {"depends_on": ["one"]},
    ],
)
def test_a_change_of_policy_restarts_nothing_and_counts_from_now_on(pair: LivePair, keys: dict[str, object]):
    pair.configure(three(pair))
    pair.up()
    before = pair.workers()
    pair.configure(three(pair, **keys))
    assert reload(pair)["restarted"] == []
    assert stayed(before, pair.workers(), "one", "two", "three")
    if "restart" in keys:
        pair.kill(before["two"].identity)
        assert wait_phase(pair, "two", Phase.STOPPED).generation == 1
    if "stop" in keys:
        pair.call("stop", "-p", pair.name, "two")
        assert pair.worker("two").exit.signal == 2


def test_new_ones_start_and_removed_ones_stop_and_free_their_slot(pair: LivePair):
    pair.configure(pair.lone("one") + pair.lone("two"))
    pair.up()
    before = pair.workers()
    pair.configure(pair.lone("two") + pair.lone("new"))
    said = reload(pair)
    assert (said["started"], said["stopped"], said["unchanged"]) == (["new"], ["one"], ["two"])
    after = pair.workers()
    assert set(after) == {"two", "new"}
    assert stayed(before, after, "two")
    assert not is_alive(before["one"].identity)
    assert {worker["name"] for worker in pair.status()["workers"]} == {"two", "new"}

    pair.configure(pair.lone("two") + pair.lone("one"))  # and back: its generation goes on from somewhere
    reload(pair)
    wait_running(pair, "one")
    until(lambda: len(pair.births("one")) == 2, "it was born once more")
    assert set(pair.workers()) == {"one", "two"}


def test_instances_are_raised_and_lowered(pair: LivePair):
    pair.configure(entry("w", SLEEP, instances=2))
    pair.up()
    two = pair.workers()
    pair.configure(entry("w", SLEEP, instances=5))
    assert reload(pair)["started"] == ["w:2", "w:3", "w:4"]
    five = pair.workers()
    assert set(five) == {"w", "w:1", "w:2", "w:3", "w:4"}
    assert stayed(two, five, "w", "w:1")
    pair.configure(entry("w", SLEEP, instances=1))
    assert reload(pair)["stopped"] == ["w:1", "w:2", "w:3", "w:4"]
    one = pair.workers()
    assert set(one) == {"w"}
    assert stayed(two, one, "w")
    assert not any(is_alive(five[label].identity) for label in set(five) - {"w"})


def test_invalid_file_changes_nothing(pair: LivePair):
    pair.configure(three(pair))
    pair.up()
    before = pair.workers()
    pair.configure(entry("one", ["/no/such/program"]) + entry("two", SLEEP, colour="red"))
    refused = pair.call("reload", "-p", pair.name, check=False)
    assert refused.returncode == 2
    assert "/no/such/program" in refused.stderr and "colour" in refused.stderr, "all mistakes at once"
    assert "Traceback" not in refused.stderr
    kill_watchers(pair)
    assert stayed(before, pair.workers(), *before)
    assert pair.status()["config_generation"] == 1
    assert {pair.state.heartbeat(role).config_generation for role in WATCHER_ROLES} == {1}


def test_an_unchanged_file_is_no_new_generation(pair: LivePair):
    pair.configure(three(pair))
    pair.up()
    assert reload(pair)["config_generation"] == 1
    assert sorted(reload(pair)["unchanged"]) == ["one", "three", "two"]


@pytest.mark.parametrize("role", WATCHER_ROLES)
def test_a_watcher_killed_right_before(pair: LivePair, role: Role):
    pair.configure(three(pair))
    pair.up()
    wait_guarded(pair)
    before = pair.workers()
    pair.configure(three(pair, umask="027"))
    pair.kill(pair.role(role).identity)
    assert reload(pair)["restarted"] == ["two"]
    assert stayed(before, pair.workers(), "one", "three")
    assert wait_running(pair, "two")[0].generation == 2


@pytest.mark.parametrize("roles", [(Role.A,), (Role.B,), WATCHER_ROLES], ids=["a", "b", "both"])
def test_watchers_killed_while_it_is_taken_over(pair: LivePair, roles: tuple[Role, ...]):
    """Killed as soon as the new generation is in the header; five times over."""
    pair.configure(pair.lone("keep") + entry("w", SLEEP, environment={"N": "0"}))
    pair.up()
    for turn in range(1, 6):
        wait_guarded(pair)
        keep, generation = pair.worker("keep").identity, pair.worker("w").generation
        pair.configure(pair.lone("keep") + entry("w", SLEEP, environment={"N": str(turn)}))
        victims = [pair.role(role).identity for role in roles]
        with background(pair, "reload", "-p", pair.name, "--json") as call:
            until(lambda turn=turn: pair.state.header().config_generation == 1 + turn, "it is published")
            pair.kill(*victims)
            output, errors = call.communicate(timeout=90)
            assert call.returncode == 0, output + errors
        assert json.loads(output)["restarted"] == ["w"]
        slot = pair.worker("w")
        assert (slot.phase, slot.generation) == (Phase.RUNNING, generation + 1)
        environ = (pair.directory / "/proc" / str(slot.identity.pid) / "environ").read_bytes()
        assert b"N=%d\0" % turn in environ
        assert pair.worker("keep").identity == keep


def test_reserves_carry_the_new_configuration(pair: LivePair):
    """Watchers that come from reserves forked before the reload would run the old command."""
    pair.configure(entry("w", SLEEP, environment={"N": "old"}))
    pair.up()
    wait_guarded(pair)
    old = {identity for role in WATCHER_ROLES for identity in pair.reserves(role)}
    pair.configure(entry("w", SLEEP, environment={"N": "new"}))
    reload(pair)
    assert not any(map(is_alive, old)), "reload reports success when no old reserve is left"
    for _ in range(3):
        kill_watchers(pair)
        slot = pair.worker("w")
        pair.kill(slot.identity)
        slot = wait_running(pair, "w", generation=slot.generation + 1)[0]
        assert b"N=new\0" in (pair.directory / "/proc" / str(slot.identity.pid) / "environ").read_bytes()


def test_both_watchers_dead(pair: LivePair):
    """Published all the same, and said so; `up` acts on it."""
    pair.configure(three(pair))
    pair.up()
    kill_guards(pair)
    before = pair.workers()
    pair.configure(three(pair, umask="027"))
    refused = pair.call("reload", "-p", pair.name, check=False)
    assert refused.returncode == 7
    assert "both watchers are dead" in refused.stderr
    pair.up()
    after = pair.workers()
    assert stayed(before, after, "one", "three")
    assert after["two"].generation == 2
