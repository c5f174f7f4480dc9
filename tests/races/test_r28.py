"""R28: the anchor collects an orphan, and with it how it ended, before anybody has written that down."""

import os

from scene import JOB, Scene, closing_loop, rest, taken_out, until

from twinwatch.anchor import reaper
from twinwatch.anchor.third import Third
from twinwatch.core.values import ExitKind, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat
from twinwatch.linux.identity import is_dead, open_process


def orphan_that_failed(scene: Scene) -> int:
    """A job whose watcher is dead, and that has ended with 7; a pidfd of it."""
    scene.spec = scene.make_spec("exit 7")

    def watch(say):
        assert not isinstance(scene.bear(scene.gated(Role.A), Seat(Role.A, 1, 1)), str)
        say("born")
        rest()

    watcher = scene.hold(Role.A, watch)
    assert watcher.hear() == "born"
    pidfd = open_process(scene.slot().identity)
    watcher.kill()
    until(lambda: is_dead(pidfd), "the job has ended")
    return pidfd


def collect_as_anchor(scene: Scene, pidfd: int) -> None:
    """What the anchor does at SIGCHLD, with the orphan among its children."""
    scene.record(JOB, phase=Phase.RUNNING)
    own = os.pidfd_open(os.getpid())
    with closing_loop() as loop:
        third = Third(scene.paths, loop, own, lambda _event, _details: None)

        def tell(pid: int, status: int) -> None:
            named = third.named()
            if pid in named:
                third.record(named[pid], pid, status)

        reaper.collect(tell)
        third.close()
    os.close(own)
    assert process.child_status(pidfd, reap=False) is None, "it is collected"


def test_it_is_written_down_first(scene):
    pidfd = orphan_that_failed(scene)
    collect_as_anchor(scene, pidfd)
    os.close(pidfd)
    assert (scene.slot().exit.kind, scene.slot().exit.code) == (ExitKind.ERROR, 7)


def test_else_nobody_can_tell(scene):
    pidfd = orphan_that_failed(scene)
    with taken_out(Third, "record", lambda *_: None):
        collect_as_anchor(scene, pidfd)
    os.close(pidfd)
    assert not scene.slot().is_over
