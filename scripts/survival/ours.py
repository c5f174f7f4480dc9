"""Trials with real pairs: who is killed first, who after the gap, and what becomes of it."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from survival import blow
from survival.outcome import PATIENCE_S, Trial
from survival.throwaway import Pair, Trouble, begin_all, end_all, opened_all, pause, revive_all, wait_dead

from twinwatch.core.values import WATCHER_ROLES, Identity
from twinwatch.linux.identity import open_process

FLEET = 8  # pairs that take turns, so that none has more births than are given at once

Attack = Callable[[Pair, random.Random, int], int]
"""Kills, and says how long the gap really was, in ns. Returns when all that it killed is dead."""


def _blows(first: Identity, gap_ns: int, second: Callable[[], list[int]]) -> int:
    """Kill `first`, and the gap later those whose pidfds `second` gives; wait for all these deaths."""
    one = open_process(first)
    hit: list[int] = []

    def looked_up() -> list[int]:
        hit.extend(second())
        return hit

    actual_ns = blow.strike(one, gap_ns, looked_up)
    _wait_dead([one, *hit])
    return actual_ns


def _wait_dead(pidfds: list[int]) -> None:
    """A signal that was sent is not a death."""
    deadline = time.monotonic() + PATIENCE_S
    wait_dead(pidfds, is_late=lambda: time.monotonic() > deadline)
    blow.close(pidfds)


def two_watchers(pair: Pair, rng: random.Random, gap_ns: int) -> int:
    """One watcher, then the other one."""
    first, second = rng.sample(pair.watchers(), 2)
    ready = opened_all([second])
    return _blows(first, gap_ns, lambda: ready)


def watchers_looked_up(pair: Pair, rng: random.Random, gap_ns: int) -> int:
    """One watcher, then whoever holds either role by then: the killer looks again."""
    first = rng.choice(pair.watchers())
    return _blows(first, gap_ns, lambda: opened_all(one for one in pair.watchers() if one != first))


def _listed(pair: Pair, rng: random.Random) -> tuple[Identity, list[Identity]]:
    """A watcher, and all others that were there when the list was made, by PID."""
    watchers = pair.watchers()
    first = rng.choice(watchers)
    reserves = [one for role in WATCHER_ROLES for one in pair.reserves(role)]
    return first, sorted({*watchers, *reserves} - {first}, key=lambda one: one.pid)


def all_by_pid(pair: Pair, rng: random.Random, gap_ns: int) -> int:
    """One watcher, then the other one and all reserves, back to back, in the order of their PIDs."""
    first, others = _listed(pair, rng)
    ready = opened_all(others)
    return _blows(first, gap_ns, lambda: ready)


def all_at_random(pair: Pair, rng: random.Random, gap_ns: int) -> int:
    """As `all_by_pid`, in random order."""
    first, others = _listed(pair, rng)
    rng.shuffle(others)
    ready = opened_all(others)
    return _blows(first, gap_ns, lambda: ready)


def pkill(pair: Pair) -> None:
    """`pkill -9 -f`, with a pattern that no other process on the machine has.

    Raises:
        Trouble: it would hit a process that is not of the pair.
    """
    before = pair.guards()
    found = subprocess.run(["pgrep", "-f", pair.pattern], capture_output=True, text=True, check=False)
    if strangers := set(map(int, found.stdout.split())) - before - pair.guards():
        raise Trouble(f"pkill -f {pair.pattern!r} would hit others: PIDs {sorted(strangers)}")
    subprocess.run(["pkill", "-9", "-f", pair.pattern], check=False)


def pkill_once(pair: Pair, _rng: random.Random, _gap_ns: int) -> int:
    """One pass of `pkill -9 -f`, over all guards."""
    watchers = opened_all(pair.watchers())
    pkill(pair)
    _wait_dead(watchers)
    return 0


def pkill_twice(pair: Pair, _rng: random.Random, gap_ns: int) -> int:
    """`pkill -9 -f`, and the gap after it has ended the same once more, for whoever was born meanwhile."""
    watchers = opened_all(pair.watchers())
    pkill(pair)
    ended_ns = time.monotonic_ns()
    blow.wait_until(ended_ns + gap_ns)
    again_ns = time.monotonic_ns()
    subprocess.run(["pkill", "-9", "-f", pair.pattern], check=False)
    _wait_dead(watchers)
    return again_ns - ended_ns


def one_trial(pair: Pair, rng: random.Random, gap_ns: int, attack: Attack) -> Trial:
    """Attack a whole pair, and judge. `pair.is_down` says whether it has to be brought back."""
    pair.wait_whole()
    actual_ns = attack(pair, rng, gap_ns)
    outcome = pair.wait_outcome()
    pair.is_down = outcome is False
    return Trial(outcome is True, actual_ns, is_stuck=outcome is None)


class Fleet:
    """Pairs that take turns; one trial at a time, while all others are at rest. `wrong`: broken promises."""

    def __init__(self, pairs: list[Pair]) -> None:
        self._pairs = pairs
        self.wrong: list[str] = []

    def next_calm(self) -> Pair:
        """Of those that are up and whose births are not spaced the one that has waited longest."""
        while True:
            for pair in self._pairs:
                if not pair.is_down and pair.is_calm():
                    self._pairs.remove(pair)
                    self._pairs.append(pair)
                    return pair
            self.revive()
            pause()

    def revive(self) -> None:
        """Bring back all that are down, at once: that takes little longer than one."""
        down = [pair for pair in self._pairs if pair.is_down]
        revive_all(down)
        for pair in down:
            pair.is_down = False
            self.wrong += pair.compare_workers()

    def trial(self, rng: random.Random, gap_ns: int, attack: Attack) -> Trial:
        pair = self.next_calm()
        trial = one_trial(pair, rng, gap_ns, attack)
        self.wrong += pair.compare_workers()
        return trial

    def take_wrong(self) -> list[str]:
        """What broke a promise since this was last asked, also while pairs were brought back."""
        self.revive()
        wrong, self.wrong = self.wrong, []
        return wrong


@contextmanager
def fleet(folder: str, size: int, *, anchored: bool) -> Iterator[Fleet]:
    """`size` pairs under `folder`, until the end of the block."""
    pairs = [Pair(f"{folder}/{number}", anchored=anchored) for number in range(size)]
    try:
        begin_all(pairs)
        yield Fleet(list(pairs))
    finally:
        end_all(pairs)
