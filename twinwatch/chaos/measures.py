"""Figures from samples: quantiles, steps of a distribution, intervals, times for people. Pure."""

import math
import statistics
from collections.abc import Sequence

Z95 = 1.959964  # standard normal: 95 % lie within so many deviations

_UNITS = ((31_557_600.0, "year"), (86_400.0, "day"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def wilson(hits: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion; (0, 1) for no trial.

    Unlike the textbook one it stays within 0 and 1, and does not claim certainty after 20 of 20.
    """
    if trials <= 0:
        return 0.0, 1.0
    share, square = hits / trials, z * z
    middle = share + square / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    low = 0.0 if hits == 0 else (middle - half) / scale
    high = 1.0 if hits == trials else (middle + half) / scale
    return max(0.0, low), min(1.0, high)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Value below which `share` (0 to 1) of the ascending samples lie, between two of them linearly.

    Raises:
        ValueError: no sample.
    """
    if not ordered:
        raise ValueError("a quantile of nothing")
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def steps(samples: Sequence[float]) -> tuple[list[float], list[float]]:
    """The empirical distribution: ascending values, and the share of samples up to each."""
    ordered = sorted(samples)
    return ordered, [(index + 1) / len(ordered) for index in range(len(ordered))]


def mean_interval(samples: Sequence[float], z: float = Z95) -> tuple[float, float, float]:
    """Mean and the ends of its confidence interval, by the standard error. At least two samples."""
    mean = statistics.fmean(samples)
    half = z * statistics.stdev(samples) / math.sqrt(len(samples))
    return mean, mean - half, mean + half


def span(seconds: float) -> str:
    """A time in the largest unit that fits, two digits: `3.2 ms`, `4.5 min`, `1.8e+05 years`."""
    if seconds < 1e-3:
        return f"{_brief(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{_brief(seconds * 1e3)} ms"
    size, unit = next(entry for entry in _UNITS if seconds >= entry[0])
    amount = _brief(seconds / size)
    plural = "s" if unit in ("day", "year") and amount != "1" else ""
    return f"{amount} {unit}{plural}"


def _brief(amount: float) -> str:
    return f"{amount:.2g}" if amount < 10 or amount >= 10_000 else f"{amount:.0f}"
