"""How fast a worker comes back, when that is given up, and that both are known to whoever takes over."""

import itertools
import re
import time

import pytest
from worker_kit import (
    LivePair,
    changes,
    entry,
    kill_guards,
    kill_watchers,
    shown,
    until,
    wait_change,
    wait_phase,
    wait_running,
)

from twinwatch.core.values import Phase

AGAIN = re.compile(r"again in (\S+) s")
FATAL_STATUS = 151  # of `twinwatch status`
SECOND_NS = 1_000_000_000


def stamped(pair: LivePair, name: str, end: str) -> list[str]:
    """A command that appends its time of start (CLOCK_MONOTONIC, ns) to NAME.stamps, then does `end`."""
    code = (
        "import os, sys, time, signal\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)\n"
        "os.write(fd, b'%d\\n' % time.monotonic_ns())\n"
        f"{end}\n"
    )
    return ["python3", "-I", "-S", "-c", code, str(pair.directory / f"{name}.stamps")]


def stamps(pair: LivePair, name: str, count: int) -> list[int]:
    """The times of start, as soon as there are so many."""
    path = pair.directory / f"{name}.stamps"
    until(lambda: path.exists() and path.read_text().count("\n") >= count, f"{count} starts of {name}")
    return [int(line) for line in path.read_text().splitlines()]


def begin(pair: LivePair) -> None:
    """`up`, for a worker that is not well when it returns."""
    assert pair.call("up", str(pair.config), check=False).returncode in (0, 1)


def delays(pair: LivePair, label: str) -> dict[int, float]:
    """Seconds that were to be waited after each generation, as the events tell."""
    found = {}
    for event in changes(pair, label):
        match = AGAIN.fullmatch(str(event["reason"]))
        if event["new"] == "backoff" and match:
            found[int(str(event["generation"]))] = float(match[1])
    return found


def test_delays_grow_after_the_burst_up_to_the_cap(pair: LivePair):
    backoff = {"initial": "50ms", "max": "150ms", "factor": 2, "jitter": 0, "burst": 2}
    pair.configure(entry("w", stamped(pair, "w", "sys.exit(1)"), restart={"backoff": backoff}))
    begin(pair)
    wait_change(pair, "w", "starting", generation=9)
    expected = {3: 0.05, 4: 0.1, 5: 0.15, 6: 0.15, 7: 0.15, 8: 0.15}
    assert {n: delay for n, delay in delays(pair, "w").items() if n <= 8} == expected
    started = stamps(pair, "w", 9)
    for generation, delay in expected.items():
        waited_ns = started[generation] - started[generation - 1]  # generation n is the line n - 1
        assert waited_ns >= delay * SECOND_NS, f"generation {generation + 1} came too early"


def test_jitter_spreads_the_delay_within_its_bounds(pair: LivePair):
    backoff = {"initial": "40ms", "max": "40ms", "jitter": 0.5, "burst": 0}
    pair.configure(entry("w", ["false"], restart={"backoff": backoff}))
    begin(pair)
    wait_change(pair, "w", "starting", generation=12)
    found = list(delays(pair, "w").values())
    assert all(0.02 <= delay <= 0.06 for delay in found), found
    assert len(set(found)) > 1, "all the same"


def test_running_long_enough_starts_a_new_row(pair: LivePair):
    reset_ns = SECOND_NS // 2
    end = "os._exit(1) if int(os.environ['TWINWATCH_GENERATION']) < 4 else signal.pause()"
    backoff = {"initial": "20ms", "max": "20ms", "jitter": 0, "burst": 1, "reset": "500ms"}
    pair.configure(entry("w", stamped(pair, "w", end), restart={"backoff": backoff}))
    begin(pair)
    slot = wait_running(pair, "w", generation=4)[0]
    while time.monotonic_ns() < slot.born_ns + reset_ns:  # the condition is the time itself
        time.sleep(0.01)
    pair.kill(slot.identity)
    slot = wait_running(pair, "w", generation=5)[0]
    assert slot.failures == 1, "a new row"
    assert set(delays(pair, "w")) <= {2, 3}, "generation 5 came at once"
    assert 3 in delays(pair, "w")


