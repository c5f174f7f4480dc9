"""R06: a process is stopped while it holds the state lock."""

import signal

import pytest
from scene import Actor, Scene, rest, taken_out

from twinwatch.linux.lock import LockWedged, StateLock


def stopped_holder(scene: Scene) -> Actor:
    def take_it_and_stop(say):
        state = scene.open()
        with state.lock:
            say("taken")
            rest()

    holder = scene.act(take_it_and_stop)
    assert holder.hear() == "taken"
    holder.stop()
    return holder


def test_a_waiter_ends_the_stopped_holder(scene):
    holder = stopped_holder(scene)
    with scene.state.lock:
        assert holder.status() == signal.SIGKILL


def test_else_the_pair_is_wedged(scene):
    holder = stopped_holder(scene)
    with (
        taken_out(StateLock, "_end_holder", lambda *_: None),
        pytest.raises(LockWedged) as wedged,
        scene.state.lock,
    ):
        pass
    assert (wedged.value.pid, wedged.value.state) == (holder.pid, "T")
    assert not holder.is_dead
