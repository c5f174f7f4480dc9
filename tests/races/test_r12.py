"""R12: the runtime directory is deleted under a living pair."""

import os
import shutil
from dataclasses import replace

import pytest
from scene import JOB, Scene, kill_self, rest, taken_out, until

from twinwatch.control import up
from twinwatch.control.errors import ControlError
from twinwatch.core.values import Role
from twinwatch.linux.birth import Seat
from twinwatch.linux.statefile import StateFile, StateMoved, move
from twinwatch.watch.watcher import _hold_alive_lock


def lose_the_directory(scene: Scene) -> None:
    """A watcher lives, and the directory with the state file is gone."""

    def watch(say):
        _hold_alive_lock(scene.paths)
        say("holds it")
        rest()

    assert scene.hold(Role.A, watch).hear() == "holds it"
    shutil.rmtree(scene.paths.runtime)
    os.mkdir(scene.paths.runtime, 0o700)


def up_again(scene: Scene) -> StateFile:
    return up._create(scene.paths, replace(scene.spec, generation=0, places=()))


def bear_in(scene: Scene, state: StateFile) -> object:
    """A claim for the worker, by the record that is in `state`."""
    old, scene.state = scene.state, state
    seat = Seat(Role.GUEST, config_generation=state.header().config_generation)
    try:
        return scene.bear(scene.gated(), seat)
    finally:
        scene.state = old


def test_up_refuses_to_make_a_second_pair(scene):
    lose_the_directory(scene)
    with pytest.raises(ControlError, match="its runtime directory"):
        up_again(scene)


def test_else_there_are_two_pairs_of_one_name(scene):
    lose_the_directory(scene)
    with taken_out(up, "_refuse_while_alive", lambda _paths: None):
        second = up_again(scene)
    try:
        assert second.header().pair_id != scene.state.header().pair_id
        # Each of the two files lets the same worker be born.
        with taken_out(StateFile, "is_at_path", lambda _state: True):
            assert not isinstance(bear_in(scene, scene.state), str)
            assert not isinstance(bear_in(scene, second), str)
        assert scene.slot().identity != second.slot(JOB).identity
    finally:
        second.close()


def successor(scene: Scene) -> StateFile:
    """One watcher has rebuilt the directory; `scene.state` is what its twin still has open."""
    shutil.rmtree(scene.paths.runtime)
    with scene.state.lock:
        move(scene.state)
    return scene.open()


def test_a_moved_file_takes_no_claims(scene):
    new = successor(scene)
    try:
        assert not isinstance(bear_in(scene, new), str)
        # The path was looked at a moment before the move; what decides is the mark, under the lock.
        with taken_out(StateFile, "is_at_path", lambda _state: True), pytest.raises(StateMoved):
            bear_in(scene, scene.state)
    finally:
        new.close()


def test_else_a_worker_is_born_in_both_files(scene):
    with taken_out(StateFile, "check_not_moved", lambda _state: None):
        new = successor(scene)
        try:
            # `objection` asks for the same thing once more: the header of the old file is taken for whole.
            header = replace(scene.state.header(), moved=False)
            with (
                taken_out(StateFile, "header", lambda _state: header),
                taken_out(StateFile, "is_at_path", lambda _state: True),
            ):
                assert not isinstance(bear_in(scene, new), str)
                assert not isinstance(bear_in(scene, scene.state), str)
            first, second = (child.identity for child in scene._children)
            assert (new.slot(JOB).identity, scene.state.slot(JOB).identity) == (first, second)
            until(scene.births, "one of them runs")
        finally:
            new.close()


def is_old_file_marked(scene: Scene) -> bool:
    """Whoever rebuilds the directory is killed in the moment in which the new file has its name."""

    def rebuild(_say):
        state, link = scene.open(), os.link

        def link_and_die(source: str, target: str) -> None:
            link(source, target)
            kill_self()

        shutil.rmtree(scene.paths.runtime)
        with taken_out(os, "link", link_and_die), state.lock:
            move(state)

    scene.act(rebuild).status()
    assert not scene.open_and(StateFile.header).moved
    return scene.state.header().moved


def test_two_files_are_never_in_force(scene):
    assert is_old_file_marked(scene)


def test_else_a_killed_mover_leaves_two(scene):
    with taken_out(StateFile, "write_header", lambda *_: None):  # as if it came to that too late
        assert not is_old_file_marked(scene)
