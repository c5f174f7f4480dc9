"""The lives that the tests look at: each is lived once in a session, whoever asks for it."""

import os
from collections import Counter
from functools import cache

from virtual.profiles import PROFILES
from virtual.run import Outcome, simulate

LONG = os.environ.get("TWINWATCH_TEST_LONG") == "1"
LIVES = 10  # of each profile; the long form has LONG_LIVES
LONG_LIVES = 400
MORE = {"ice": 30}  # where what is looked for is rare


@cache
def live(profile: str, seed: int) -> Outcome:
    return simulate(seed, profile)


def lives(profile: str) -> list[Outcome]:
    return [live(profile, seed) for seed in range(1, MORE.get(profile, LIVES) + 1)]


def reached() -> Counter[str]:
    """The marks of all lives together."""
    total: Counter[str] = Counter()
    for profile in PROFILES:
        for outcome in lives(profile):
            total += outcome.marks
    return total


def broken(outcomes: list[Outcome]) -> str:
    """What was broken, with the command that does it again; empty: nothing."""
    return "\n".join(f"{one.complaints[0]}\n    {one.replay}" for one in outcomes if one.complaints)
