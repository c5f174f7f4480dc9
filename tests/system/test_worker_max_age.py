"""A worker that is too old is started again, by order and under every policy."""

import json

import pytest
from worker_kit import SLEEP, LivePair, entry, kill_guards, shown, wait_change, wait_phase, wait_running

from twinwatch.core.values import Ending, Phase
from twinwatch.linux.identity import is_alive


def test_it_is_an_ordered_restart(pair: LivePair):
    """No policy and no limit holds it back, and nothing else ends with it."""
    terms = {"policy": "never", "limit": {"restarts": 1, "within": "1h"}}
    old = entry("old", SLEEP, max_age="1s", restart=terms)
    group = json.dumps({"g": {"workers": ["old", "other"], "strategy": "one_for_all"}})
    pair.configure(old + entry("other", SLEEP) + f"groups: {group}\n")
    pair.up()
    first, other = pair.worker("old"), pair.worker("other")
    slot = wait_running(pair, "old", generation=4)[0]
    assert slot.restarts == 0
    assert slot.exit.ending is Ending.AGE
    lives = slot.generation - first.generation
    assert slot.born_ns - first.born_ns >= lives * 1_000_000_000, "not before its time"
    assert shown(pair, "old")["last_exit"]["reason"] == "age"
    assert wait_change(pair, "old", "stopping")["reason"] == "age: older than max_age"
    assert pair.worker("other").identity == other.identity and is_alive(other.identity)


@pytest.mark.parametrize("told", ["reload", "up after all guards were killed"])
def test_age_counts_from_the_birth(pair: LivePair, told: str):
    """Not from when somebody began to look, or from when it was asked for."""
    pair.configure(entry("w", SLEEP))
    pair.up()
    first = pair.worker("w")
    if told != "reload":
        kill_guards(pair)
    pair.configure(entry("w", SLEEP, max_age="1s"))
    pair.call(*(("reload", "-p", pair.name) if told == "reload" else ("up", str(pair.config))))
    slot = wait_running(pair, "w", generation=2)[0]
    assert slot.born_ns >= first.born_ns + 1_000_000_000
    assert slot.exit.ending is Ending.AGE


def test_a_paused_worker_may_grow_old(pair: LivePair):
    pair.configure(entry("w", SLEEP, max_age="1s") + entry("clock", SLEEP, max_age="1s"))
    pair.up()
    pair.call("pause", "-p", pair.name, "w")
    generation = wait_phase(pair, "w", Phase.PAUSED).generation
    wait_running(pair, "clock", generation=pair.worker("clock").generation + 2)
    assert pair.worker("w").generation == generation
    pair.call("resume", "-p", pair.name, "w")
    wait_running(pair, "w", generation=generation + 1)
