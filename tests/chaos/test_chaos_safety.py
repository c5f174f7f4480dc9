"""It touches nothing outside the pair, refuses what is not allowed, and leaves nothing when it is ended."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from chaos_kit import begun, call, ended, what_broke
from live_pair import LivePair, until

from twinwatch.chaos import undo
from twinwatch.chaos.keeper import Keeper
from twinwatch.chaos.stranger import Stranger
from twinwatch.core.values import Role
from twinwatch.linux.identity import identify, is_alive, stat_fields

SHORT = ("--seed", "1", "--pause", "50ms", "--patience", "60s", "--json")


def on(pair: LivePair, *arguments: str) -> tuple[int, dict[str, object], str]:
    done = call("-p", pair.name, *SHORT, *arguments, environ=pair.environ)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "which pair?"),
        (("--throw-away", "-p", "x"), "which pair?"),
        (("-p", "absent"), "not running"),
        (("--throw-away", "--fault", "bogus"), "no fault is called bogus"),
        (("--throw-away", "--faults", "bogus"), "one of all, kills"),
        (("--throw-away", "--strikes", "0"), "not a number of strikes"),
        (("--throw-away", "--duration", "x"), "not a duration"),
    ],
)
def test_usage(tmp_path: Path, arguments: tuple[str, ...], said: str):
    done = call(*arguments, environ=os.environ | {"TWINWATCH_RUNTIME_DIR": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flip-bits", "--throw-away"),
        ("lose-directory", "--throw-away"),
        ("disk-full", "--throw-away"),
        ("freeze", "--throw-away"),
        ("clock-step", "--throw-away"),
        ("kill-worker", "--workers"),
        ("kill-watchers", "--revive"),
    ],
)
def test_a_users_pair_is_spared(pair: LivePair, name: str, said: str):
    before = pair.generations()
    code, found, errors = on(pair, "--fault", name)
    assert (code, found) == (2, {})
    assert f"{name} cannot be done here: " in errors
    assert said in errors
    assert pair.generations() == before


def test_a_pair_that_is_down_is_no_verdict(pair: LivePair):
    pair.down()
    code, found, errors = on(pair)
    assert (code, found) == (2, {})
    assert "not running" in errors


# ---------------------------------------------------------------- whom it strikes


def test_unasked_only_watchers_are_struck(pair: LivePair):
    before = {name: slot.identity for name, slot in pair.workers().items()}
    code, found, errors = on(pair, "--strikes", "6")
    assert code == 0, what_broke(found) + errors
    assert found["summary"].keys() == {"kill-a", "kill-b", "kill-both"}
    assert {name: slot.identity for name, slot in pair.workers().items()} == before


def test_workers_are_struck_when_that_is_asked(pair: LivePair):
    code, found, errors = on(pair, "--workers", "--strikes", "8")
    assert code == 0, what_broke(found) + errors
    kills = found["summary"]["kill-worker"]["count"]
    assert kills == 2
    assert sum(slot.generation for slot in pair.workers().values()) == kills + 2


def test_a_pair_that_is_started_again_adopts(pair: LivePair):
    before = {name: slot.identity for name, slot in pair.workers().items()}
    code, found, errors = on(pair, "--revive", "--fault", "kill-by-name", "--strikes", "2")
    assert code == 0, what_broke(found) + errors
    assert {name: slot.identity for name, slot in pair.workers().items()} == before


def test_a_name_is_not_enough_to_be_killed(pair: LivePair):
    """It has the watcher's name and the pair's words: `pkill -f` would take it for one."""
    words = (str(pair.directory / "run"), str(pair.directory / "lib"), pair.name)
    stranger = Stranger(str(pair.directory), "twinwatch-a", " ".join(words))
    try:
        stranger.wait_ready()
        code, found, errors = on(pair, "--revive", "--fault", "kill-by-name", "--strikes", "1")
        assert code == 0, what_broke(found) + errors
        assert stranger.harm() == ""
    finally:
        stranger.close()


def test_harm_to_a_stranger_is_seen(tmp_path: Path):
    stranger = Stranger(str(tmp_path), "twinwatch-a")
    try:
        stranger.wait_ready()
        assert stranger.harm() == ""
        os.kill(stranger.pid, signal.SIGUSR1)
        until(stranger.harm, "it says so")
        assert f"got signals {int(signal.SIGUSR1)}" in stranger.harm()
        os.kill(stranger.pid, signal.SIGKILL)
        until(lambda: "was ended" in stranger.harm(), "it is seen to be dead")
    finally:
        stranger.close()


# ---------------------------------------------------------------- how it ends

STOPS_WATCHER = "4"  # the seed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_ends_early_with_the_figures_so_far(pair: LivePair, number: signal.Signals):
    run = begun(pair)
    run.send_signal(number)
    code, found, errors = ended(run)
    assert (code, found["summary"]["kill-a"]["count"]) == (0, 1), errors


def stopping(pair: LivePair) -> "subprocess.Popen[str]":
    """A run that has stopped a watcher for good while, unless it is taken back."""
    pair.configure(pair.lone("one") + pair.lone("two"), "{interval: 100ms, timeout: 60s}")
    pair.call("reload", "-c", str(pair.config))
    pair.wait_whole()
    # its first strike stops a watcher and waits for its successor
    command = [sys.executable, "-m", "twinwatch", "chaos", "-p", pair.name, "--fault", "stop-cont"]
    command += ["--seed", STOPS_WATCHER, "--pause", "0", "--patience", "100s"]
    run = subprocess.Popen(
        command, env=pair.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    until(lambda: stopped(pair), "a watcher is stopped")
    return run


def stopped(pair: LivePair) -> list[int]:
    return [one.pid for one in pair.everyone() if stat_fields(one.pid)[:1] == [b"T"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_what_was_stopped_goes_on_however_it_ends(pair: LivePair, number: signal.Signals):
    before = pair.generations()
    run = stopping(pair)
    run.send_signal(number)
    until(lambda: not stopped(pair), "it goes on")
    run.communicate()
    pair.wait_beats()
    assert pair.generations() == before


def test_a_throw_away_pair_ends_with_a_run_that_is_killed(tmp_path: Path):
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "twinwatch", "chaos", "--throw-away", "--fault", "kill-a"]
    command += ["--pause", "100ms", "--duration", "10m"]
    run = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    until(lambda: list(tmp_path.glob("*/lone-3.births")), "its workers run")
    run.kill()
    run.wait()
    until(lambda: not list(tmp_path.iterdir()), "its keeper has ended the pair and removed it")


def test_a_keeper_takes_back_what_is_left_the_newest_first(tmp_path: Path):
    texts = [tmp_path / name for name in ("one", "two")]
    for path in texts:
        path.write_text("changed")
    keeper = Keeper()
    keeper.promise(undo.write(str(texts[0]), "older"))
    keeper.promise(undo.write(str(texts[0]), "newest"))
    done = keeper.promise(undo.write(str(texts[1]), "never"))
    keeper.fulfil(done)
    keeper.close()
    assert [path.read_text()[:5] for path in texts] == ["older", "chang"]


def test_limits_are_raised_where_they_were_lowered_and_nowhere_else(pair: LivePair):
    identity, other = pair.role(Role.A).identity, pair.role(Role.B).identity
    old = resource.prlimit(identity.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(identity.pid, resource.RLIMIT_NOFILE, (500, old[1]))
    resource.prlimit(other.pid, resource.RLIMIT_NOFILE, (501, old[1]))
    from twinwatch.linux.paths import Paths

    paths = Paths(pair.name, str(pair.directory / "run"), str(pair.directory / "lib"))
    undo.perform(undo.limits(paths, resource.RLIMIT_NOFILE, 500, old))
    assert resource.prlimit(identity.pid, resource.RLIMIT_NOFILE) == old
    assert resource.prlimit(other.pid, resource.RLIMIT_NOFILE) == (501, old[1])


def test_the_clock_is_stepped_back_by_what_it_was_stepped(monkeypatch):
    steps = []
    monkeypatch.setattr(undo.clock, "step_wall", steps.append)
    undo.perform(undo.step_clock(-3600))
    assert steps == [-3600]


def test_a_stopped_process_goes_on_and_a_dead_one_is_nobody(tmp_path: Path):
    child = subprocess.Popen(["sleep", "60"])
    pidfd = os.pidfd_open(child.pid)
    identity = identify(child.pid, pidfd)
    os.close(pidfd)
    child.send_signal(signal.SIGSTOP)
    until(lambda: stat_fields(child.pid)[:1] == [b"T"], "it is stopped")
    undo.perform(undo.cont(identity))
    until(lambda: stat_fields(child.pid)[:1] != [b"T"], "it goes on")
    child.kill()
    child.wait()
    assert not is_alive(identity)
    undo.perform(undo.cont(identity))


def test_an_undo_that_nobody_knows_is_an_error_of_ours():
    with pytest.raises(ValueError, match="nothing undoes"):
        undo.perform({"do": "bogus"})
