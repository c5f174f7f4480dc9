"""R19: two guards find one damaged record; one repairs it, a command changes it, then the other repairs."""

from dataclasses import replace

import pytest
from scene import JOB, Scene, taken_out

from twinwatch.core import record
from twinwatch.core.record import Damage
from twinwatch.core.values import Desired
from twinwatch.linux.statefile import Read, StateFile


def damage(scene: Scene, read: Read) -> None:
    """Flip a bit in the current copy."""
    at = record.slot_at(JOB) + record.COPY_AT[read.version & 1] + 40
    with open(scene.state.path, "r+b", buffering=0) as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def repair_what_is_newer(scene: Scene) -> bool:
    """Whether a guard repairs a damaged record of which it knows only the version before `stop`."""
    known = scene.state.read(JOB)
    damage(scene, scene.record(JOB, desired=Desired.STOP))
    return scene.state.mend(JOB, known)


def repair_after_a_stop(scene: Scene) -> Desired:
    """What is wished of the worker in the end, when `stop` came between two repairs."""
    known = scene.state.read(JOB)
    damage(scene, known)
    assert scene.state.mend(JOB, known)  # the first guard
    scene.record(JOB, desired=Desired.STOP)  # `stop`, acknowledged
    scene.state.mend(JOB, known)  # the second one, that had seen the damage as well
    return scene.slot().desired


def unseen(state: StateFile, index: int, known: Read) -> bool:
    """The mutant: what was damaged when it was seen is written anew, unlooked at."""
    with state.lock:
        state._commit(record.slot_at(index), record.pack_slot(replace(known.slot)), known.version)
    return True


def test_a_repair_undoes_no_change(scene):
    assert repair_after_a_stop(scene) is Desired.STOP


def test_only_the_very_version_is_repaired(scene):
    assert not repair_what_is_newer(scene)
    with pytest.raises(Damage):
        scene.slot()


def test_else_a_stop_is_undone_by_memory(scene):
    with taken_out(StateFile, "mend", unseen):
        assert repair_what_is_newer(scene)
    assert scene.slot().desired is Desired.RUN


def test_else_a_stop_is_forgotten(scene):
    with taken_out(StateFile, "mend", unseen):
        assert repair_after_a_stop(scene) is Desired.RUN
