"""Which deaths are measured and how often, and whether a worker was touched that should not have been."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twinwatch.bench.figures import Spread, share, spread
from twinwatch.bench.pair import Death, Pair
from twinwatch.chaos import census
from twinwatch.chaos.reader import WATCHERS

PAUSE_S = 0.4  # between two deaths: they are rare in earnest, and meet a pair that has slept

Say = Callable[[str], None]
Choose = Callable[[Sequence[str], int], Sequence[str]]  # of all worker labels, for the nth death


@dataclass(frozen=True, slots=True)
class Kind:
    """Who is killed at one instant; once in `part` rounds."""

    name: str
    what: str
    part: int
    choose: Choose


BOTH = tuple(WATCHERS.values())
KINDS = (
    Kind("worker", "a worker is killed", 1, lambda workers, number: [workers[number % len(workers)]]),
    Kind("watcher", "one watcher is killed", 2, lambda _, number: [BOTH[number % 2]]),
    Kind("both_watchers", "both watchers are killed at once", 4, lambda _, _number: BOTH),
    Kind("all_workers", "all workers are killed at once", 8, lambda workers, _: workers),
)


class Ledger:
    """How many lives each worker ought to have had, and every time that it had another number."""

    def __init__(self, generations: Mapping[str, int]) -> None:
        self._expected = dict(generations)
        self.broken: list[str] = []

    def expect(self, killed: Sequence[str]) -> None:
        """Of those that were killed, watchers or not, each worker lives once more."""
        for label in killed:
            if label in self._expected:
                self._expected[label] += 1

    def compare(self, generations: Mapping[str, int], after: str) -> None:
        """Told once: from then on the wrong number is what is expected."""
        for label, generation in generations.items():
            if generation != (wanted := self._expected[label]):
                self.broken.append(f"{after}: worker {label} is in life {generation} instead of {wanted}")
        self._expected.update(generations)


def measure(pair: Pair, rounds: int, say: Say) -> tuple[dict[str, object], list[str]]:
    """Figures of each kind, and what was broken: no worker may be restarted or doubled but those killed.

    Raises:
        ControlError: the pair did not become whole again.
    """
    workers, ledger = pair.labels(), Ledger(_generations(pair))
    found: dict[str, object] = {}
    for kind in KINDS:
        times = share(rounds, kind.part)
        say(f"{kind.what} ({times} ×)")
        found[kind.name] = figures([_one(pair, kind, number, workers, ledger) for number in range(times)])
        ledger.broken += [f"after {kind.what}: {what}" for what in doubles(census.census(pair.paths))]
    return found, ledger.broken


def _one(pair: Pair, kind: Kind, number: int, workers: Sequence[str], ledger: Ledger) -> Death:
    time.sleep(PAUSE_S)
    killed = kind.choose(workers, number)
    death = pair.kill(killed)
    pair.wait_whole()
    ledger.expect(killed)
    ledger.compare(_generations(pair), f"{kind.what}, time {number + 1}")
    return death


def _generations(pair: Pair) -> dict[str, int]:
    return {label: pair.slot(label).generation for label in pair.labels()}


def doubles(found: census.Census) -> list[str]:
    """Roles and workers that live twice. A worker of ours has no children: one process each."""
    crowded = [
        f"worker {name} lives {len(pids)} times: PIDs {pids}"
        for (name, generation), pids in found.items()
        if generation and len(pids) > 1
    ]
    return [*census.doubles(found), *crowded]


def figures(deaths: Sequence[Death]) -> dict[str, int | Spread]:
    """Nanoseconds. `death_to_birth_ns` is below 0 where the pair saw the death before this process did."""
    return {
        "count": len(deaths),
        "kill_to_death_ns": spread(one.dead - one.killed for one in deaths),
        "kill_to_birth_ns": spread(one.born - one.killed for one in deaths),
        "death_to_birth_ns": spread(one.born - one.dead for one in deaths),
        "kill_to_running_ns": spread(one.running - one.killed for one in deaths),
    }
