"""All watchers and reserves lost: workers run on, and the next `up` takes them over as they are."""

import json
import sys

import pytest
from live_pair import ROOM, LivePair, until

from twinwatch.core.values import Phase
from twinwatch.linux.identity import is_alive

NAMES = ("web", "db", "mail")
LINES = 200  # written with no watcher alive: about as many ms


def talker(name: str) -> str:
    return f"  {name}:\n    command: {json.dumps([sys.executable, '-I', '-S', str(ROOM / 'talker.py')])}\n"


def started(pair: LivePair, extra: str = "") -> LivePair:
    pair.configure("".join(map(pair.lone, NAMES)) + extra)
    pair.up()
    pair.wait_whole()
    pair.wait_at_work(*NAMES)
    return pair


def lines_of(pair: LivePair, name: str) -> list[int]:
    """The whole lines of a talker's log."""
    text = (pair.kept / "log" / f"{name}.log").read_text()
    return [int(line) for line in text[: text.rfind("\n") + 1].split()]


@pytest.mark.smoke
def test_adoption(pair: LivePair):
    """Living ones keep their processes, the dead one is started once, its exit status is told."""
    started(pair)
    before, slots = pair.generations(), pair.workers()
    pair.extinguish()
    pair.kill(slots["db"].identity)
    until(lambda: not is_alive(slots["db"].identity), "db is dead")
    pair.up()
    pair.wait_whole({"db": before["db"] + 1})
    pair.wait_at_work("db")
    now = pair.workers()
    assert {name: now[name].identity for name in ("web", "mail")} == {
        name: slots[name].identity for name in ("web", "mail")
    }
    assert {name: now[name].generation for name in NAMES} == {"web": 1, "mail": 1, "db": 2}
    assert {name: now[name].restarts for name in NAMES} == {"web": 0, "mail": 0, "db": 1}
    assert [len(pair.births(name)) for name in NAMES] == [1, 2, 1]
    told = {worker["name"]: worker["last_exit"] for worker in pair.status()["workers"]}
    assert told["web"] is told["mail"] is None
    # Nobody was there to see it. The kernel still knows while it is a zombie; a reaper may be faster.
    assert (told["db"]["kind"], told["db"]["signal"]) in (("signal", 9), ("unknown", None))


def test_the_exit_of_an_adopted_worker_is_known(pair: LivePair):
    """It is not a child of who watches it: its status comes from the kernel all the same."""
    started(pair)
    pair.extinguish()
    pair.up()
    pair.wait_whole()
    before = pair.generations()
    pair.kill(pair.worker("web").identity, number=10)
    pair.wait_whole({"web": before["web"] + 1})
    end = pair.worker("web").exit
    assert (end.kind.name, end.signal) == ("SIGNAL", 10)


def test_workers_do_not_need_watchers(pair: LivePair):
    """With no watcher alive they run, write and log on: no line is lost, no signal comes (P5)."""
    started(pair, talker("talk"))
    slot = pair.worker("talk")
    until(lambda: lines_of(pair, "talk"), "it talks")
    pair.extinguish()
    so_far = len(lines_of(pair, "talk"))
    until(lambda: len(lines_of(pair, "talk")) > so_far + LINES, "it talks on with no watcher alive")
    assert not pair.guards()
    assert all(is_alive(slot.identity) for slot in pair.workers().values())
    pair.up()
    pair.wait_whole()
    adopted = len(lines_of(pair, "talk"))
    until(lambda: len(lines_of(pair, "talk")) > adopted + LINES, "it talks on when it is adopted")
    assert pair.worker("talk").identity == slot.identity
    lines = lines_of(pair, "talk")
    assert lines == list(range(len(lines)))


def test_extinction_again_and_again(pair: LivePair):
    started(pair)
    slots = pair.workers()
    for lost in range(1, 6):
        pair.extinguish()
        pair.up()
        pair.wait_whole()
        assert {name: slot.identity for name, slot in pair.workers().items()} == {
            name: slot.identity for name, slot in slots.items()
        }
        generations = pair.generations()
        assert {generations["a"], generations["b"]} == {lost + 1}
    assert [len(pair.births(name)) for name in NAMES] == [1, 1, 1]


def test_all_workers_died_meanwhile(pair: LivePair):
    started(pair)
    slots = pair.workers()
    pair.extinguish()
    pair.kill(*(slot.identity for slot in slots.values()))
    until(lambda: not any(is_alive(slot.identity) for slot in slots.values()), "all are dead")
    pair.up()
    pair.wait_whole(dict.fromkeys(NAMES, 2))
    pair.wait_at_work(*NAMES)
    assert [len(pair.births(name)) for name in NAMES] == [2, 2, 2]


def test_commands_say_that_nobody_watches(pair: LivePair):
    """With both watchers dead a command writes the wish down, says so, and `up` carries it out."""
    started(pair)
    pair.extinguish()
    status = pair.status()
    assert status["state"] == "degraded"
    assert [watcher["alive"] for watcher in status["watchers"].values()] == [False, False]
    assert [worker["phase"] for worker in status["workers"]] == ["running"] * 3
    done = pair.call("stop", "-p", pair.name, "web", check=False)
    assert done.returncode == 7
    assert "twinwatch up" in done.stderr
    assert is_alive(pair.worker("web").identity)
    pair.up()
    until(lambda: pair.worker("web").phase is Phase.STOPPED, "the wish is carried out")
    assert pair.worker("db").generation == 1
