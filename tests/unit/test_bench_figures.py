"""`doctor --bench`: figures from samples, and whether a worker was touched that should not have been."""

import pytest

from twinwatch.bench import deaths, floor
from twinwatch.bench.deaths import KINDS, Ledger
from twinwatch.bench.figures import share, spread
from twinwatch.bench.pair import Death
from twinwatch.control.errors import ControlError

WORKERS = ("bench", "bench:1", "bench:2")


def test_spread():
    assert spread([7]) == {"median": 7, "p99": 7, "max": 7}
    assert spread(range(100, -1, -1)) == {"median": 50, "p99": 99, "max": 100}


@pytest.mark.parametrize(("rounds", "part", "times"), [(20, 1, 20), (20, 8, 3), (1, 8, 1), (9, 4, 3)])
def test_share(rounds, part, times):
    assert share(rounds, part) == times


def test_figures_of_deaths():
    found = deaths.figures([Death(100, 150, 140, 300), Death(1000, 1010, 1040, 1100)])
    assert found == {
        "count": 2,
        "kill_to_death_ns": {"median": 30, "p99": 50, "max": 50},
        "kill_to_birth_ns": {"median": 40, "p99": 40, "max": 40},
        "death_to_birth_ns": {"median": 10, "p99": 30, "max": 30},
        "kill_to_running_ns": {"median": 150, "p99": 199, "max": 200},
    }


def test_who_is_killed():
    chosen = {kind.name: [tuple(kind.choose(WORKERS, number)) for number in range(4)] for kind in KINDS}
    a, b = "watcher a", "watcher b"
    assert chosen == {
        "worker": [("bench",), ("bench:1",), ("bench:2",), ("bench",)],
        "watcher": [(a,), (b,), (a,), (b,)],
        "both_watchers": [(a, b)] * 4,
        "all_workers": [WORKERS] * 4,
    }


def test_lives_are_counted():
    ledger = Ledger(dict.fromkeys(WORKERS, 1))
    ledger.expect(["bench:1", "watcher a"])
    ledger.compare({"bench": 1, "bench:1": 2, "bench:2": 1}, "well")
    assert ledger.broken == []
    ledger.expect(["bench"])
    ledger.compare({"bench": 1, "bench:1": 2, "bench:2": 2}, "x")
    ledger.compare({"bench": 1, "bench:1": 2, "bench:2": 2}, "told once")
    assert ledger.broken == [
        "x: worker bench is in life 1 instead of 2",
        "x: worker bench:2 is in life 2 instead of 1",
    ]


def test_one_that_lives_twice():
    twins = {
        ("bench", "3"): [10, 11],
        ("bench:1", "1"): [12],
        ("bench:1", "2"): [13],
        ("reserve", ""): [1, 2],
    }
    found = deaths.doubles(twins)
    assert len(found) == 2
    assert "generations 1, 2 of bench:1 live at once" in found[0]
    assert found[1] == "worker bench lives 2 times: PIDs [10, 11]"


def test_a_machine_without_a_trivial_program(monkeypatch):
    monkeypatch.setattr(floor.shutil, "which", lambda _: None)
    with pytest.raises(ControlError, match="PATH"):
        floor.measure(1)
