"""scripts/survival-curve: its baselines are what they claim, its verdicts can be wrong, it leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from live_pair import PATIENCE_S, ROOM, until

SCRIPTS = ROOM.parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import survival_curve  # noqa: E402 - from where scripts are
from survival import document, naive, ours  # noqa: E402
from survival.blow import kill, strike  # noqa: E402
from survival.throwaway import Pair, Trouble  # noqa: E402

from twinwatch.linux.identity import is_dead  # noqa: E402

NEVER_S = 100_000.0
LIMIT_S = 110.0  # before the test's own
ALL_POINT = {"gap_ms", "trials", "survived", "stuck", "actual_gap_ms"}


def begun(tmp_path: Path, *words: str) -> "subprocess.Popen[str]":
    out = ("--data", str(tmp_path / "found.json"), "--picture", str(tmp_path / "found.svg"))
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / "survival_curve.py"), *out, *words],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(tmp_path: Path, *words: str) -> dict[str, object]:
    with begun(tmp_path, *words) as script:
        output, errors = script.communicate(timeout=LIMIT_S)
    assert script.returncode == 0, errors  # 1: a worker was doubled, restarted or lost
    assert output.startswith(("Came back", "\n| killed")), output
    wanted = {"found.json"} if "--no-picture" in words else {"found.json", "found.svg"}
    assert {path.name for path in tmp_path.iterdir()} == wanted
    return json.loads((tmp_path / "found.json").read_text())


class Latest:
    """A source of chance by which every first look comes as late as it may."""

    @staticmethod
    def uniform(_low: float, high: float) -> float:
        return high

    @staticmethod
    def sample(those: list, count: int) -> list:
        return those[:count]


# ---------------------------------------------------------------- the baselines


def test_a_polling_pair_of_which_both_are_killed_between_two_looks_is_extinct():
    with naive.stage(NEVER_S) as stage:
        trials = [stage.trial(Latest(), 0) for _ in range(5)]
    assert [trial.survived or trial.is_stuck for trial in trials] == [False] * 5


@pytest.mark.parametrize("period_s", [0.005, None])
def test_a_baseline_pair_comes_back_when_it_is_given_time(period_s):
    """One after the other is killed, and each time the other one has looked."""
    with naive.stage(period_s) as stage:
        pair = stage.new_pair(Latest())
        try:
            for role in (b"a", b"b", b"b", b"a"):
                before = os.dup(pair.holders[role])
                kill([before])
                until(lambda before=before: is_dead(before), "it is dead")
                os.close(before)
                assert pair.wait(time.monotonic() + PATIENCE_S), "it did not come back"
        finally:
            pair.close()
    assert pair.is_extinct


def test_members_leave_when_nobody_looks_on():
    with naive.stage(0.005) as stage:
        pair = stage.new_pair(Latest())
        pair.end.close()
        until(lambda: all(map(is_dead, pair.holders.values())), "both have left")
        for pidfd in pair.holders.values():
            os.close(pidfd)


def test_a_gap_is_never_shorter_than_it_was_to_be():
    with subprocess.Popen(["sleep", "100"]) as one, subprocess.Popen(["sleep", "100"]) as two:
        first, second = os.pidfd_open(one.pid), os.pidfd_open(two.pid)
        assert strike(first, 2_000_000, lambda: [second]) >= 2_000_000
        assert (one.wait(), two.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
        os.close(first)
        os.close(second)


# ---------------------------------------------------------------- real pairs


@pytest.mark.parametrize(
    "chosen",
    [
        ("polling-1s", "polling-100ms", "event"),
        ("watchers", "watchers-again", "all-by-pid", "all-at-random", "pkill"),
        ("anchor",),
    ],
    ids=("baselines", "twinwatch", "anchored"),
)
def test_curves(tmp_path, chosen):
    """Whether a trial survives is chance, but where a reserve or the anchor is spared nobody goes extinct."""
    words = [word for one in chosen for word in ("--only", one)]
    no_picture = () if "event" in chosen else ("--no-picture",)
    found = run(tmp_path, *words, *no_picture, "--trials", "2", "--gaps", "0", "2")
    assert (found["schema"], found["seed"], found["atomic"], found["lacking"]) == (1, 1, [], [])
    assert set(found["machine"]) == {"kernel", "python", "cpus", "model", "load"}
    assert [curve["id"] for curve in found["curves"]] == list(chosen)
    for curve in found["curves"]:
        assert [point["gap_ms"] for point in curve["points"]] == [0.0, 2.0]
        for point in curve["points"]:
            assert set(point) == ALL_POINT
            assert point["trials"] == 2 and 0 <= point["survived"] <= 2
            assert point["gap_ms"] <= point["actual_gap_ms"]["median"] <= point["actual_gap_ms"]["p95"]
            if curve["id"] in ("watchers", "anchor"):
                assert point["survived"] + point["stuck"] == 2, curve


@pytest.mark.parametrize("name", [one.id for one in survival_curve.INSTANTS])
def test_a_kill_at_one_instant(tmp_path, name):
    found = run(tmp_path, "--only", name, "--atomic-trials", "1", "--no-picture")
    if found["lacking"]:
        pytest.skip(f"kernel lacks {found['lacking'][0]['why']}")
    (row,) = found["atomic"]
    assert (row["id"], row["trials"]) == (name, 1)
    if name.endswith("-anchor") or name == "group":
        assert row["survived"] + row["stuck"] == 1
    elif name != "pkill-once":  # which is no single instant
        assert (row["survived"], row["stuck"]) == (0, 0), "who was left?"


def test_a_restarted_worker_and_a_double_start_are_told_of(tmp_path):
    program = textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[1])
        from survival.throwaway import Pair, begin_all, end_all, pause
        from twinwatch.linux import process
        pair = Pair(sys.argv[2])
        begin_all([pair])
        try:
            assert pair.compare_workers() == []
            label, slot = sorted(pair.workers().items())[0]
            process.end(slot.identity)
            while pair.workers()[label].generation == slot.generation:
                pause()
            pair.wait_whole()
            open(f"{sys.argv[2]}/lone-1.double", "x").close()
            print(pair.compare_workers())
        finally:
            end_all([pair])
    """)
    words = [sys.executable, "-c", program, str(SCRIPTS), str(tmp_path / "0")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.stdout.strip() == "['worker lone was restarted', 'double start: lone-1.double']", done.stderr


def test_pkill_is_not_run_where_it_would_hit_a_stranger(tmp_path):
    pair = Pair(str(tmp_path / "0"))
    idle = "import signal; signal.pause()"
    with subprocess.Popen([sys.executable, "-c", idle, f"{pair.run} {pair.lib} {pair.name} x"]) as stranger:
        until(lambda: b"pause" in Path(f"/proc/{stranger.pid}/cmdline").read_bytes(), "it is there")
        try:
            with pytest.raises(Trouble, match=str(stranger.pid)):
                ours.pkill(pair)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_an_interrupt_ends_it_and_leaves_nothing(tmp_path):
    with begun(tmp_path, "--only", "watchers", "--trials", "2", "--gaps", *["1"] * 5000) as script:
        until(lambda: list(tmp_path.glob("twinwatch-survival.*/*/0/run/survival/state")), "a pair is there")
        script.send_signal(signal.SIGINT)
        _, errors = script.communicate(timeout=LIMIT_S)
    assert script.returncode == 2, errors
    assert "interrupted" in errors
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the document


ABOUT = {"machine": {"kernel": "6.1", "load": 0.1}, "killer": "ordinary", "seed": 1, "command": "x"}


def test_a_run_of_one_curve_keeps_the_others(tmp_path):
    path = tmp_path / "found.json"
    order = ["one", "two", "three"]
    for name, part in (("three", "curves"), ("one", "curves"), ("two", "lacking")):
        found = document.merged(path, ABOUT | {"seed": 2}, order)
        document.put(found, part, {"id": name}, order)
        document.save(path, found)
    found = document.merged(path, ABOUT | {"machine": {"kernel": "6.1", "load": 9.9}}, order)
    document.put(found, "atomic", {"id": "two"}, order)
    assert [row["id"] for row in found["curves"]] == ["one", "three"]
    assert (found["atomic"], found["lacking"], found["seed"]) == ([{"id": "two"}], [], 1)
    other = document.merged(path, ABOUT | {"machine": {"kernel": "6.2", "load": 0.1}}, order)
    assert other["curves"] == []


def test_the_table_goes_between_the_marks_or_nowhere(tmp_path):
    path = tmp_path / "prose.md"
    path.write_text(f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n")
    document.write_table(path, "new")
    assert path.read_text() == f"before\n{document.BEGIN}\nnew\n{document.END}\nafter\n"
    path.write_text("no marks\n")
    with pytest.raises(document.NoPlace):
        document.write_table(path, "new")
    assert path.read_text() == "no marks\n"


@pytest.mark.parametrize(
    ("survived", "trials", "text"),
    [(0, 200, "0"), (200, 200, "100"), (1, 200, "0.5"), (199, 200, "99.5"), (100, 200, "50")],
)
def test_a_share_that_is_not_whole_is_not_rounded_to_it(survived, trials, text):
    assert document.percent(survived, trials) == text
