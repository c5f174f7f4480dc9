"""`depends_on`: who is born after whom, who ends after whom, also when watchers die in between."""

import signal
import sys

import pytest
from worker_kit import (
    SLEEP,
    Lever,
    LivePair,
    background,
    changed_since,
    entry,
    kill_watchers,
    try_kill,
    until,
    wait_phase,
    wait_running,
)

from twinwatch.core.values import WATCHER_ROLES, Phase

CHAIN = {"db": [], "app": ["db"], "web": ["app"], "alone": []}


def in_order(order: list[str], earlier: str, later: str) -> bool:
    """The last change of one (it runs) came before the first change of the other (its birth)."""
    return max(n for n, name in enumerate(order) if name == earlier) < order.index(later)


def slow_to_end(pair: LivePair, name: str) -> list[str]:
    """A worker that takes a moment to end, and says when it is done (CLOCK_MONOTONIC)."""
    code = (
        "import os, signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.2)\n"
        "    open(sys.argv[1], 'w').write(str(time.monotonic_ns()))\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open(sys.argv[1] + '.began', 'w').write(str(time.monotonic_ns()))\n"
        "while True:\n"
        "    signal.pause()\n"
    )
    return [sys.executable, "-I", "-S", "-c", code, str(pair.directory / f"{name}.ended")]


def ended(pair: LivePair, name: str) -> int:
    return int((pair.directory / f"{name}.ended").read_text())


def chain(pair: LivePair) -> str:
    """Written in the wrong order on purpose."""
    return "".join(
        entry(name, slow_to_end(pair, name), depends_on=CHAIN[name]) for name in reversed(list(CHAIN))
    )


def wait_began(pair: LivePair) -> None:
    until(
        lambda: all((pair.directory / f"{name}.ended.began").exists() for name in CHAIN), "all listen to TERM"
    )


def test_born_in_order_and_ended_in_reverse(pair: LivePair):
    pair.configure(chain(pair))
    pair.up()
    wait_running(pair, "db", "app", "web")
    order = changed_since(pair, 0)
    for earlier, later in (("db", "app"), ("app", "web")):
        assert in_order(order, earlier, later), f"{later} was born before {earlier} ran: {order}"
    wait_began(pair)
    pair.down()
    assert ended(pair, "web") < ended(pair, "app") < ended(pair, "db")


@pytest.mark.parametrize("last_word", ["owner", "both"])
def test_down_keeps_the_order_though_watchers_are_killed_in_between(pair: LivePair, last_word: str):
    pair.configure(chain(pair))
    pair.up()
    wait_began(pair)
    with background(pair, "down", "-p", pair.name) as call:
        slot = wait_phase(pair, "web", Phase.STOPPING, Phase.STOPPED)
        roles = WATCHER_ROLES if last_word == "both" else (slot.owner,)
        for role in roles:  # none is born again: the pair is to be down
            try_kill(pair.role(role).identity)
        output, errors = call.communicate(timeout=60)
        assert call.returncode == 0, output + errors
    pair.forget_state()
    assert ended(pair, "web") < ended(pair, "app") < ended(pair, "db")
    assert (pair.directory / "alone.ended").exists()


def test_start_keeps_the_order_though_watchers_are_killed_in_between(pair: LivePair):
    """`app` waits for a `db` that fails to start, while both watchers are replaced."""
    script = pair.directory / "db"
    pair.configure(
        entry("app", SLEEP, depends_on=["db"])
        + entry("db", [str(script)], restart={"backoff": {"initial": "1h", "max": "1h", "burst": 0}})
    )
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    assert pair.call("up", str(pair.config), "--timeout", "2s", check=False).returncode == 1
    wait_phase(pair, "db", Phase.BACKOFF)
    kill_watchers(pair)
    assert (pair.worker("app").phase, pair.worker("app").generation) == (Phase.STOPPED, 0)
    before = pair.state.sequence()
    script.write_text("#!/bin/sh\nexec sleep 100000\n")
    pair.call("start", "-p", pair.name, "db")
    wait_running(pair, "app")
    order = changed_since(pair, before)
    assert in_order(order, "db", "app"), order


def test_dependency_that_is_stopped_holds_back_a_restart_not_a_life(pair: LivePair):
    pair.configure(entry("db", SLEEP) + entry("app", SLEEP, depends_on=["db"]))
    pair.up()
    app = pair.worker("app")
    pair.call("stop", "-p", pair.name, "db")
    assert pair.worker("app").identity == app.identity, "it lives on"
    pair.kill(app.identity)
    assert wait_phase(pair, "app", Phase.BACKOFF).generation == 1
    kill_watchers(pair)
    assert pair.worker("app").phase is Phase.BACKOFF
    pair.call("start", "-p", pair.name, "db")
    assert wait_running(pair, "app", generation=2)[0].born_ns > pair.worker("db").born_ns


def test_job_that_ended_well_is_a_dependency_that_holds(pair: LivePair):
    """A job is done: its dependant is started again after it, by whoever guards then."""
    lever = Lever(pair.directory / "lever")
    job = ["sh", "-c", f'read _ <"{lever.path}"; exit 0']
    pair.configure(entry("job", job, restart="on-failure") + entry("app", SLEEP, depends_on=["job"]))
    pair.up()
    lever.hold()
    lever.release()
    slot = wait_phase(pair, "job", Phase.STOPPED)
    assert slot.generation == 1
    wait_running(pair, "app")
    kill_watchers(pair)
    pair.kill(pair.worker("app").identity)
    wait_running(pair, "app", generation=2)
    assert pair.worker("job").generation == 1


def test_stop_all_ends_dependants_first(pair: LivePair):
    pair.configure(chain(pair))
    pair.up()
    wait_began(pair)
    pair.call("stop", "-p", pair.name, "all")
    assert ended(pair, "web") < ended(pair, "app") < ended(pair, "db")
    for name in CHAIN:
        assert pair.worker(name).exit.code == 0
        assert pair.worker(name).exit.signal != signal.SIGKILL
