"""R03: a writer is killed between a change and its journal entry."""

from dataclasses import replace

from scene import JOB, Scene, die_at_write, taken_out

from twinwatch.core import record
from twinwatch.linux.statefile import StateFile


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


def test_a_change_that_is_told_afterwards_gets_lost(scene):
    with taken_out(StateFile, "write", told_afterwards):
        assert lost_changes(scene)
