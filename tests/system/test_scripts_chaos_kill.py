"""scripts/chaos-kill stands for `twinwatch chaos`: the options and exit codes that it always had."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from live_pair import PATIENCE_S, ROOM, LivePair

SCRIPTS = ROOM.parents[1] / "scripts"
CHAOS = SCRIPTS / "chaos_kill.py"
QUICK = ("--seed", "1", "--pause", "100ms", "--patience", "60s", "--json")


def chaos(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHAOS), *arguments]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )


def verdict(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def lone_pair(pair: LivePair) -> LivePair:
    pair.configure(pair.lone("one") + pair.lone("two"))
    pair.up()
    return pair


@pytest.mark.smoke
def test_a_throw_away_pair_keeps_its_promises_and_leaves_nothing(tmp_path: Path):
    done = chaos("--strikes", "5", *QUICK, environ=os.environ | {"TMPDIR": str(tmp_path)})
    found = verdict(done)
    assert (done.returncode, found["verdict"], found["broken"]) == (0, "kept", []), done.stderr
    assert found["summary"].keys() == {"kill-a", "kill-b", "kill-both", "kill-worker"}
    assert (found["seed"], found["throw_away"]) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_workers_of_a_users_pair_are_left_alone(lone_pair: LivePair):
    before = {name: slot.identity for name, slot in lone_pair.workers().items()}
    found = verdict(chaos("-p", "shop", "--strikes", "4", *QUICK, environ=lone_pair.environ))
    assert (found["verdict"], found["broken"]) == ("kept", [])
    assert found["summary"].keys() == {"kill-a", "kill-b", "kill-both"}
    assert {name: slot.identity for name, slot in lone_pair.workers().items()} == before


def test_workers_of_a_users_pair_are_killed_when_that_is_asked(lone_pair: LivePair):
    config = str(lone_pair.config)
    found = verdict(chaos("-c", config, "--workers", "--strikes", "8", *QUICK, environ=lone_pair.environ))
    assert (found["verdict"], found["broken"]) == ("kept", [])
    kills = found["summary"]["kill-worker"]["count"]
    assert sum(slot.generation for slot in lone_pair.workers().values()) == kills + 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("-p", "absent"),
        ("--bogus",),
        ("-p", "x", "-c", "y"),
        ("--duration", "x"),
        ("-p", "x", "--throw-away"),
    ],
)
def test_usage(tmp_path: Path, arguments: tuple[str, ...]):
    done = chaos(*arguments, environ=os.environ | {"TWINWATCH_RUNTIME_DIR": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "stands_for"),
    [
        (
            [],
            "--throw-away --fault kill-a --fault kill-b --fault kill-both --fault kill-worker --gap 0",
        ),
        (["-p", "x"], "-p x --fault kill-a --fault kill-b --fault kill-both --gap 0"),
        (
            ["-p", "x", "--workers"],
            "-p x --workers --fault kill-a --fault kill-b --fault kill-both --fault kill-worker --gap 0",
        ),
        (["--faults", "all", "--gap", "3ms"], "--faults all --gap 3ms --throw-away"),
        (["--throw-away", "--fault", "oom"], "--throw-away --fault oom --gap 0"),
        (["--list"], "--list --throw-away --gap 0"),
    ],
)
def test_what_it_stands_for(monkeypatch: pytest.MonkeyPatch, arguments: list[str], stands_for: str):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import chaos_kill

    assert chaos_kill.command(arguments) == ["chaos", *stands_for.split()]
