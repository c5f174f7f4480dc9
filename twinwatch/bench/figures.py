"""Figures from samples, as they stand in the result. Pure."""

import statistics
from collections.abc import Iterable

from twinwatch.chaos.measures import quantile

P99 = 0.99

Spread = dict[str, int]


def spread(samples: Iterable[float]) -> Spread:
    """Median, 99th percentile (between two samples linearly) and maximum, rounded. At least one sample."""
    ordered = sorted(samples)
    picked = statistics.median(ordered), quantile(ordered, P99), ordered[-1]
    return dict(zip(("median", "p99", "max"), map(round, picked), strict=True))


def share(rounds: int, part: int) -> int:
    """One of `part` rounds, and one at least."""
    return -(-rounds // part)
