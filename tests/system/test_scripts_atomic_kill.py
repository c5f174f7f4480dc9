"""scripts/atomic-kill: nobody survives what the kernel does as one act, somebody what it does not, and who is told.

What an attack of several steps leaves is chance, and no test says anything of it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live_pair import ROOM, until

SCRIPTS = ROOM.parents[1] / "scripts"
NO_NAMESPACE = 77
ATOMIC = ("everybody", "group", "init")
TRIALS = 6


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("interpreter absent: cc")
    built = tmp_path_factory.mktemp("guards") / "guards"
    subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", built, SCRIPTS / "atomic/guards.c"], check=True
    )
    return built


def outcomes(program: Path, *arguments: object, trials: int = TRIALS) -> list[int]:
    attack, kind, size, *rest = arguments
    command = [program, attack, kind, str(size), str(trials), "1", *map(str, rest)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode == NO_NAMESPACE:
        pytest.skip(f"kernel lacks PID namespaces for this user: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return [int(line.split()[0]) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("kind", ["guard", "churn"])
@pytest.mark.parametrize("attack", ATOMIC)
def test_nobody_survives_one_act_of_the_kernel(program, attack, kind, size):
    assert outcomes(program, attack, kind, size) == [0] * TRIALS


def test_who_left_the_group_is_not_in_it(program):
    """Also that a survivor is told from the dead at all: here there always is one."""
    assert outcomes(program, "group", "apart", 4) == [1] * TRIALS


def test_an_attack_that_is_none_says_nothing_of_survival(program):
    assert outcomes(program, "nothing", "guard", 2, trials=1) == [2]


@pytest.mark.parametrize("attack", ["loop", "loops"])
def test_one_after_the_other_is_told_in_any_case(program, attack):
    assert set(outcomes(program, attack, "guard", 4)) <= {0, 1}


@pytest.mark.root
def test_nobody_survives_the_kernels_whole_recipe_for_a_cgroup(program, monkeypatch):
    """Frozen first, so that nobody forks meanwhile; a single write of cgroup.kill is not this."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import atomic_kill

    if why := atomic_kill.lacking("cgroup-frozen"):
        pytest.skip(f"kernel lacks this: {why}")
    with atomic_kill.cgroup("cgroup-frozen") as made:
        assert outcomes(program, "cgroup-frozen", "churn", 2, *made) == [0] * TRIALS
    assert not Path(made[0]).exists()


def test_the_attacker_takes_all_with_it_when_it_dies(program):
    """Nothing gets out of a trial, whatever ends the program."""
    child = subprocess.Popen([program, "loop", "churn", "2", "1000000", "1"], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        if not child.stdout.readline():
            pytest.skip("kernel lacks PID namespaces for this user")
        child.kill()
    mark = os.fsencode(program)

    def living() -> list[bytes]:
        lines = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(path.read_bytes())
            except (FileNotFoundError, ProcessLookupError):
                continue
        return [line for line in lines if mark in line]

    until(lambda: not living(), "all of it is gone")


def test_the_script_writes_what_it_says(program, tmp_path):
    written = tmp_path / "atomic.json"
    command = [
        sys.executable,
        SCRIPTS / "atomic_kill.py",
        "-n",
        "2",
        "-K",
        "2",
        "--no-hunt",
        "--json",
        written,
    ]
    attacks = [word for attack in ("loop", "everybody") for word in ("--attack", attack)]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    began = time.monotonic()
    done = subprocess.run(
        [*command, *attacks],
        env=os.environ | {"TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode == NO_NAMESPACE:
        pytest.skip(f"kernel lacks PID namespaces for this user: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert list(scratch.iterdir()) == []
    found = json.loads(written.read_text())
    assert [(cell["attack"], cell["kind"], cell["trials"]) for cell in found["cells"]] == [
        (attack, kind, 2) for attack in ("loop", "everybody") for kind in ("guard", "apart", "churn")
    ]
    assert all(0 < cell["took_us"]["worst"] < (time.monotonic() - began) * 1e6 for cell in found["cells"])
    assert "everybody" in done.stdout and "0/2" in done.stdout


def test_tables(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import atomic_kill

    def cell(kind, size, outcomes):
        return atomic_kill.Cell("cgroup", kind, size, outcomes, [5.0] * len(outcomes)).document()

    found = {
        "sizes": [2, 8],
        "cells": [
            cell("guard", 2, [0, 1, 1, 2]),
            cell("guard", 8, [0, 3]),
            cell("churn", 1, [0] * 9 + [1]),
            cell("churn", 2, [0]),
        ],
    }
    last = atomic_kill.markdown(found).splitlines()[-1]
    assert last == "| `cgroup.kill`, written once | 2/3, 0/1 |  | 0/1; 1/10 at K = 1 | 5 … 5 |"
    assert "2/3" in atomic_kill.text(found)


@pytest.mark.parametrize(
    ("born", "signals", "expected"),
    [
        (3, [(10, 21)], {"born_us": 0.002, "signal_us": 0.009, "signals": 1, "to_parent": True}),
        (3, [(9, 20), (10, 21)], {"born_us": 0.002, "signal_us": 0.009, "signals": 2, "to_parent": False}),
        (0, [(10, 21)], None),
    ],
)
def test_a_survivor_is_told_of_by_the_write_that_missed_it(monkeypatch, born, signals, expected):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from atomic import witness
    from windows.ftrace import Event

    events = [
        Event(0, 9, "signal_generate", {"sig": 9, "pid": 9}),  # of an earlier one
        Event(1, 1, "sys_enter_write", {"count": 1}),
        Event(born, 21, "sched_process_fork", {"parent_pid": 21, "child_pid": 22}),
        *(Event(at, 1, "signal_generate", {"sig": 9, "pid": pid}) for at, pid in signals),
        Event(12, 1, "sys_exit_write"),
        Event(13, 22, "sched_process_fork", {"parent_pid": 22, "child_pid": 23}),
        Event(14, 1, "signal_generate", {"sig": 10, "pid": 22}),
    ]
    told = witness.testify(sorted(events, key=lambda event: event.at_ns))
    assert (told and {name: getattr(told, name) for name in expected}) == expected
    assert told is None or told.wrote_us == 0.011


def test_a_hunt_is_for_the_narrow_hole_only(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import atomic_kill

    wanted = list(atomic_kill.plan(["everybody", "cgroup"], [2], hunt=True))
    hunted = [what for what in wanted if atomic_kill.trials_of(*what, 1) > 1]
    assert hunted == [("cgroup", "churn", 1)]
    assert len(wanted) == 7
    assert len(list(atomic_kill.plan(["everybody", "cgroup"], [2], hunt=False))) == 6
