"""`twinwatch doctor --bench`: it measures what it says, touches no other worker, and leaves nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live_pair import PATIENCE_S, until

from twinwatch.bench.run import WORKERS
from twinwatch.chaos import census
from twinwatch.core.values import Identity
from twinwatch.linux import process
from twinwatch.linux.identity import identify

COMMAND = [sys.executable, "-m", "twinwatch", "doctor", "--bench"]
STEPS = {"kill_to_death_ns", "kill_to_birth_ns", "death_to_birth_ns", "kill_to_running_ns"}
FIGURES = {"median", "p99", "max"}


def begin(tmp_path: Path, rounds: int) -> "subprocess.Popen[str]":
    """In a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        [*COMMAND, "--rounds", str(rounds), "--json"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def is_left(tmp_path: Path) -> list[str]:
    """Files, and command lines of living processes, that name the directory."""
    found = [str(path) for path in tmp_path.iterdir()]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [repr(line)] if os.fsencode(tmp_path) in line else []
    return found


def test_a_short_run(tmp_path: Path):
    run = begin(tmp_path, 3)
    out, err = run.communicate(timeout=2 * PATIENCE_S)
    assert run.returncode == 0, err + out
    document = json.loads(out)
    found = document["bench"]
    print(json.dumps(found, indent=1))
    assert (document.keys(), document["schema"]) == ({"schema", "bench"}, 1)
    assert found.keys() == {"machine", "rounds", "floor", "pair", "idle", "deaths", "broken"}
    assert (found["broken"], found["rounds"], found["pair"]["workers"]) == ([], 3, WORKERS)
    counts = {name: death["count"] for name, death in found["deaths"].items()}
    assert counts == {"worker": 3, "watcher": 2, "both_watchers": 1, "all_workers": 1}
    assert "one watcher is killed (2 ×)" in err
    assert is_left(tmp_path) == []
    assert_measured(found)


def assert_measured(found: dict[str, dict]) -> None:
    for death in found["deaths"].values():
        assert death.keys() == STEPS | {"count"}
        assert all(death[step].keys() == FIGURES for step in STEPS)
        assert 0 < death["kill_to_birth_ns"]["median"] < death["kill_to_running_ns"]["median"]
        assert death["kill_to_death_ns"]["median"] > 0
    floor = found["floor"]
    for name in ("spawn_warm_ns", "spawn_cold_ns", "sleep_late_ns", "work_warm_ns", "work_cold_ns"):
        assert floor[name].keys() == FIGURES
        assert 0 < floor[name]["median"] <= floor[name]["p99"] <= floor[name]["max"]
    idle = found["idle"]
    assert idle["processes"] == 2 * (1 + found["pair"]["reserve"])
    assert all(idle[name] > 0 for name in ("duration_ns", "cpu_ns_per_s", "wakeups_per_s", "pss_bytes"))


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("a pair of its own starts", signal.SIGINT),
        ("a worker is killed", signal.SIGINT),
        ("a worker is killed", signal.SIGKILL),
    ],
)
def test_nothing_is_left_when_it_is_ended(tmp_path: Path, step: str, number: signal.Signals):
    run = begin(tmp_path, 8)  # after each of these steps it goes on for some seconds
    with run:
        until(lambda: step in run.stderr.readline(), step)
        os.killpg(run.pid, number)
        out, err = run.communicate(timeout=2 * PATIENCE_S)
    assert (out, run.returncode) == ("", -number if number == signal.SIGKILL else 130), err
    assert "Traceback" not in err
    until(lambda: not is_left(tmp_path), "its keeper has removed it")


def test_a_worker_that_was_touched_is_told_of(tmp_path: Path):
    with begin(tmp_path, 2) as run:
        until(lambda: "a worker is killed" in run.stderr.readline(), "its workers run")
        last = worker(run.pid, WORKERS - 1)  # the run itself kills it at its very end only
        assert process.end(last)
        out, err = run.communicate(timeout=2 * PATIENCE_S)
    assert run.returncode == 1, err + out
    (broken,) = json.loads(out)["bench"]["broken"]
    assert broken.endswith(f"worker bench:{WORKERS - 1} is in life 2 instead of 1")


def worker(run: int, instance: int) -> Identity:
    """A worker of the pair that this run has made."""
    wanted = {f"TWINWATCH_PAIR=bench-{run}".encode(), f"TWINWATCH_INSTANCE={instance}".encode()}
    for pid in census.pids():
        if wanted <= set(census.proc(pid, "environ").split(b"\0")):
            pidfd = os.pidfd_open(pid)
            try:
                return identify(pid, pidfd)
            finally:
                os.close(pidfd)
    raise AssertionError(f"no instance {instance}")


def test_a_pair_that_does_not_start(tmp_path: Path):
    programs, room = tmp_path / "bin", tmp_path / "room"
    programs.mkdir()
    room.mkdir()
    for name in ("sh", "true"):  # but no sleep, which its workers run
        (programs / name).symlink_to(shutil.which(name))
    environ = os.environ | {"TMPDIR": str(room), "PATH": str(programs)}
    done = subprocess.run(
        [*COMMAND, "--rounds", "1"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    *_, last = done.stderr.splitlines()
    assert last.startswith("twinwatch: no pair starts here: ")
    assert "sleep" in last
    assert is_left(room) == []
