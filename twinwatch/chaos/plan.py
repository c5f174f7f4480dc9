"""Which fault strikes what, when: a pure function of the seed and of what may be struck.

Faults come in rounds, each of them once a round in an order of its own, so that a short run meets all
of them. Every strike has a generator of its own (seed and number): what one of them draws changes no
other one.
"""

import random
from collections.abc import Iterator, Sequence

from twinwatch.chaos.fault import Strike

_WATCHERS = ("watcher a", "watcher b")


def plan(
    seed: int,
    faults: Sequence[str],
    workers: Sequence[str],
    *,
    pause_s: float,
    gap_s: tuple[float, float],
) -> Iterator[Strike]:
    """Strikes without end. `pause_s`: the longest pause; `gap_s`: the shortest and the longest gap.

    `faults` that strike workers are to be left out where `workers` is empty.
    """
    number = 0
    for turn in _rounds(seed, sorted(faults)):
        for fault in turn:
            chance = random.Random(f"{seed}/{number}")
            watchers = _WATCHERS if chance.random() < 0.5 else _WATCHERS[::-1]
            yield Strike(
                number=number,
                fault=fault,
                pause_s=chance.uniform(0, pause_s),
                gap_s=chance.uniform(*gap_s),
                watchers=watchers,
                worker=chance.choice(sorted(workers)) if workers else "",
                span=chance.random(),
                seed=chance.getrandbits(32),
            )
            number += 1


def _rounds(seed: int, faults: Sequence[str]) -> Iterator[list[str]]:
    number = 0
    while faults:
        yield random.Random(f"{seed}/round {number}").sample(faults, len(faults))
        number += 1
