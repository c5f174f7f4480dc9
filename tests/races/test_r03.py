"""R03: a writer is killed between a change and its journal entry; or a reader is faster than a change."""

import os
from dataclasses import replace

from scene import JOB, Scene, die_at_write, taken_out

from twinwatch.core import record
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import Health
from twinwatch.linux.lock import StateLock
from twinwatch.linux.statefile import StateFile

ENTRY_WRITES = 2  # of one change: journal entry, sequence
PATIENT_NS = 600 * SECOND_NS  # the writer stands still on purpose, and is not to be ended for it


def lost_changes(scene: Scene) -> list[int]:
    """Numbers of the writes at which a kill leaves a change that the journal does not tell."""
    lost = []
    for number in range(1, 6):
        before, since = scene.state.read(JOB), scene.state.sequence()

        def write(_say, before=before, number=number):
            state = scene.open()
            with state.lock:
                die_at_write(number)
                state.write(JOB, replace(before.slot, health=before.slot.health + 1), before.version)

        scene.act(write).status()
        _, told = scene.state.changes(since)
        if not scene.state.is_current(JOB, before.version) and JOB not in told:
            lost.append(number)
    return lost


def told_afterwards(state, index, slot, version):
    """The mutant: first the change, then its journal entry."""
    sequence = state.sequence()
    new = state._commit(record.slot_at(index), record.pack_slot(slot), version)
    entry = record.JOURNAL_AT + sequence % record.JOURNAL_ENTRIES * 4
    state._put(entry, index.to_bytes(4, "little"))
    state._put(record.SEQUENCE_AT, (sequence + 1).to_bytes(8, "little"))
    return new


def test_every_change_is_told(scene):
    assert lost_changes(scene) == []


def test_else_a_change_that_is_told_afterwards_gets_lost(scene):
    with taken_out(StateFile, "write", told_afterwards):
        assert lost_changes(scene)


def told_of_a_change(scene: Scene) -> Health:
    """A writer has told of its change and not made it yet. What a reader finds where the journal sends it."""
    go, start = os.pipe()
    since = scene.state.sequence()

    def write(say):
        put, left = os.pwrite, ENTRY_WRITES

        def paused(fd: int, data: bytes, at: int) -> int:
            nonlocal left
            if left == 0:
                say("told")
                os.read(go, 1)
            left -= 1
            return put(fd, data, at)

        state = scene.open()
        read = state.read(JOB)
        with state.lock:
            os.pwrite = paused
            state.write(JOB, replace(read.slot, health=Health.HEALTHY), read.version)

    def read(say):
        state = StateFile(scene.paths.runtime, PATIENT_NS)
        state.lock.on_wait = lambda: say("waits")
        _, told = state.changes(since)
        assert told == {JOB}
        say(state.slot(JOB).health.name)

    assert scene.act(write).hear() == "told"
    reader = scene.act(read)
    heard = reader.hear()
    os.write(start, b"x")
    while heard == "waits":
        heard = reader.hear()
    os.close(go)
    os.close(start)
    return Health[heard]


def test_what_is_told_was_done(scene):
    assert told_of_a_change(scene) is Health.HEALTHY


def test_else_a_reader_is_faster_than_the_change(scene):
    with taken_out(StateLock, "_wait", lambda _lock: None):  # who finds it taken goes on without it
        assert told_of_a_change(scene) is Health.UNKNOWN
