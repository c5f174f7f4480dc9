"""Simulated lives: no promise is broken, rare states are reached, and a seed always does the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lives import LIVES, LONG_LIVES, broken, live, lives, reached
from virtual.marks import ALL, BY_HAND
from virtual.profiles import PROFILES
from virtual.run import simulate

pytestmark = pytest.mark.timeout(600)  # a machine that does other things as well


@pytest.mark.parametrize("profile", PROFILES)
def test_no_promise_is_broken(profile):
    assert not broken(lives(profile))


@pytest.mark.long
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("block", range(LONG_LIVES // LIVES))
def test_no_promise_is_broken_in_many_lives(profile, block):
    first = 1000 + block * LIVES
    assert not broken([simulate(seed, profile) for seed in range(first, first + LIVES)])


def test_the_rare_states_were_reached():
    """A guard that was never needed was not tested."""
    marks = reached()
    for name in ALL:
        print(f"{marks[name]:6} {name}")
    assert not [name for name in ALL if not marks[name] and name not in BY_HAND]


def test_a_seed_does_the_same_again():
    assert simulate(3, "kills").digest == live("kills", 3).digest
    assert live("kills", 3).digest != live("kills", 4).digest


@pytest.mark.parametrize("profile", ["orders", "pids"])
def test_a_seed_does_the_same_in_another_interpreter(profile):
    """Nothing depends on the order of a set of texts."""
    here = Path(__file__).resolve().parent
    program = f"from virtual.run import simulate; print(simulate(5, {profile!r}).digest)"
    environ = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": f"{here}{os.pathsep}{here.parents[1]}"}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environ, timeout=300, check=True
    )
    assert run.stdout.strip() == live(profile, 5).digest
