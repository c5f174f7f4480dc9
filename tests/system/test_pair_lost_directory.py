"""The runtime directory is deleted under a living pair: it ends in one pair, never in two."""

import shutil

import pytest
from live_pair import LivePair, until

from twinwatch.core.values import WATCHER_ROLES, Role
from twinwatch.linux.identity import is_alive

NAMES = ("web", "db")
SLOW_WATCH = "{interval: 700ms, timeout: 5s}"  # the path is looked at once an interval: time for an `up`


def started(pair: LivePair, watch: str = "{interval: 100ms, timeout: 1s}") -> LivePair:
    pair.configure("".join(map(pair.lone, NAMES)), watch)
    pair.up()
    pair.wait_whole()
    pair.wait_at_work(*NAMES)
    return pair


def delete(pair: LivePair) -> None:
    pair.forget_state()
    shutil.rmtree(pair.runtime, ignore_errors=True)


def wait_back(pair: LivePair, at_least: dict[str, int] | None = None) -> None:
    """Wait until the state file is at its path again, and both watchers act on it."""
    until((pair.runtime / "state").exists, "the state file is back")
    until(lambda: not has_moved(pair), "it is in force")
    pair.wait_whole(at_least)
    pair.wait_beats()


def has_moved(pair: LivePair) -> bool:
    pair.forget_state()
    try:
        return pair.state.header().moved
    except FileNotFoundError:
        return True


def assert_one_pair(pair: LivePair) -> None:
    """Two watchers with two reserves each, and each worker as often as it was born."""
    until(lambda: len(pair.guards()) == len(pair.everyone()) == 6, "six guards, all of them known")
    assert [len(pair.births(name)) for name in NAMES] == [1, 1]
    assert len(pair.processes()) == 6 + len(NAMES)
    pair.assert_never_double()
    assert pair.status()["state"] == "up"


def test_deleted(pair: LivePair):
    started(pair)
    before, slots = pair.generations(), pair.workers()
    for _ in range(5):
        delete(pair)
        wait_back(pair)
        assert pair.generations() == before
        assert {name: slot.identity for name, slot in pair.workers().items()} == {
            name: slot.identity for name, slot in slots.items()
        }
        assert_one_pair(pair)
    assert [event for event in pair.events() if event["event"] == "runtime-directory-rebuilt"]
    pair.kill(pair.role(Role.A).identity, pair.worker("web").identity)
    pair.wait_whole({"a": before["a"] + 1, "web": before["web"] + 1})


@pytest.mark.slow
def test_up_while_it_is_deleted(pair: LivePair):
    """`up` at that very moment waits for the living pair or refuses; a second pair it never makes."""
    started(pair, SLOW_WATCH)
    before = pair.generations()
    answers = []
    for _ in range(6):
        delete(pair)
        with pair.begin("up", str(pair.config)) as one, pair.begin("up", str(pair.config)) as other:
            answers += [(up.communicate()[0], up.returncode) for up in (one, other)]
        wait_back(pair)
        assert pair.generations() == before
        assert_one_pair(pair)
    refused = [text for text, code in answers if code]
    assert all("try again" in text for text in refused), refused


@pytest.mark.parametrize("role", WATCHER_ROLES, ids=["a", "b"])
def test_a_watcher_dies_with_it(pair: LivePair, role: Role):
    """Its reserves find no state file; the twin rebuilds it, then gives birth."""
    started(pair)
    before, identity = pair.generations(), pair.role(role).identity
    delete(pair)
    pair.kill(identity)
    wait_back(pair, {role.label: before[role.label] + 1})
    assert pair.generations() == before | {role.label: before[role.label] + 1}
    assert_one_pair(pair)


def test_a_worker_dies_with_it(pair: LivePair):
    started(pair)
    before, identity = pair.generations(), pair.worker("web").identity
    delete(pair)
    pair.kill(identity)
    wait_back(pair, {"web": before["web"] + 1})
    pair.wait_at_work("web")
    assert pair.generations() == before | {"web": before["web"] + 1}
    assert len(pair.births("web")) == 2


def test_a_watcher_was_stopped_meanwhile(pair: LivePair):
    """It wakes up with the old file in its hands, finds it moved, and goes on with its successor."""
    started(pair, "{interval: 100ms, timeout: 30s}")
    before, identity = pair.generations(), pair.role(Role.A).identity
    pair.kill(identity, number=19)
    delete(pair)
    until((pair.runtime / "state").exists, "the twin has rebuilt it")
    until(lambda: not has_moved(pair), "it is in force")
    pair.kill(identity, number=18)
    pair.wait_whole()
    pair.wait_beats()
    assert pair.generations() == before
    assert_one_pair(pair)


def test_replaced_by_an_empty_one(pair: LivePair):
    started(pair)
    before = pair.generations()
    pair.forget_state()
    pair.runtime.rename(pair.runtime.with_name("aside"))
    pair.runtime.mkdir(mode=0o700)
    wait_back(pair)
    assert pair.generations() == before
    pair.kill(pair.role(Role.B).identity)
    pair.wait_whole({"b": before["b"] + 1})


def test_commands_work_again(pair: LivePair):
    started(pair)
    delete(pair)
    wait_back(pair)
    pair.call("restart", "-p", pair.name, "web")
    pair.wait_at_work("web")
    assert len(pair.births("web")) == 2
    pair.up()
    pair.down()
    assert pair.processes() == []


def test_lost_together_with_all_guards(pair: LivePair):
    """Nobody knows the workers any more; their tokens still keep each from a second instance beside it."""
    started(pair)
    slots = pair.workers()
    pair.extinguish()
    delete(pair)
    done = pair.call("up", str(pair.config), check=False)
    assert done.returncode == 1
    assert pair.status()["state"] == "fatal"
    assert all(is_alive(slot.identity) for slot in slots.values())
    assert [len(pair.births(name)) for name in NAMES] == [1, 1]
    pair.call("restart", "-p", pair.name, "web")
    pair.wait_at_work("web")
    assert not is_alive(slots["web"].identity)
    assert is_alive(slots["db"].identity)
    pair.down()
    assert not is_alive(slots["db"].identity)
    assert pair.processes() == []
