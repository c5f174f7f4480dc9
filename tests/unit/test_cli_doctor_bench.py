"""`doctor --bench`: what is printed of its result, and its exit codes."""

import json

import pytest

from twinwatch.bench import run
from twinwatch.chaos.run import Interrupted
from twinwatch.cli.doctor import bench
from twinwatch.cli.main import main
from twinwatch.cli.table import plain

MS = 1_000_000


def times(median, longest=None):
    return {"median": median, "p99": longest or median, "max": longest or median}


DEATH = {
    "count": 3,
    "kill_to_death_ns": times(2 * MS),
    "kill_to_birth_ns": times(5 * MS),
    "death_to_birth_ns": times(3 * MS, 4 * MS),
    "kill_to_running_ns": times(9 * MS, 12 * MS),
}
FLOOR = {
    "spawn_warm_ns": times(MS),
    "spawn_cold_ns": times(6 * MS),
    "sleep_ns": 10 * MS,
    "sleep_late_ns": times(60_000, 2 * MS),
    "rest_ns": 500 * MS,
    "work_warm_ns": times(100_000),
    "work_cold_ns": times(290_000),
}
FOUND = {
    "machine": {"kernel": "6.9", "python": "3.11.2", "cpus": 4, "load": 0.5},
    "rounds": 3,
    "floor": FLOOR,
    "pair": {
        "workers": 7,
        "interval_ns": 500 * MS,
        "timeout_ns": 2000 * MS,
        "reserve": 2,
        "look_ns": 100_000,
        "pause_ns": 400 * MS,
    },
    "idle": {
        "duration_ns": 5000 * MS,
        "processes": 6,
        "cpu_ns_per_s": 1_230_000,
        "wakeups_per_s": 8.2,
        "pss_bytes": 25 << 20,
    },
    "deaths": dict.fromkeys(("worker", "watcher", "both_watchers", "all_workers"), DEATH),
    "broken": [],
}


def test_what_people_read():
    text = plain(bench.blocks(FOUND))
    lines = text.splitlines()
    assert lines[0] == "Linux 6.9, Python 3.11.2, 4 CPUs, load before 0.5; a pair with 7 workers"
    row = next(line for line in lines if line.startswith("one worker killed"))
    assert row.split()[-5:] == ["3", "5", "ms", "5", "ms"]
    assert "all 7 workers killed" in text
    assert "place filled, since seen dead" in text
    assert "1.23 ms" in text and "25.0MiB" in text
    assert "A restart takes 1.5 times what the machine takes" in text
    assert "No worker was restarted or doubled" in text
    assert "BROKEN" not in text


def test_a_death_that_was_seen_late():
    assert bench._span(-2 * MS) == "-2 ms"
    assert bench._span(2 * MS) == "2 ms"


def test_what_a_kernel_does_not_tell():
    idle = FOUND["idle"] | {"cpu_ns_per_s": None, "pss_bytes": None}
    assert [row[1].text for row in bench._idle_rows(idle)] == ["6", "-", "8.2", "-"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"work_cold_ns": times(300_000)}, ["3 times as long"]),
        ({"sleep_late_ns": times(1, 199 * MS)}, []),
        ({"sleep_late_ns": times(1, 200 * MS)}, ["200 ms late"]),
    ],
)
def test_doubts_need_a_fact(changed, said):
    found = list(bench.doubts(FLOOR | changed, 2000 * MS))
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


@pytest.mark.parametrize(("broken", "code"), [([], 0), (["worker bench is in life 3 instead of 2"], 1)])
def test_the_exit_code_and_the_document(broken, code, monkeypatch, capsys):
    asked = []
    found = FOUND | {"broken": broken}
    monkeypatch.setattr(run, "run", lambda rounds, say: asked.append(rounds) or say("it idles") or found)
    assert main(["doctor", "--bench"]) == code
    out, err = capsys.readouterr()
    assert [f"BROKEN {what}" in out for what in broken] == [True] * code
    assert err == "it idles …\n"
    assert main(["doctor", "--bench", "--rounds", "4", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "bench": found}
    assert asked == [run.ROUNDS, 4]


def test_interrupted(monkeypatch):
    def interrupted(*_):
        raise Interrupted

    monkeypatch.setattr(run, "run", interrupted)
    assert main(["doctor", "--bench"]) == 130


def test_rounds_need_a_bench(capsys):
    assert main(["doctor", "--rounds", "4"]) == 2
    assert "--bench" in capsys.readouterr().err


@pytest.mark.parametrize("rounds", ["0", "1001", "x", "-1", "1.5"])
def test_not_a_number_of_rounds(rounds, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--bench", "--rounds", rounds])
    assert stop.value.code == 2
    assert "--rounds" in capsys.readouterr().err
