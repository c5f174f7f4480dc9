"""Closed forms of the mean time until nobody is left, in seconds. Pure.

`rate_hz`: kills that each process suffers, in the mean. Differences of nearly equal numbers are taken by
`expm1`, so that a kill a year and repairs of milliseconds lose no digit.
"""

from collections.abc import Sequence
from math import expm1, fsum


def renewal(rate_hz: float, lost: float) -> float:
    """Two guards; `lost`: the chance that the survivor dies before a repair is done.

    Until one of two dies takes 1/(2 rate) in the mean. Then either the repair is done or the survivor dies
    first, which takes lost/rate in the mean. 1/lost such rounds are needed: E = 1/(2 rate lost) + 1/rate, for
    every distribution of the repair.
    """
    return 1 / (2 * rate_hz * lost) + 1 / rate_hz


def two_constant(rate_hz: float, repair_s: float) -> float:
    """Two guards, each repair takes the same time. For short ones 1/(2 rate² repair)."""
    return renewal(rate_hz, -expm1(-rate_hz * repair_s))


def two_exponential(rate_hz: float, repair_s: float) -> float:
    """Two guards, repairs are exponential with that mean."""
    return renewal(rate_hz, rate_hz * repair_s / (1 + rate_hz * repair_s))


def two_measured(rate_hz: float, repairs_s: Sequence[float]) -> float:
    """Two guards, repairs are drawn from what was measured."""
    return renewal(rate_hz, -fsum(expm1(-rate_hz * repair_s) for repair_s in repairs_s) / len(repairs_s))


def polling(rate_hz: float, period_s: float, bear_s: float) -> float:
    """Two guards that each sleep `period_s`, look at the other, and start it again in `bear_s` if it is dead.

    After a repair both loops begin together. The next death is at a time D, exponential with 2 rate; the
    look after it comes period - (D mod period) later. The survivor outlives that and the birth with
    probability exp(-rate bear) 2/(1 + exp(rate period)). For short periods E = 1/(rate² (period + 2 bear)).
    """
    if rate_hz * period_s > 700:  # beyond what exp can hold: nobody is ever found dead in time
        return renewal(rate_hz, 1.0)
    grown = expm1(rate_hz * period_s)
    return renewal(rate_hz, (grown - 2 * expm1(-rate_hz * bear_s)) / (2 + grown))


def guards_exponential(count: int, rate_hz: float, repair_s: float) -> float:
    """`count` guards, each dead one repaired by itself, exponential.

    For short repairs 1/(count rate^count repair^(count - 1)).

    A birth-and-death chain: from i living down at i rate, up at (count - i)/repair; the passage from i to
    i - 1 takes h(i) = (1 + up(i) h(i + 1)) / down(i).
    """
    passage, total = 0.0, 0.0
    for living in range(count, 0, -1):
        passage = (1 + (count - living) / repair_s * passage) / (living * rate_hz)
        total += passage
    return total


def one_reserve_leading(
    rate_hz: float, start_s: float, fork_s: float, bear_s: float, twin_share: float
) -> float:
    """A pair with one reserve each, as the rate goes to 0.

    The shortest way to extinction takes three kills. A watcher dies and its twin is faster than the orphan
    (`twin_share`): it gives its only reserve away, the orphan leaves, and two processes are left without any,
    until the newborn has started or the twin has forked. One of the two is killed in that moment; the other
    one before it is ready: the twin has to fork and claim (`bear`), the newborn to finish its start.
    """
    moment_s = start_s * fork_s / (start_s + fork_s)
    return 1 / (2 * twin_share * rate_hz**3 * moment_s * (bear_s + start_s))
