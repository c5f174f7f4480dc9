"""scripts/chaos-kill keeps its verdict honest: it says `kept` of a pair that works, and it can fail."""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from live_pair import ROOM, LivePair

from twinwatch.core.values import Role
from twinwatch.linux.identity import ProcessGone

SCRIPTS = ROOM.parents[1] / "scripts"
CHAOS = SCRIPTS / "chaos_kill.py"
QUICK = ("--seed", "1", "--pause", "100ms", "--json")


def chaos(*arguments: str, program: str | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(("-c", program) if program else (str(CHAOS),)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, **options)


def verdict(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def what_broke(found: dict[str, object]) -> str:
    return " ".join(f"{one['promise']}: {one['what']}" for one in found["broken"])


@pytest.fixture
def lone_pair(pair: LivePair) -> LivePair:
    pair.configure(pair.lone("one") + pair.lone("two"))
    pair.up()
    return pair


def begun(pair: LivePair, *arguments: str) -> subprocess.Popen[str]:
    """A run against `pair` that has killed something, and now makes a pause of some seconds.

    Seed 4: it kills a after 0.94 s, and pauses for 2.88 s when the pair is whole again.
    """
    before = pair.role(Role.A).generation
    command = [
        sys.executable,
        str(CHAOS),
        "-p",
        pair.name,
        "--seed",
        "4",
        "--pause",
        "4s",
        "--json",
        *arguments,
    ]
    run = subprocess.Popen(
        command, env=pair.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    pair.wait_whole({"a": before + 1})
    select.select([], [], [], 0.5)  # for the run to see it too: else it says what it sees in other words
    return run


def ended(run: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    output, errors = run.communicate(timeout=100)
    return subprocess.CompletedProcess(run.args, run.returncode, output, errors)


@pytest.mark.smoke
def test_a_throw_away_pair_keeps_its_promises_and_leaves_nothing(tmp_path):
    done = chaos("--duration", "3s", *QUICK, env=os.environ | {"TMPDIR": str(tmp_path)})
    found = verdict(done)
    assert (done.returncode, found["verdict"], found["broken"]) == (0, "kept", []), done.stderr
    assert sum(found["kills"].values()) > 4
    assert found["seed"] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_worker_with_a_second_copy_is_a_double_start(tmp_path):
    bad = tmp_path / "twice.py"
    good = (ROOM.parents[1] / "examples/lone_worker.py").read_text()
    head, _, tail = good.partition("while True:")
    again = "import subprocess\nsubprocess.Popen([sys.executable, *sys.orig_argv[1:]])\n"
    bad.write_text(f"{head}{again}while True:{tail}")
    program = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(SCRIPTS)!r})
        import chaos_kill
        chaos_kill.LONE_WORKER = {str(bad)!r}
        sys.exit(chaos_kill.main())
    """)
    done = chaos("--duration", "20s", *QUICK, program=program, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert done.returncode == 1
    assert "P1 exactly once: double start" in what_broke(verdict(done))
    assert [path.name for path in tmp_path.iterdir()] == ["twice.py"]


def test_watchers_and_reserves_killed_from_outside_break_recovery(lone_pair: LivePair):
    run = begun(lone_pair, "--duration", "60s", "--patience", "2s")
    while everyone := lone_pair.everyone():  # stopped first: none of them has time to revive another
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for one in everyone:
                with suppress(ProcessGone):
                    lone_pair.kill(one, number=number)
    done = ended(run)
    assert done.returncode == 1, done.stderr
    assert "not whole again" in (broken := what_broke(verdict(done))), broken


def test_a_watcher_that_nobody_killed_is_noticed(lone_pair: LivePair):
    run = begun(lone_pair, "--duration", "60s")
    lone_pair.kill(lone_pair.role(Role.A).identity)
    done = ended(run)
    assert done.returncode == 1, done.stderr
    assert "nobody killed watcher a" in (broken := what_broke(verdict(done))), broken


def test_workers_of_a_users_pair_are_left_alone(lone_pair: LivePair):
    before = lone_pair.workers()
    found = verdict(chaos("-p", "shop", "--duration", "2s", *QUICK, env=lone_pair.environ))
    assert (found["verdict"], what_broke(found)) == ("kept", "")
    assert "worker" not in found["kills"]
    after = lone_pair.workers()
    assert {name: slot.identity for name, slot in after.items()} == {n: s.identity for n, s in before.items()}


def test_workers_of_a_users_pair_are_killed_when_that_is_asked(lone_pair: LivePair):
    config = str(lone_pair.config)
    found = verdict(chaos("-c", config, "--workers", "--duration", "4s", *QUICK, env=lone_pair.environ))
    assert (found["verdict"], what_broke(found)) == ("kept", "")
    assert found["kills"]["worker"] > 0
    births = [generation for name in ("one", "two") for _, generation in lone_pair.births(name)]
    assert len(births) == found["kills"]["worker"] + 2


@pytest.mark.parametrize(
    "arguments", [("-p", "absent"), ("--bogus",), ("-p", "x", "-c", "y"), ("--duration", "x")]
)
def test_usage(tmp_path: Path, arguments: tuple[str, ...]):
    done = chaos(*arguments, env=os.environ | {"TWINWATCH_RUNTIME_DIR": str(tmp_path)})
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_pair_that_is_down_is_no_verdict(lone_pair: LivePair):
    lone_pair.down()
    done = chaos("-p", "shop", env=lone_pair.environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert "not running" in done.stderr


def test_a_child_that_is_still_called_like_its_parent_is_no_second_watcher(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import chaos_kill

    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    first, second = subprocess.Popen(sleep), subprocess.Popen(sleep)
    try:
        assert list(chaos_kill.doubles({("watcher a", ""): [os.getpid(), first.pid]})) == []
        both = list(chaos_kill.doubles({("watcher a", ""): [first.pid, second.pid]}))
        assert both == [f"watcher a lives 2 times: PIDs {[first.pid, second.pid]}"]
        workers = {("web", "3"): [first.pid], ("web", "4"): [second.pid], ("db", "1"): [first.pid]}
        assert list(chaos_kill.doubles(workers)) == ["double start: generations 3, 4 of web live at once"]
    finally:
        for child in (first, second):
            child.kill()
            child.wait()


@pytest.mark.parametrize(
    ("times", "expected"),
    [([], None), ([5], (5, 5, 5)), (range(1, 101), (50.5, 95, 100)), ([3, 1, 2], (2, 3, 3))],
)
def test_spread(monkeypatch, times, expected):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import chaos_kill

    found = chaos_kill.spread(list(times))
    assert found == (expected and dict(zip(("median", "p95", "max"), expected, strict=True)))
