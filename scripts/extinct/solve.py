"""Mean time to extinction with exponential durations: linear equations, solved without a subtraction.

States are eliminated one after another, as Grassmann, Taksar and Heyman do it for stationary distributions:
the rates and the time of an eliminated state are given to those that lead to it. Only positive numbers are
added, multiplied and divided, so the answer has all its digits also where extinction is less likely than a
rounding error.
"""

from collections.abc import Mapping
from math import log10

from extinct.model import State, System

NOBODY = -1
Rows = list[dict[int, float]]


def rates_of(system: System, rate_hz: float, durations_s: Mapping[str, float]) -> Rows:
    """For each state that can be reached, the rates to its next states; the first one is the start."""
    number: dict[State, int] = {system.start: 0}
    states, rows = [system.start], []
    for state in states:  # grows meanwhile
        row: dict[int, float] = {}
        leads = [(count * rate_hz, after) for count, after in system.kills(state)]
        for work in system.works(state):
            leads += [(share / durations_s[work.duration], after) for share, after in work.ends if share > 0]
        for rate, after in leads:
            if after is None:
                place = NOBODY
            elif (place := number.setdefault(after, len(states))) == len(states):
                states.append(after)
            row[place] = row.get(place, 0.0) + rate
        rows.append(row)
    return rows


def mean_s(system: System, rate_hz: float, durations_s: Mapping[str, float]) -> float:
    """Mean time from whole until nobody is left, in seconds."""
    rows = rates_of(system, rate_hz, durations_s)
    times = [1.0] * len(rows)  # what a second in this state stands for, excursions included
    for gone in range(len(rows) - 1, 0, -1):
        row = rows[gone]
        row.pop(gone, None)
        out = sum(row.values())
        for before in range(gone):
            if gone not in rows[before]:
                continue
            share = rows[before].pop(gone) / out
            times[before] += share * times[gone]
            for after, rate in row.items():
                if after != before:
                    rows[before][after] = rows[before].get(after, 0.0) + share * rate
    return times[0] / rows[0][NOBODY]


def kills_needed(system: System, durations_s: Mapping[str, float]) -> int:
    """Fewest kills, close enough to each other, that leave nobody: the power of the rate as it goes to 0."""
    rate_hz = 1e-9 / max(durations_s.values())
    fast, slow = (mean_s(system, rate, durations_s) for rate in (rate_hz, rate_hz / 10))
    return round(log10(slow / fast))
