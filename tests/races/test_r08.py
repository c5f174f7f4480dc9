"""R08: a watcher stands still, another one gets its role, and it goes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from scene import JOB, Scene, closing_loop, rest, taken_out, until

from twinwatch.anchor.third import Third
from twinwatch.core import fence
from twinwatch.core.values import Role
from twinwatch.linux.birth import Fenced, Seat, compare_and_write

THAWED = Seat(Role.A, generation=1, config_generation=1)


def give_the_role_away(scene: Scene) -> None:
    """Generation 2 of `a` is another process. (That takes a fault in R17 too: generation 1 still lives.)"""
    scene.hold(Role.A, lambda _say: rest(), generation=2)


def test_a_fenced_watcher_changes_nothing(scene):
    give_the_role_away(scene)
    read = scene.state.read(JOB)
    with pytest.raises(Fenced):
        compare_and_write(scene.state, replace(THAWED), JOB, read, replace(read.slot, health=7))
    assert scene.state.read(JOB) == read


def test_a_fenced_watcher_gives_no_birth(scene):
    give_the_role_away(scene)
    lost = scene.bear(scene.gated(generation=2), replace(THAWED))
    assert isinstance(lost, str)
    assert "fenced" in lost
    assert scene.slot().generation == 0


def test_else_two_processes_act_as_one_watcher(scene):
    give_the_role_away(scene)
    whole = fence.objection
    with (
        taken_out(Seat, "check", lambda *_: None),
        taken_out(fence, "objection", lambda claim, header, _own, slot: whole(claim, header, None, slot)),
    ):
        born = scene.bear(scene.gated(generation=2), replace(THAWED))
        assert not isinstance(born, str)
        until(scene.births, "the worker runs")
        assert (scene.slot().owner, scene.slot().owner_generation) == (Role.A, 1)
        assert scene.slot(Role.A.slot).generation == 2
        overwritten = replace(born.slot, health=7)
        assert compare_and_write(scene.state, replace(THAWED), JOB, born, overwritten)


@contextmanager
def fenced_anchor(scene: Scene) -> Iterator[Third]:
    """An anchor whose slot names a newer generation."""
    own = os.pidfd_open(os.getpid())
    with closing_loop() as loop:
        third = Third(scene.paths, loop, own, lambda _event, _details: None)
        scene.record(Role.ANCHOR.slot, generation=third.pair.seat.generation + 1)
        try:
            yield third
        finally:
            third.close()
            os.close(own)


def test_a_fenced_anchor_lets_go(scene):
    with fenced_anchor(scene) as third, pytest.raises(Fenced):
        third.tick(0)


def test_else_there_are_two_anchors(scene):
    with fenced_anchor(scene) as third, taken_out(Seat, "check", lambda *_: None):
        third.tick(0)
