"""Compare-and-write and respawn: what they compare, and that they do it under the lock."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from scene import JOB, Scene, rest

from twinwatch.core import record
from twinwatch.core.record import Damage, Slot
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import Role
from twinwatch.linux.birth import Seat, compare_and_write
from twinwatch.linux.identity import is_alive
from twinwatch.linux.statefile import StateFile, StateMoved

GUEST = Seat(Role.GUEST, config_generation=1)
PATIENT_NS = 600 * SECOND_NS  # the holder stands still on purpose, and is not to be ended for it


def play_against_a_writer(scene: Scene, claim: Callable[[StateFile], object]) -> tuple[bool, str]:
    """Somebody holds the lock and changes the slot, when `claim` comes. Whether it waited; what came of it."""
    go, start = os.pipe()

    def change(say):
        state = scene.open()
        read = state.read(JOB)
        with state.lock:
            say("taken")
            os.read(go, 1)
            state.write(JOB, replace(read.slot, failures=7), read.version)

    def compete(say):
        state = StateFile(scene.paths.runtime, PATIENT_NS)
        state.lock.on_wait = lambda: say("waits")
        say(claim(state))

    assert scene.act(change).hear() == "taken"
    competitor = scene.act(compete)
    first = heard = competitor.hear()
    os.write(start, b"x")
    while heard == "waits":
        heard = competitor.hear()
    os.close(go)
    os.close(start)
    return first == "waits", heard


def test_a_change_waits_for_the_one_that_is_under_way(scene):
    seen = scene.state.read(JOB)

    def write(state: StateFile) -> object:
        return compare_and_write(state, replace(GUEST), JOB, seen, replace(seen.slot, failures=1))

    assert play_against_a_writer(scene, write) == (True, "None")
    assert scene.slot().failures == 7


def test_a_birth_waits_for_the_change_that_is_under_way(scene):
    seen = scene.state.read(JOB)

    def bear(state: StateFile) -> object:
        scene.state = state
        return scene.bear(scene.gated(), seen=seen)

    assert play_against_a_writer(scene, bear) == (True, "the slot has moved on")
    assert (scene.slot().failures, scene.slot().generation) == (7, 0)


def test_a_moved_file_takes_no_change(scene):
    seen = scene.state.read(JOB)
    scene.record_header(moved=True)
    with pytest.raises(StateMoved):
        compare_and_write(scene.state, replace(GUEST), JOB, seen, replace(seen.slot, failures=1))
    assert scene.state.read(JOB) == seen


def test_nobody_is_born_whose_file_is_not_at_its_path(scene):
    seen = scene.state.read(JOB)
    os.rename(scene.state.path, f"{scene.state.path}.away")
    child = scene.gated()
    with pytest.raises(StateMoved):
        scene.bear(child)
    assert scene.state.read(JOB) == seen
    assert child.gate >= 0, "its gate is still shut"
    assert is_alive(child.identity)


def test_a_role_that_was_never_held_is_no_guest(scene):
    assert Seat(Role.ANCHOR).own(scene.state) == Slot()
    assert Seat(Role.GUEST).own(scene.state) is None


def flip_a_bit(scene: Scene, role: Role) -> None:
    """In the current copy of a role's slot."""
    version = scene.state.read(role.slot).version
    at = record.slot_at(role.slot) + record.COPY_AT[version & 1] + 40
    with open(scene.state.path, "r+b", buffering=0) as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_a_holder_mends_its_own_slot(scene):
    scene.hold(Role.A, lambda _say: rest())
    seat, stranger = Seat(Role.A, 1, 1), Seat(Role.A, 1, 1)
    before = seat.own(scene.state)
    flip_a_bit(scene, Role.A)
    assert not stranger.mend(scene.state), "it has never read it"
    with pytest.raises(Damage):
        scene.slot(Role.A.slot)
    assert seat.mend(scene.state)
    assert scene.slot(Role.A.slot) == before
