"""The lock that makes an anchor the only one: whom it names, and when it is free."""

import os
import signal
from pathlib import Path

import pytest
from scene import act, until

from twinwatch.linux import sole
from twinwatch.linux.paths import Paths, prepare


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths("shop", os.path.realpath(tmp_path / "run"), os.path.realpath(tmp_path / "lib"))
    prepare(found)
    return found


def holding(paths: Paths):
    def hold(say):
        sole.hold(paths)
        say("held")
        signal.pause()

    actor = act(hold)
    assert actor.hear() == "held"
    return actor


def test_it_names_its_holder_until_its_death(paths):
    assert sole.holder(paths) == 0
    actor = holding(paths)
    try:
        assert sole.holder(paths) == actor.pid
        with pytest.raises(sole.Taken, match=f"PID {actor.pid}"):
            sole.hold(paths)
        actor.kill()
        until(lambda: sole.holder(paths) == 0, "the kernel has freed it")
        os.close(sole.hold(paths))
    finally:
        actor.kill()
        os.waitpid(actor.pid, 0)
        actor.close()


def test_a_forked_child_does_not_keep_it(paths):
    """Watchers that the anchor gives birth to must not pass for it."""

    def hold_and_fork(say):
        sole.hold(paths)
        pid = os.fork()
        if pid == 0:
            signal.pause()
        say(pid)
        signal.pause()

    actor = act(hold_and_fork)
    child = os.pidfd_open(int(actor.hear()))
    try:
        actor.kill()
        assert sole.holder(paths) == 0
    finally:
        signal.pidfd_send_signal(child, signal.SIGKILL)
        os.close(child)
        actor.kill()
        os.waitpid(actor.pid, 0)
        actor.close()


def test_where_nothing_is_there_nobody_holds_it(tmp_path):
    assert sole.holder(Paths("none", str(tmp_path), str(tmp_path))) == 0
