"""R25: a generation is recorded, and its heartbeat file still holds the beats of the one before."""

from scene import JOB, Scene, taken_out

from twinwatch.core import beatfile
from twinwatch.core.checks import Beat, Health
from twinwatch.core.record import Ping, Slot
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import Phase
from twinwatch.watch.vitals import Vitals

LIMIT_NS = 300 * MILLISECOND_NS


def verdict_on_a_slow_starter(scene: Scene) -> object:
    """Its program takes ten seconds before its first beat; the file is made anew only when it begins."""
    path = scene.paths.heartbeat("job", 0)
    with open(path, "wb") as file:
        file.write(beatfile._FILE.pack(812, 1, 0, beatfile.ACTIVE).ljust(beatfile.SIZE, b"\0"))
    vitals = Vitals(path, Health(heartbeat=Beat(LIMIT_NS, 1)), beats=True)
    now_ns = SECOND_NS
    try:
        while now_ns < 11 * SECOND_NS:
            phase = Phase.STARTING if now_ns < 2 * SECOND_NS else Phase.RUNNING
            if phase is Phase.RUNNING and vitals_are_new(path):
                with open(path, "wb") as file:
                    file.write(bytes(beatfile.SIZE))
            now_ns = vitals.look(Slot("job", phase=phase, generation=2), Ping(), now_ns)
        return vitals.verdict()
    finally:
        vitals.close()


def vitals_are_new(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read() != bytes(beatfile.SIZE)


def test_nothing_is_read_before_its_program_runs(scene):
    assert JOB == 3
    assert not verdict_on_a_slow_starter(scene)


def test_else_it_is_convicted_before_its_first_beat(scene):
    class AlwaysRunning:
        """As if the phase were not asked for."""

        STARTING = None
        RUNNING = Phase.RUNNING

    with taken_out(__import__("twinwatch.watch.vitals", fromlist=["Phase"]), "Phase", AlwaysRunning):
        assert verdict_on_a_slow_starter(scene)