def test_limit_ends_in_fatal_and_start_gives_a_fresh_chance(pair: LivePair):
    fixed = pair.directory / "fixed"
    script = f'[ -e "{fixed}" ] && exec sleep 100000\nexit 7'
    restart = {"backoff": {"burst": 100}, "limit": {"restarts": 3, "within": "1h"}}
    pair.configure(entry("w", ["sh", "-c", script], restart=restart) + entry("other", ["sleep", "100000"]))
    begin(pair)
    slot = wait_phase(pair, "w", Phase.FATAL)
    assert slot.generation == slot.restarts + 1 == 4, "three restarts, no more"
    status = pair.call("status", "-p", pair.name, check=False)
    assert status.returncode == FATAL_STATUS
    assert pair.status()["state"] == "fatal"
    assert shown(pair, "w")["last_exit"] == {
        "kind": "error",
        "code": 7,
        "signal": None,
        "core": False,
        "reason": None,
    }
    told = wait_change(pair, "w", "fatal")
    assert told["reason"] == "more than 3 restarts within 3600 s"

    said = pair.call("start", "-p", pair.name, "w", check=False)
    slot = wait_phase(pair, "w", Phase.FATAL, generation=8)
    assert slot.generation == 8, "one start, and three restarts again"
    assert said.stdout in {"w: runs\n", "w: gave up: see `twinwatch events`\n"}, "either may be seen first"

    fixed.touch()
    pair.call("start", "-p", pair.name, "w")
    assert wait_running(pair, "w", generation=9)[0].generation == 9
    assert pair.call("status", "-p", pair.name, check=False).returncode == 0


@pytest.mark.parametrize("takeover", ["reserves", "up"])
def test_counters_survive_the_death_of_both_watchers(pair: LivePair, takeover: str):
    """Five restarts within an hour, each before other watchers: the sixth death is fatal all the same."""
    restart = {"backoff": {"burst": 100}, "limit": {"restarts": 5, "within": "1h"}}
    pair.configure(pair.lone("w", extra=f"    restart: {restart}\n".replace("'", "")))
    pair.up()
    for generation in range(1, 6):
        slot = wait_running(pair, "w", generation=generation)[0]
        assert (slot.generation, slot.failures, slot.restarts) == (generation, generation - 1, generation - 1)
        until(lambda n=generation: len(pair.births("w")) == n, "it says that it was born")
        pair.kill(slot.identity)
        wait_running(pair, "w", generation=generation + 1)
        if takeover == "reserves":
            kill_watchers(pair)
        else:
            kill_guards(pair)
            pair.up()
    slot = wait_running(pair, "w", generation=6)[0]
    until(lambda: len(pair.births("w")) == 6, "it says that it was born")
    pair.kill(slot.identity)
    slot = wait_phase(pair, "w", Phase.FATAL)
    assert slot.generation == 6
    assert [int(line[1]) for line in pair.births("w")] == list(range(1, 7))


def test_delay_goes_on_over_the_death_of_both_watchers(pair: LivePair):
    """A worker in back-off is born when its time has come: not at once because somebody new looks at it."""
    backoff = {"initial": "1500ms", "max": "1500ms", "jitter": 0, "burst": 0}
    pair.configure(entry("w", stamped(pair, "w", "sys.exit(1)"), restart={"backoff": backoff}))
    begin(pair)
    for generation in (1, 2, 3):
        slot = wait_phase(pair, "w", Phase.BACKOFF, generation=generation)
        kill_watchers(pair)
        wait_phase(pair, "w", Phase.BACKOFF, generation=slot.generation + 1)
    started = stamps(pair, "w", 4)
    gaps = [later - earlier for earlier, later in itertools.pairwise(started)]
    assert all(gap >= 1.5 * SECOND_NS for gap in gaps), gaps
