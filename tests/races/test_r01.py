"""R01: a writer is killed in the middle of a change."""

from dataclasses import replace

from scene import JOB, Scene, die_at_write, taken_out

from twinwatch.core import record
from twinwatch.core.record import Damage, Slot
from twinwatch.linux.statefile import StateFile

WRITES = 4  # of one change: journal entry, sequence, copy, selector


def changed(slot: Slot) -> Slot:
    return replace(slot, generation=slot.generation + 1, failures=7)


def found_after(scene: Scene, number: int) -> str:
    """What a reader finds after a writer that was killed before its write `number`."""
    read = scene.state.read(JOB)

    def write(_say: object) -> None:
        state = scene.open()
        with state.lock:
            die_at_write(number)
            state.write(JOB, changed(read.slot), read.version)

    scene.act(write).status()
    try:
        now = scene.state.slot(JOB)
    except Damage:
        return "damaged"
    return {read.slot: "old", changed(read.slot): "new"}.get(now, "mixture")


def in_place(state: StateFile, at: int, body: bytes, version: int) -> int:
    """The mutant: no second copy, so no commit word either: the selector moves first."""
    version = record.next_version(version)
    state._put(at, record.pack_selector(version))
    state._put(at + record.COPY_AT[version & 1], record.pack_copy(version, body))
    return version


def test_a_killed_writer_leaves_the_old_record(scene):
    assert [found_after(scene, number) for number in range(1, WRITES + 1)] == ["old"] * WRITES
    assert found_after(scene, WRITES + 1) == "new"


def test_else_it_leaves_a_record_that_nobody_can_believe(scene):
    with taken_out(StateFile, "_commit", in_place):
        found = [found_after(scene, number) for number in range(1, WRITES + 1)]
    assert "damaged" in found
