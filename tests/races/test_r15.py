"""R15: a job ends well, and its watcher is killed before the end is in the record."""

import signal
from dataclasses import replace

from scene import Scene, StubNursery, kill_self, rest, taken_out

from twinwatch.core.spec import Policy, Restart
from twinwatch.core.values import ExitKind, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat
from twinwatch.linux.statefile import StateFile

SEAT = Seat(Role.A, generation=1, config_generation=1)


def kill_before_the_record(scene: Scene) -> None:
    """`a` is killed in the moment in which it would write down that its job has ended."""
    write = StateFile.write

    def write_or_die(state, index, slot, version):
        if slot.exit.kind is not ExitKind.NONE:
            kill_self()
        return write(state, index, slot, version)

    def watch(_say):
        assert not isinstance(scene.bear(scene.gated(Role.A), replace(SEAT)), str)
        with taken_out(StateFile, "write", write_or_die), scene.guarding(replace(SEAT)) as pump:
            pump.until(lambda: False)

    assert scene.hold(Role.A, watch).status() == signal.SIGKILL
    assert len(scene.births()) == 1


def births_after_the_heir(scene: Scene) -> int:
    """The role's next holder deals with the job; how often its program has run in the end."""
    scene.hold(Role.A, lambda _say: rest(), generation=2)
    heir = Seat(Role.A, generation=2, config_generation=1)
    nursery = StubNursery(scene.gated(Role.A, 2), scene.gated(Role.A, 2))
    with scene.guarding(heir, nursery) as pump:
        pump.until(lambda: scene.slot().phase is Phase.STOPPED, "the job is over")
    return len(scene.births())


def make_one_shot(scene: Scene) -> None:
    scene.spec = scene.make_spec(f"echo $$ >> {scene.marker}", restart=Restart(Policy.ON_FAILURE))


def test_a_job_that_ended_well_runs_once(scene):
    make_one_shot(scene)
    kill_before_the_record(scene)
    assert births_after_the_heir(scene) == 1
    assert scene.slot().exit.kind is ExitKind.CLEAN


def test_else_it_is_collected_too_early_and_runs_again(scene):
    make_one_shot(scene)
    look = process.child_status
    with taken_out(process, "child_status", lambda pidfd, **_how: look(pidfd, reap=True)):
        kill_before_the_record(scene)
    assert births_after_the_heir(scene) == 2
