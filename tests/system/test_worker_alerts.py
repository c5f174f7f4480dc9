"""What a pair tells people: of crash loops, lost watchers, and not of its own freezing; and who may die meanwhile."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from worker_kit import (
    SLEEP,
    TIRELESS,
    LivePair,
    entry,
    kill_watchers,
    until,
    wait_change,
    wait_guarded,
    wait_phase,
    wait_running,
)

from twinwatch.core.values import WATCHER_ROLES, Identity, Phase
from twinwatch.linux.identity import identify, is_alive, stat_fields

RESTARTS = 40
RECORD = 'printf "%s\\n" "$(cat)" >> "$0"'


@pytest.fixture
def out(pair: LivePair) -> Path:
    return pair.directory / "told"


def configure(pair: LivePair, workers: str, *alerts: dict[str, object]) -> None:
    pair.configure(workers)
    with pair.config.open("a") as file:
        file.write(f"alerts: {json.dumps(alerts)}\n")


def to_file(
    path: Path, *on: str, interval: str = "1h", script: str = RECORD, **more: object
) -> dict[str, object]:
    return {"exec": ["/bin/sh", "-c", script, str(path)], "on": on, "interval": interval} | more


def messages(path: Path) -> list[dict[str, object]]:
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def wait_told(path: Path, count: int = 1) -> list[dict[str, object]]:
    until(lambda: len(messages(path)) >= count, f"{count} messages are there")
    return messages(path)


def tally(told: list[dict[str, object]]) -> dict[str, int]:
    """How often each kind was told, by one slot's events in all messages; nothing is told twice."""
    events = [json.dumps(event, sort_keys=True) for message in told for event in message["events"]]
    assert len(events) == len(set(events))
    return {"messages": len(told), "news": sum(message["count"] for message in told)}


def test_a_crash_loop_is_one_restart_and_one_fatal_message(pair: LivePair, out: Path):
    """From the very first `up` on, and however soon the worker gave up."""
    limit = {"backoff": {"burst": 1000}, "limit": {"restarts": RESTARTS, "within": "1h"}}
    configure(
        pair, entry("loop", ["false"], restart=limit), to_file(out, "fatal", "restarted", workers=["loop"])
    )
    pair.call("up", str(pair.config), check=False)  # it says that a worker gave up
    until(lambda: any(message["kind"] == "fatal" for message in messages(out)), "it is told that it gave up")
    told = messages(out)
    assert len(told) <= 2, "one at once, one when it gave up"
    assert sum(message["count"] for message in told) == RESTARTS + 1
    assert told[-1]["last"]["new"] == "fatal"
    assert f"more than {RESTARTS} restarts" in told[-1]["text"]
    pair.down()
    assert messages(out) == told, "there was nothing left to tell"


def test_a_lost_watcher_is_told_and_an_asked_for_restart_is_not(pair: LivePair, out: Path):
    configure(pair, entry("web", SLEEP), to_file(out, "twin-lost", "restarted", "exited"))
    pair.up()
    pair.call("restart", "-p", pair.name, "web")
    pair.call("stop", "-p", pair.name, "web")
    pair.call("start", "-p", pair.name, "web")
    wait_guarded(pair)
    kill_watchers(pair, WATCHER_ROLES[0])
    (first,) = wait_told(out)
    assert (first["kind"], first["workers"]) == ("twin-lost", ["a"])
    stop_watchers(pair)  # one that has seen the other die must not take the word along
    kill_watchers(pair)
    pair.down()
    assert tally(messages(out)) == {"messages": 2, "news": 3}
    assert {event["slot"] for event in messages(out)[1]["events"]} == {"a", "b"}


def stop_watchers(pair: LivePair) -> None:
    both = [pair.role(role).identity for role in WATCHER_ROLES]
    pair.kill(*both, number=signal.SIGSTOP)
    until(lambda: all(stat_fields(one.pid)[0] == b"T" for one in both), "both are stopped")


