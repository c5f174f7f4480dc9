"""Same seed, same plan; and a plan meets every fault."""

from itertools import islice

import pytest

from twinwatch.chaos.plan import plan

FAULTS = ("kill-a", "kill-both", "freeze", "flip-bits")
WORKERS = ("web", "web:1", "db")


def first(count, seed, faults=FAULTS, workers=WORKERS, **changes):
    shape = {"pause_s": 0.4, "gap_s": (0.0, 0.010)} | changes
    return list(islice(plan(seed, faults, workers, **shape), count))


def test_same_seed_same_plan():
    assert first(200, 1) == first(200, 1)


def test_the_order_in_which_faults_and_workers_are_named_is_nothing():
    assert first(50, 1) == first(50, 1, FAULTS[::-1], WORKERS[::-1])


def test_another_seed_another_plan():
    assert first(20, 1) != first(20, 2)


def test_every_round_has_every_fault_in_an_order_of_its_own():
    strikes = first(400, 3)
    rounds = [tuple(one.fault for one in strikes[at : at + 4]) for at in range(0, 400, 4)]
    assert all(sorted(turn) == sorted(FAULTS) for turn in rounds)
    assert len(set(rounds)) > 10


def test_targets_and_times_vary_within_their_bounds():
    strikes = first(400, 4)
    assert {one.watchers for one in strikes} == {("watcher a", "watcher b"), ("watcher b", "watcher a")}
    assert {one.worker for one in strikes} == set(WORKERS)
    assert all(0 <= one.pause_s <= 0.4 and 0 <= one.gap_s <= 0.010 and 0 <= one.span < 1 for one in strikes)
    assert len({one.seed for one in strikes}) == 400
    assert [one.number for one in strikes] == list(range(400))


def test_what_one_strike_draws_changes_no_other_one():
    one, other = first(100, 5), first(100, 5, ("kill-a",))
    assert [(s.watchers, s.worker, s.span, s.seed) for s in one] == [
        (s.watchers, s.worker, s.span, s.seed) for s in other
    ]


def test_a_fixed_gap():
    assert {one.gap_s for one in first(50, 6, gap_s=(0.002, 0.002))} == {0.002}


@pytest.mark.parametrize("seed", [1, 2])
def test_without_workers_no_worker_is_named(seed):
    assert {one.worker for one in first(20, seed, workers=())} == {""}


def test_choices_of_a_fault_are_the_same_each_time():
    strike = first(1, 7)[0]
    assert [strike.chance().random() for _ in range(3)] == [strike.chance().random()] * 3


def test_no_fault_no_plan():
    assert first(1, 1, ()) == []
