"""`down` is the off switch: in a kill storm, without watchers, twice. Afterwards nothing can come back."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from live_pair import LivePair, until

from twinwatch.core.record import Damage
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Identity
from twinwatch.linux import process
from twinwatch.linux.identity import is_alive
from twinwatch.linux.statefile import StateFile

NAMES = ("web", "db", "mail")
ROUNDS = 3
KILLS_BEFORE = 15


class Storm(threading.Thread):
    """Kills whatever a random slot names, as fast as it can, and remembers all that it ever saw."""

    def __init__(self, pair: LivePair, *, workers: bool) -> None:
        super().__init__(daemon=True)
        self.state = StateFile(str(pair.runtime), 1)
        self.workers = workers
        self.seen: set[Identity] = set()
        self.kills = 0
        self.over = threading.Event()

    def run(self) -> None:
        last = self.state.header().slots if self.workers else FIRST_WORKER_SLOT
        while not self.over.is_set():
            try:
                identity = self.state.slot(random.choice([0, 1, *range(FIRST_WORKER_SLOT, last)])).identity
                for role in WATCHER_ROLES:
                    self.seen.update(self.state.reserves(role).identities)
            except Damage:  # a writer in the middle of it
                continue
            if identity:
                self.seen.add(identity)
                self.kills += is_alive(identity) and process.end(identity)
            process.pause(1)


@contextmanager
def storm(pair: LivePair, *, workers: bool = True) -> Iterator[Storm]:
    raging = Storm(pair, workers=workers)
    raging.start()
    try:
        yield raging
    finally:
        raging.over.set()
        raging.join()
        raging.state.close()


def started(pair: LivePair) -> LivePair:
    pair.configure("".join(map(pair.lone, NAMES)))
    pair.up()
    pair.wait_whole()
    return pair


def assert_gone(pair: LivePair, seen: set[Identity]) -> None:
    """Nothing lives that ever was the pair's, so nothing is left that could bring it back."""
    assert not [identity for identity in seen if is_alive(identity)]
    assert pair.processes() == []
    assert not pair.runtime.exists()
    status = pair.status()
    assert (status["state"], status["desired"]) == ("down", "stop")


@pytest.mark.parametrize("workers", [True, False], ids=["watchers and workers", "watchers"])
def test_down_in_a_kill_storm(pair: LivePair, *, workers: bool):
    started(pair)
    for _ in range(ROUNDS):
        with storm(pair, workers=workers) as raging:
            # Fast enough a storm kills both watchers before they have reserves: no pair survives that.
            until(lambda raging=raging: raging.kills >= KILLS_BEFORE or not pair.guards(), "the storm rages")
            pair.down()
            assert_gone(pair, raging.seen)
        assert pair.processes() == []
        births = {name: len(pair.births(name)) for name in NAMES}
        pair.up()
        pair.wait_whole()
        pair.wait_at_work(*NAMES)
        assert {name: len(pair.births(name)) for name in NAMES} == {name: births[name] + 1 for name in NAMES}


def test_down_ends_workers_that_nobody_watches(pair: LivePair):
    started(pair)
    seen = {slot.identity for slot in pair.workers().values()} | set(pair.everyone())
    pair.extinguish()
    pair.down()
    assert_gone(pair, seen)


def test_down_without_watchers_kills_a_deaf_worker(pair: LivePair):
    pair.configure(pair.lone("deaf", "deaf", "    stop: {timeout: 200ms}\n") + pair.lone("web"))
    pair.up()
    pair.wait_whole()
    pair.wait_at_work("deaf", "web")
    seen = {slot.identity for slot in pair.workers().values()}
    pair.extinguish()
    pair.down()
    assert_gone(pair, seen)


def test_down_of_a_pair_that_stands_still(pair: LivePair):
    """Watchers and reserves that are all stopped leave no less surely."""
    started(pair)
    guards = pair.guards()
    seen = set(guards) | {slot.identity for slot in pair.workers().values()}
    pair.kill(*guards, number=19)
    pair.down()
    assert_gone(pair, seen)


def test_watchers_die_while_down_waits(pair: LivePair):
    """A worker takes its time to end; meanwhile all guards are lost: `down` goes on by itself."""
    pair.configure(pair.lone("deaf", "deaf", "    stop: {timeout: 2s}\n"))
    pair.up()
    pair.wait_whole()
    pair.wait_at_work("deaf")
    seen = {slot.identity for slot in pair.workers().values()} | set(pair.everyone())
    with pair.begin("down", "-p", pair.name) as down:
        until(lambda: pair.worker("deaf").phase.name == "STOPPING", "the worker was asked to end")
        pair.extinguish()
        output, _ = down.communicate()
        assert down.returncode == 0, output
    pair.forget_state()
    assert_gone(pair, seen)


def test_down_is_killed_and_done_again(pair: LivePair):
    pair.configure(pair.lone("deaf", "deaf", "    stop: {timeout: 1s}\n"))
    pair.up()
    pair.wait_whole()
    pair.wait_at_work("deaf")
    seen = {slot.identity for slot in pair.workers().values()} | set(pair.everyone())
    with pair.begin("down", "-p", pair.name) as down:
        until(lambda: pair.worker("deaf").phase.name == "STOPPING", "the worker was asked to end")
        down.kill()
    pair.down()
    assert_gone(pair, seen)


def test_down_twice(pair: LivePair):
    started(pair)
    pair.down()
    again = pair.call("down", "-p", pair.name)
    assert again.stdout == "shop: down\n"
    assert pair.processes() == []
    assert pair.status()["desired"] == "stop"


def test_two_downs_at_once(pair: LivePair):
    started(pair)
    pair.forget_state()
    with pair.begin("down", "-p", pair.name) as one, pair.begin("down", "-p", pair.name) as other:
        outputs = [down.communicate()[0] for down in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], outputs
    assert pair.processes() == []


def test_down_of_an_unknown_pair(pair: LivePair):
    """It is down: nothing to do, and nothing is made."""
    done = pair.call("down", "-p", "nosuch")
    assert (done.stdout, done.stderr) == ("nosuch: down\n", "")
    assert not list(pair.directory.rglob("*nosuch*"))


def test_generations_grow_over_down_and_up(pair: LivePair):
    started(pair)
    pair.down()
    pair.up()
    pair.wait_whole()
    assert pair.generations() == {"a": 2, "b": 2, "web": 2, "db": 2, "mail": 2}


def test_for_now_and_for_good(pair: LivePair):
    """`up --if-wished` tells them apart, as whoever starts a pair at a boot has to."""
    pair.configure(pair.lone("w"))
    pair.up()
    pair.forget_state()
    pair.call("down", "-p", pair.name, "--temporary")
    assert not pair.processes() and not pair.runtime.exists()
    assert pair.call("up", "--if-wished", str(pair.config)).returncode == 0
    assert pair.generations() == {"a": 2, "b": 2, "w": 2}
    pair.down()
    assert pair.call("up", "--if-wished", str(pair.config), check=False).returncode == 3
    assert not pair.processes() and not pair.runtime.exists()
