"""R20: a guard is about to end what escaped of a worker, while its twin has given birth to the next one."""

import os
import signal
from dataclasses import replace

from scene import JOB, Actor, Scene, rest, taken_out

from twinwatch.core.values import NO_EXIT, ExitKind, Phase
from twinwatch.linux import token as token_lock
from twinwatch.watch.guard import Guard


def end_escaped_too_late(scene: Scene) -> Actor:
    """What escaped of generation 1 has ended and generation 2 runs, when the guard gets to end generation 1."""
    over = replace(NO_EXIT, kind=ExitKind.ESCAPED, generation=1)
    scene.record(JOB, generation=1, phase=Phase.STOPPING, exit=over)

    def run(say):
        token_lock.take(scene.paths.token("job", 0))
        signal.signal(signal.SIGUSR1, lambda *_: say("lives"))
        say("runs")
        rest()

    with scene.guarding() as pump:
        late = pump.guard._roster[JOB]
        newer = scene.act(run)
        assert newer.hear() == "runs"
        scene.record(JOB, generation=2, phase=Phase.RUNNING, identity=newer.identity)
        pump.guard._end_escaped(late)
    return newer


def test_the_next_generation_is_left_alone(scene):
    newer = end_escaped_too_late(scene)
    newer.send(signal.SIGUSR1)  # one that was sent KILL before takes no other signal
    assert newer.hear() == "lives"
    assert os.path.exists(scene.paths.token("job", 0))


def test_else_a_healthy_worker_is_killed(scene):
    with taken_out(Guard, "_is_current", lambda *_: True):
        newer = end_escaped_too_late(scene)
    assert newer.status() == 9
