"""One run: the machine first, then a pair of its own while it idles and while it is struck; its result."""

import os
import platform

from twinwatch.bench import deaths, floor, idle
from twinwatch.bench.deaths import Say
from twinwatch.bench.pair import LOOK_NS, Pair, throw_away
from twinwatch.chaos.run import heeding_signals

ROUNDS = 20
WORKERS = 30
IDLE_S = 10.0  # in ROUNDS rounds, and in fewer as much less, but each watcher ticks once at least


def run(rounds: int, say: Say) -> dict[str, object]:
    """The result (fields are only ever added). All else is in proportion to `rounds`, deaths of one worker.

    Raises:
        ControlError: nothing can be measured here; it says why.
        Interrupted: this process was asked to end; nothing is left of the pair.
    """
    with heeding_signals():
        where = _machine()
        say("the machine by itself")
        found = floor.measure(rounds)
        with throw_away(WORKERS) as pair:
            return {"machine": where, "rounds": rounds, "floor": found, **_of_pair(pair, rounds, say)}


def _of_pair(pair: Pair, rounds: int, say: Say) -> dict[str, object]:
    say(f"a pair of its own starts, with {pair.workers} workers")
    pair.start()
    say("it idles")
    cost = idle.measure(pair.paths, max(1.5e-9 * pair.spec.watch.interval_ns, IDLE_S * rounds / ROUNDS))
    found, broken = deaths.measure(pair, rounds, say)
    say("it ends")
    if wrong := pair.down():
        broken.append(wrong)
    return {"pair": _settings(pair), "idle": cost, "deaths": found, "broken": broken}


def _settings(pair: Pair) -> dict[str, object]:
    watch = pair.spec.watch
    return {
        "workers": pair.workers,
        "interval_ns": watch.interval_ns,
        "timeout_ns": watch.timeout_ns,
        "reserve": watch.reserve,
        "look_ns": LOOK_NS,
        "pause_ns": round(deaths.PAUSE_S * 1e9),
    }


def _machine() -> dict[str, object]:
    """`load`: of the last minute, so before the measuring."""
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }
