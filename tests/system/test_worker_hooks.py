"""`before_start` and `after_exit`: once for each generation, waited for, and never beside the program."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from every_step_strike import Strike, needs_ptrace
from worker_kit import (
    SLEEP,
    TIRELESS,
    Lever,
    LivePair,
    background,
    changes,
    entry,
    kill_guards,
    kill_watchers,
    shown,
    try_kill,
    until,
    wait_guarded,
    wait_phase,
    wait_running,
)

from twinwatch.core.record import Slot
from twinwatch.core.values import WATCHER_ROLES, Desired, ExitKind, HookState, Phase, Role, Stage
from twinwatch.linux.identity import is_alive, is_dead

EACH = pytest.mark.parametrize("roles", [(Role.A,), (Role.B,), WATCHER_ROLES], ids=["a", "b", "both"])
SAYS = "echo $TWINWATCH_GENERATION:$TWINWATCH_EXIT:$TWINWATCH_EXIT_CODE:$TWINWATCH_EXIT_SIGNAL:$TWINWATCH_EXIT_REASON"


def configure(pair: LivePair, command: list[str] | None = None, **keys: object) -> None:
    pair.configure(entry("w", command or SLEEP, **{"restart": TIRELESS, **keys}))


def sh(*lines: str) -> list[str]:
    return ["sh", "-c", "\n".join(lines)]


def said(pair: LivePair) -> list[str]:
    path = pair.directory / "said"
    return path.read_text().split() if path.exists() else []


def says(pair: LivePair) -> str:
    return f"{SAYS} >>{pair.directory}/said"


def log(pair: LivePair) -> list[str]:
    return (pair.kept / "log/w.log").read_text().splitlines()


def wait_hook(pair: LivePair, generation: int = 1) -> Slot:
    """The slot whose recorded process is the hook."""

    def is_begun() -> bool:
        slot = pair.worker("w")
        return slot.hook is HookState.BEGUN and slot.generation == generation

    until(is_begun, "the hook is recorded")
    return pair.worker("w")


class Held:
    """While the hook waits for the lever; later ones do not wait."""

    def __init__(self, lever: Lever) -> None:
        self._lever: Lever | None = lever
        lever.hold()
        lever.path.unlink()

    def release(self) -> None:
        if self._lever is not None:
            self._lever.release()
        self._lever = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def waits(lever: Lever) -> str:
    """A line of shell that waits for the lever, if it is there."""
    return f"[ ! -p {lever.path} ] || cat {lever.path}"


# ---------------------------------------------------------------- before_start


def test_it_is_run_before_each_start(pair: LivePair):
    program = sh('echo "program $TWINWATCH_GENERATION $COLOUR"', "exec sleep 100000")
    hook = {"command": sh('echo "hook $TWINWATCH_GENERATION $COLOUR"'), "timeout": "50s"}
    configure(pair, program, before_start=hook, environment={"COLOUR": "blue"})
    pair.up()
    pair.kill(wait_running(pair, "w")[0].identity)
    wait_running(pair, "w", generation=2)
    until(lambda: len(log(pair)) == 4, "the program has spoken")
    assert log(pair) == ["hook 1 blue", "program 1 blue", "hook 2 blue", "program 2 blue"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [("exit 3", "hook: exit code 3"), ("kill -9 $$", "hook: exit code 137")],
)
def test_one_that_fails_fails_the_start(pair: LivePair, script: str, reason: str):
    begun = pair.directory / "begun"
    configure(
        pair,
        sh(f"touch {begun}"),
        before_start=sh(script),
        restart={"backoff": {"initial": "1h", "max": "1h"}},
    )
    with background(pair, "up", str(pair.config)):
        slot = wait_phase(pair, "w", Phase.BACKOFF)
    assert (slot.exit.kind, slot.exit.stage) == (ExitKind.EXEC_FAILED, Stage.HOOK)
    assert shown(pair, "w")["last_exit"]["reason"] == reason
    assert not begun.exists()


def test_one_that_takes_too_long_is_ended_with_its_group(pair: LivePair):
    child = pair.directory / "child"
    script = sh(f"sleep 100000 & echo $! >>{child}; wait")
    hook = {"command": script, "timeout": "1s"}
    configure(pair, before_start=hook, restart={"backoff": {"initial": "1h", "max": "1h"}})
    with background(pair, "up", str(pair.config)):
        slot = wait_phase(pair, "w", Phase.BACKOFF)
    assert slot.exit.stage is Stage.HOOK
    assert shown(pair, "w")["last_exit"]["reason"] == "hook: Connection timed out"
    assert not any(map(lives, map(int, child.read_text().split())))


def lives(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}/exe") and os.access(f"/proc/{pid}/exe", os.R_OK)


@pytest.fixture
def long_start(pair: LivePair) -> Iterator[Held]:
    """A worker whose hook waits for the lever, and is longer than its start may take."""
    lever = Lever(pair.directory / "lever")
    hook = {"command": sh(waits(lever)), "timeout": "100s"}
    configure(pair, before_start=hook, start_timeout="1ms")
    with background(pair, "up", str(pair.config)), Held(lever) as hold:
        yield hold


@EACH
def test_the_hook_has_its_time_whoever_dies(pair: LivePair, long_start: Held, roles: tuple[Role, ...]):
    """It is not taken for a child that never got through its gate; the same process becomes the program."""
    before = wait_phase(pair, "w", Phase.STARTING)
    kill_watchers(pair, *roles)
    pair.wait_beats(4)
    assert pair.worker("w").phase is Phase.STARTING
    assert pair.worker("w").identity == before.identity and is_alive(before.identity)
    long_start.release()
    slot = wait_running(pair, "w")[0]
    assert (slot.generation, slot.identity) == (1, before.identity)


def test_a_stop_ends_the_hook_as_well(pair: LivePair, long_start: Held):
    slot = wait_phase(pair, "w", Phase.STARTING)
    pidfds = [os.pidfd_open(pid) for pid in (slot.identity.pid, *children(slot.identity.pid))]
    assert len(pidfds) == 2
    pair.call("stop", "-p", pair.name, "w")
    assert all(map(is_dead, pidfds))
    assert wait_phase(pair, "w", Phase.STOPPED).generation == 1
    for pidfd in pidfds:
        os.close(pidfd)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# ---------------------------------------------------------------- after_exit


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 0", "1:clean:0::"),
        ("exit 3", "1:error:3::"),
        ("kill -9 $$", "1:signal::9:"),
    ],
)
def test_what_it_is_told_of_the_end(pair: LivePair, script: str, told: str):
    configure(pair, sh(script), after_exit=sh(says(pair)), restart={"policy": "never"})
    pair.up()
    wait_phase(pair, "w", Phase.STOPPED)
    assert said(pair) == [told]


def test_what_it_is_told_of_an_order(pair: LivePair):
    configure(pair, after_exit=sh(says(pair), "echo hook"))
    pair.up()
    pair.call("restart", "-p", pair.name, "w")
    pair.call("stop", "-p", pair.name, "w")
    assert said(pair) == ["1:signal::15:restart", "2:signal::15:stop"], "before it is said to be stopped"
    pair.call("start", "-p", pair.name, "w")
    pair.down()
    assert said(pair)[2:] == ["3:signal::15:down"]
    assert log(pair) == ["hook"] * 3


def test_what_never_ran_has_none(pair: LivePair):
    program = pair.directory / "program"
    program.write_text("no program")
    program.chmod(0o755)
    backoff = {"backoff": {"initial": "1h", "max": "1h"}}
    configure(pair, [str(program)], after_exit=sh(says(pair)), restart=backoff)
    with background(pair, "up", str(pair.config)):
        wait_phase(pair, "w", Phase.BACKOFF)
    pair.call("stop", "-p", pair.name, "w")
    assert said(pair) == []


def test_one_that_fails_is_told(pair: LivePair):
    configure(pair, after_exit=["sh", "-c", "exit 4"])
    pair.up()
    pair.kill(pair.worker("w").identity)
    wait_running(pair, "w", generation=2)
    until(lambda: [e for e in pair.events() if e["event"] == "hook-failed"], "it is told")
    failed = next(e for e in pair.events() if e["event"] == "hook-failed")
    assert (failed["slot"], failed["hook"], failed["exit"]["code"]) == ("w", "after_exit", 4)


def test_one_that_takes_too_long_is_ended_and_no_wedge(pair: LivePair):
    child = pair.directory / "child"
    script = sh(f"sleep 100000 & echo $! >>{child}; wait")
    configure(pair, after_exit={"command": script, "timeout": "1s"})
    pair.up()
    pair.kill(pair.worker("w").identity)
    wait_running(pair, "w", generation=2)
    pids = [int(word) for word in child.read_text().split()]
    until(lambda: not any(map(lives, pids)), "its group is dead")


@pytest.fixture
def long_end(pair: LivePair) -> Lever:
    """A worker that was killed, and its hook waits for the lever."""
    lever = Lever(pair.directory / "lever")
    hook = {"command": sh(waits(lever), says(pair)), "timeout": "100s"}
    configure(pair, after_exit=hook)
    pair.up()
    pair.kill(pair.worker("w").identity)
    return lever


def test_the_next_generation_waits_for_it(pair: LivePair, long_end: Lever):
    with Held(long_end):
        slot = wait_hook(pair)
        pair.wait_beats()
        assert pair.worker("w") == slot
    assert wait_running(pair, "w", generation=2)[0].generation == 2
    assert said(pair) == ["1:signal::9:"]


def test_a_stop_waits_for_it(pair: LivePair, long_end: Lever):
    with background(pair, "stop", "-p", pair.name, "w") as call:
        with Held(long_end):
            wait_hook(pair)
            until(lambda: pair.worker("w").desired is Desired.STOP, "it is told")
            pair.wait_beats()
            assert call.poll() is None
        out, errors = call.communicate(timeout=60)
    assert call.returncode == 0, out + errors
    assert said(pair) == ["1:signal::9:"]
    assert pair.worker("w").phase is Phase.STOPPED


@EACH
def test_it_is_run_once_whoever_dies(pair: LivePair, long_end: Lever, roles: tuple[Role, ...]):
    with Held(long_end):
        hook = wait_hook(pair)
        kill_watchers(pair, *roles)
        pair.wait_beats()
        assert pair.worker("w") == hook and is_alive(hook.identity)
    assert wait_running(pair, "w", generation=2)[0].generation == 2
    assert said(pair) == ["1:signal::9:"]


def test_with_all_guards_dead_it_is_waited_for_as_well(pair: LivePair, long_end: Lever):
    with Held(long_end):
        hook = wait_hook(pair)
        kill_guards(pair)
        with background(pair, "up", str(pair.config)):
            wait_guarded(pair)
            pair.wait_beats()
            assert pair.worker("w") == hook
    assert wait_running(pair, "w", generation=2)[0].generation == 2
    assert said(pair) == ["1:signal::9:"]


def test_down_with_no_watcher_alive_waits_for_it(pair: LivePair, long_end: Lever):
    with Held(long_end) as hold:
        hook = wait_hook(pair)
        kill_guards(pair)
        with background(pair, "down", "-p", pair.name) as call:
            until(lambda: pair.state.header().desired is Desired.STOP, "it has begun")
            assert is_alive(hook.identity)
            hold.release()
            out, errors = call.communicate(timeout=60)
        assert call.returncode == 0, out + errors
    assert said(pair) == ["1:signal::9:"]


def test_one_that_is_killed_is_not_run_again(pair: LivePair, long_end: Lever):
    with Held(long_end):
        try_kill(wait_hook(pair).identity)
        wait_running(pair, "w", generation=2)
    assert said(pair) == []


@pytest.mark.root
def test_both_run_as_the_workers_user(pair: LivePair):
    configure(pair, before_start=["id", "-un"], after_exit=["id", "-un"], user="nobody", directory="/")
    pair.up()
    pair.call("stop", "-p", pair.name, "w")
    assert log(pair) == ["nobody", "nobody"]


# ---------------------------------------------------------------- at any step


@pytest.mark.slow
@needs_ptrace
@pytest.mark.timeout(300)
def test_a_watcher_that_dies_at_any_step(pair: LivePair):
    """SIGKILL at the N-th system call: no hook runs twice for one generation, and the worker comes back."""
    pair.configure(
        pair.lone(
            "w",
            extra=f"    restart: {{backoff: {{burst: 1000}}}}\n"
            f"    before_start: {{command: 'true', timeout: 50s}}\n"
            f"    after_exit: {{command: [sh, -c, '{says(pair)}'], timeout: 50s}}\n",
        )
    )
    pair.up()
    first = {role: pair.role(role).generation for role in WATCHER_ROLES}
    for nth in range(3, 123, 4):
        wait_guarded(pair)
        slot = wait_running(pair, "w")[0]
        role = slot.owner if nth % 8 < 4 else slot.owner.twin
        with Strike("SIGKILL", nth, [pair.role(role).identity]) as strike:
            pair.kill(slot.identity)
            strike.go()
            wait_running(pair, "w", generation=slot.generation + 1)
            strike.wait_struck()
        pair.assert_never_double()
    generations = [line.split(":")[0] for line in said(pair)]
    assert len(generations) == len(set(generations)), "a hook ran twice"
    assert len(generations) > 20, "hooks hardly ever ran"
    wait_guarded(pair)
    gained = sum(pair.role(role).generation - number for role, number in first.items())
    assert gained >= len(range(3, 123, 4)), "each strike ended a watcher"
    assert not [e for e in changes(pair, "w") if e["new"] == "fatal"]
