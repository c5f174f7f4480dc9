"""A job that ends in the very moment in which its watcher is killed has run, and is not run again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from worker_kit import Lever, LivePair, entry, program, until, wait_guarded, wait_phase

from twinwatch.core.values import WATCHER_ROLES, ExitKind, Phase
from twinwatch.linux.identity import open_process

ROUNDS = 50


@contextmanager
def started(pair: LivePair, init: str) -> Iterator[None]:
    """The pair is up, below the machine's PID 1 or below an init that reaps every orphan at once."""
    if init == "own":
        pair.up()
        yield
        return
    up = [sys.executable, "-m", "twinwatch", "up", str(pair.config)]
    command = program("reaping_init.py", *up)
    with subprocess.Popen(
        command, env=pair.environ, cwd=pair.directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as reaper:
        try:
            lines = iter(reaper.stdout)
            assert any(line == b"done 0\n" for line in lines)
            yield
        finally:
            pair.down()
            reaper.wait(60)


def jobs(pair: LivePair, policy: str) -> list[Lever]:
    """One job for each round; each holds a lock of its own and waits for its lever."""
    levers = [Lever(pair.directory / f"lever.{n}") for n in range(ROUNDS)]
    here = pair.directory
    command = program(
        "job_worker.py", here / "{instance}.lock", here / "{instance}.births", here / "lever.{instance}", 0
    )
    pair.configure(entry("job", command, instances=ROUNDS, restart={"policy": policy}))
    return levers


def release_and_kill(pair: LivePair, lever: Lever, label: str, turn: int, *, may_kill_both: bool) -> None:
    """Let the job end and kill its owner, in either order; each fourth time both watchers."""
    owner = pair.worker(label).owner
    roles = WATCHER_ROLES if may_kill_both and turn % 4 == 3 else (owner,)
    slots = {role: pair.role(role) for role in roles}
    pidfds = [open_process(slot.identity) for slot in slots.values()]
    if turn % 2:
        lever.release()
    for pidfd in pidfds:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    if not turn % 2:
        lever.release()
    for pidfd in pidfds:
        os.close(pidfd)
    until(lambda: all(pair.role(role).generation > slots[role].generation for role in roles), "they are back")


@pytest.mark.slow
@pytest.mark.parametrize("init", ["own", "reaping"])
@pytest.mark.parametrize("policy", ["on-failure", "never"])
def test_job_that_ends_as_its_watcher_is_killed_is_not_run_again(pair: LivePair, policy: str, init: str):
    levers = jobs(pair, policy)
    with started(pair, init):
        for lever in levers:
            lever.hold()
        for turn, lever in enumerate(levers):
            label = f"job:{turn}" if turn else "job"
            wait_guarded(pair)
            # An init that reaps at once leaves nothing to know for one who comes after both are dead.
            release_and_kill(pair, lever, label, turn, may_kill_both=init == "own")
            slot = wait_phase(pair, label, Phase.STOPPED, Phase.STARTING, Phase.BACKOFF, Phase.FATAL)
            births = (pair.directory / f"{turn}.births").read_text().splitlines()
            assert len(births) == slot.generation == 1, f"{label} ran again: {slot}"
            assert slot.phase is Phase.STOPPED
            assert slot.exit.kind is ExitKind.CLEAN, f"round {turn}: {slot.exit}"