def test_its_death_loses_no_alert_and_leaves_no_child(pair: LivePair, out: Path):
    """Killed while it waits for a target that hangs, with other news collected."""
    pids = pair.directory / "pids"
    hang = 'test -e "$0" || { echo $$ > "$0.draft"; mv "$0.draft" "$0"; exec sleep 100000; }; cat >> "$1"; echo >> "$1"'
    slow = to_file(pids, "exited", script=hang, timeout="600s", workers=["web"])
    slow["exec"] = [*slow["exec"], str(out)]
    configure(pair, entry("web", SLEEP, restart=TIRELESS), slow)
    pair.up()
    pair.kill(wait_running(pair, "web")[0].identity)
    until(pids.exists, "its target hangs")
    hung = identity_of(int(pids.read_text()))
    for generation in (2, 3):
        pair.kill(wait_running(pair, "web", generation=generation)[0].identity)
    wait_change(pair, "web", "stopping", 3)
    service = pair.worker("_alerts")
    pair.kill(service.identity)
    wait_running(pair, "_alerts", generation=service.generation + 1)
    assert not is_alive(hung), "its target was ended before it was born again"
    wait_told(out)
    pair.down()
    assert tally(messages(out)) == {"messages": 2, "news": 3}


def identity_of(pid: int) -> Identity:
    pidfd = os.pidfd_open(pid)
    try:
        return identify(pid, pidfd)
    finally:
        os.close(pidfd)


def test_what_is_not_delivered_at_the_end_is_delivered_next_time(pair: LivePair, out: Path):
    gate = pair.directory / "gate"
    alert = to_file(out, "exited", script=f"test -e {gate} && {RECORD}", retries=20)
    configure(pair, entry("web", SLEEP, restart=TIRELESS), alert)
    pair.up()
    pair.kill(wait_running(pair, "web")[0].identity)
    wait_change(pair, "web", "stopping")
    pair.down()
    gate.touch()
    pair.up()
    wait_told(out)
    pair.down()
    assert tally(messages(out)) == {"messages": 1, "news": 1}


def test_a_frozen_pair_has_nothing_to_tell(pair: LivePair, out: Path):
    """All of it stands still for longer than any of its time limits (P9); the first news after is what happens then."""
    alert = to_file(out, "fatal", "wedged", "twin-lost", "unhealthy", "exited", "restarted")
    configure(pair, entry("web", SLEEP, restart=TIRELESS), alert)
    pair.up()
    pair.wait_whole()
    everyone = [*pair.guards(), *(slot.identity for slot in pair.workers().values())]
    pair.kill(*everyone, number=signal.SIGSTOP)
    thaw = time.monotonic() + 2.5
    until(lambda: time.monotonic() > thaw, "two and a half seconds have passed")
    pair.kill(*everyone, number=signal.SIGCONT)
    pair.wait_beats(10)
    pair.kill(pair.worker("web").identity)
    (told, *_) = wait_told(out)
    pair.down()
    assert {event["slot"] for message in messages(out) for event in message["events"]} == {"web"}
    assert told["kind"] == "exited"


def test_a_worker_that_is_down_for_good_is_told_by_a_reload(pair: LivePair, out: Path):
    """Alerts that come with a reload tell what happens from then on."""
    pair.configure(
        entry("web", SLEEP, restart=TIRELESS) + entry("bad", ["false"], restart={"policy": "never"})
    )
    pair.up()
    wait_phase(pair, "bad", Phase.STOPPED, generation=1)
    configure(
        pair,
        entry("web", SLEEP, restart=TIRELESS) + entry("bad", ["false"], restart={"policy": "never"}),
        to_file(out, "exited"),
    )
    pair.call("reload", "-p", pair.name)
    wait_running(pair, "_alerts")
    pair.kill(pair.worker("web").identity)
    (told,) = wait_told(out)
    assert (told["workers"], told["count"]) == (["web"], 1)
