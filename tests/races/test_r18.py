"""R18: a command is stopped while it holds the operator lock (`twinwatch down`, then `kill -STOP`)."""

import pytest
from scene import Actor, Scene, rest, taken_out

from twinwatch.control import operator
from twinwatch.control.errors import ControlError

POLL_S = 0.001
POLLS = 500  # of the waiter; the holder is ended after 40


def silent(_text: str) -> None:
    return


def stop_a_command(scene: Scene) -> Actor:
    def hold(say):
        with operator.exclusive(scene.paths, silent, 1):
            say("at work")
            rest()

    command = scene.act(hold)
    assert command.hear() == "at work"
    command.stop()
    return command


def next_command(scene: Scene) -> None:
    with taken_out(operator, "_POLL_S", POLL_S), operator.exclusive(scene.paths, silent, POLLS * POLL_S):
        pass


def test_the_next_command_ends_the_stopped_one(scene):
    command = stop_a_command(scene)
    next_command(scene)
    assert command.is_dead


def test_else_no_command_works_any_more(scene):
    command = stop_a_command(scene)
    with taken_out(operator, "_end_stopped", lambda *_: None), pytest.raises(ControlError, match="at work"):
        next_command(scene)
    assert not command.is_dead
