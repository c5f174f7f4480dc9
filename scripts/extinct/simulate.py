"""Extinction by simulation: events in order, kills and repairs drawn from a seeded source of chance.

Checks what extinct/solve.py and extinct/formulas.py say, and goes where they cannot: durations as measured.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from random import Random

from extinct.model import State, System, Work

Draw = Callable[[Random], float]


def exponential(mean_s: float) -> Draw:
    return lambda chance: chance.expovariate(1 / mean_s)


def measured(samples_s: Sequence[float]) -> Draw:
    return lambda chance: chance.choice(samples_s)


class Simulation:
    """One system at one rate of kills; `run` says after how many seconds nobody was left."""

    def __init__(self, system: System, rate_hz: float, draws: Mapping[str, Draw]) -> None:
        self._system, self._rate_hz, self._draws = system, rate_hz, draws
        self._known: dict[State, tuple[list[tuple[int, State | None]], int, list[Work]]] = {}

    def run(self, chance: Random) -> float:
        now_s, state = 0.0, self._system.start
        due_s: dict[str, float] = {}  # of each work that is under way
        while state is not None:
            kills, processes, works = self._look(state)
            due_s = {
                work.key: due_s.get(work.key) or now_s + self._draws[work.duration](chance) for work in works
            }
            kill_s = now_s + chance.expovariate(processes * self._rate_hz)  # kills have no memory
            first = min(works, key=lambda work: due_s[work.key], default=None)
            if first is None or kill_s < due_s[first.key]:
                now_s = kill_s
                (state,) = chance.choices([after for _, after in kills], [count for count, _ in kills])
            else:
                now_s = due_s.pop(first.key)
                (state,) = chance.choices(
                    [after for _, after in first.ends], [share for share, _ in first.ends]
                )
        return now_s

    def _look(self, state: State) -> tuple[list[tuple[int, State | None]], int, list[Work]]:
        if state not in self._known:
            kills = self._system.kills(state)
            self._known[state] = kills, sum(count for count, _ in kills), self._system.works(state)
        return self._known[state]


def run_polling(chance: Random, rate_hz: float, period_s: float, bear_s: float) -> float:
    """Two loops that sleep, look, and start the other one anew: each kill and each look is an event."""
    died_s: dict[int, float] = {}
    alive = {0: chance.expovariate(rate_hz), 1: chance.expovariate(rate_hz)}  # until when
    looks = [(period_s, 0), (period_s, 1)]
    while alive:
        look_s, who = heapq.heappop(looks)
        for other, until_s in sorted(alive.items(), key=lambda entry: entry[1]):
            if until_s <= look_s:
                died_s[other] = alive.pop(other)
        if who not in alive:
            continue
        if 1 - who in alive:
            heapq.heappush(looks, (look_s + period_s, who))
            continue
        born_s = look_s + bear_s
        if alive[who] <= born_s:  # killed while it gave birth: nobody is left
            return alive[who]
        alive[1 - who] = born_s + chance.expovariate(rate_hz)
        looks = [(born_s + period_s, 0), (born_s + period_s, 1)]
    return max(died_s.values())
