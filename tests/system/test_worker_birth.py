"""A birth that is interrupted: the giver dies, the child hangs, the program hides what it was given.

A FIFO as log file holds a child at the step `output`: recorded, let through, not yet its program.
"""

import os
import select
from collections.abc import Iterator

import pytest
from worker_kit import (
    SLEEP,
    LivePair,
    background,
    entry,
    kill_guards,
    kill_watchers,
    until,
    wait_phase,
    wait_running,
)

from twinwatch.core.values import Ending, ExitKind, Phase
from twinwatch.linux.identity import is_alive


class Held:
    """A worker `w` that waits in its log file until somebody reads there."""

    def __init__(self, pair: LivePair, command: list[str], **keys: object) -> None:
        self.fifo = pair.directory / "held"
        os.mkfifo(self.fifo)
        self.reader = -1
        pair.configure(entry("w", command, log={"file": str(self.fifo)}, **keys) + entry("other", SLEEP))

    def let_go(self) -> None:
        self.reader = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)

    def close(self) -> None:
        if self.reader >= 0:
            os.close(self.reader)


def comm_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


@pytest.fixture
def hidden(pair: LivePair) -> Iterator[Held]:
    """Its program has no environment any more, as after `env -i`, `su -`, or a title written over it."""
    held = Held(pair, ["env", "-i", "sleep", "100000"], start_timeout="1h")
    yield held
    held.close()


def test_program_without_its_environment_is_adopted_by_heirs(pair: LivePair, hidden: Held):
    """Every guard dies while it is starting; who comes then must not take it for a gated child (P4)."""
    with background(pair, "up", str(pair.config)) as call:
        slot = wait_phase(pair, "w", Phase.STARTING)
        wait_running(pair, "other")
        kill_guards(pair)
        call.kill()
        call.communicate()
    hidden.let_go()
    until(lambda: comm_of(slot.identity.pid) == "sleep", "it has its program")
    assert pair.worker("w").phase is Phase.STARTING
    pair.up()
    now = wait_running(pair, "w")[0]
    assert (now.identity, now.generation) == (slot.identity, 1)


def test_program_that_begins_after_its_watcher_was_replaced(pair: LivePair, hidden: Held):
    """A child at work on its birth, not at its gate: it is let through, so it is left alone, or born again."""
    with background(pair, "up", str(pair.config)) as call:
        slot = wait_phase(pair, "w", Phase.STARTING)
        wait_running(pair, "other")
        kill_watchers(pair)
        hidden.let_go()
        output, errors = call.communicate(timeout=60)
        assert call.returncode == 0, output + errors
    now = wait_running(pair, "w")[0]
    assert is_alive(now.identity)
    assert now.identity == slot.identity or not is_alive(slot.identity)


def test_start_that_takes_too_long_is_given_up_and_tried_again(pair: LivePair):
    held = Held(pair, SLEEP, start_timeout="300ms", restart={"backoff": {"burst": 100}})
    try:
        with background(pair, "up", str(pair.config)) as call:
            slot = wait_phase(pair, "w", Phase.STARTING, generation=3)
            assert (slot.exit.ending, slot.exit.kind, slot.exit.signal) == (Ending.GATED, ExitKind.SIGNAL, 9)
            held.let_go()
            call.communicate(timeout=60)
            assert call.returncode == 0
        wait_running(pair, "w")
        poll = select.poll()
        poll.register(held.reader, select.POLLHUP)
        assert not poll.poll(0), "its program has the log open"
    finally:
        held.close()


@pytest.mark.parametrize("command", ["stop", "down"])
def test_child_at_work_on_its_birth_is_ended(pair: LivePair, hidden: Held, command: str):
    """Acknowledged only when the recorded child is dead too, though it never became its program (P8)."""
    with background(pair, "up", str(pair.config)) as call:
        slot = wait_phase(pair, "w", Phase.STARTING)
        wait_running(pair, "other")
        if command == "down":
            call.kill()
            call.communicate()
            pair.down()
        else:
            pair.call("stop", "-p", pair.name, "w")
            call.communicate(timeout=60)
    assert not is_alive(slot.identity)
