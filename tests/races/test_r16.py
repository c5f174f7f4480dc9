"""R16: one record makes every watcher crash that takes it in hand: both, in turn, for ever."""

from pathlib import Path

from scene import JOB, Actor, Scene, rest, taken_out, until

from twinwatch.core import reconcile
from twinwatch.core.record import Heartbeat
from twinwatch.core.values import Desired, Phase, Role
from twinwatch.linux.birth import Seat
from twinwatch.watch import frame, watcher

CRASHES = 6


def crashes(scene: Scene) -> Path:
    return scene.directory / "crashes"


def count(scene: Scene) -> int:
    return crashes(scene).stat().st_size if crashes(scene).exists() else 0


def start_pair_with_bad_record(scene: Scene) -> Actor:
    """A real pair; whoever decides about the worker's slot crashes."""

    def crash(view):
        if view.slot.name == "job" and view.pair is Desired.RUN:
            with crashes(scene).open("ab") as file:
                file.write(b"x")
            raise ArithmeticError("a bad record")
        return whole(view)

    whole = reconcile.decide
    scene.record(Role.A.slot, generation=0)
    with taken_out(reconcile, "decide", crash):
        return scene.hold(Role.A, lambda _say: frame.main(scene.paths, Seat(Role.A, 1)))


def is_whole(scene: Scene) -> bool:
    """Both roles have holders that beat."""
    beats = [scene.state.heartbeat(role) for role in (Role.A, Role.B)]
    slots = [scene.slot(role.slot) for role in (Role.A, Role.B)]
    return all(
        slot.phase is Phase.RUNNING and beat.generation == slot.generation and beat.sequence > 3
        for slot, beat in zip(slots, beats, strict=True)
    )


def test_each_watcher_meets_it_once_at_most(scene):
    start_pair_with_bad_record(scene)
    until(
        lambda: count(scene) and (is_whole(scene) or count(scene) >= CRASHES),
        "the pair is whole after the crash",
    )
    assert 1 <= count(scene) <= 2
    assert scene.slot(JOB).generation == 0


def test_what_the_former_holder_said_is_read_before_the_first_beat(scene):
    """Which takes it away: else whoever comes next meets the record again."""
    scene.state.beat(Role.A, Heartbeat(1, handling=1 + JOB))

    def say_what_is_known(say):
        def beat(this: watcher.Watcher, _now_ns: int) -> None:
            say(JOB in this.guard.quarantined)
            rest()

        with taken_out(watcher.Watcher, "_beat_now", beat):
            frame.main(scene.paths, Seat(Role.A, 1, 1))

    assert scene.hold(Role.A, say_what_is_known).hear() == "True"


def test_else_they_crash_in_turn(scene):
    with taken_out(watcher.Watcher, "_recall_quarantine", lambda _watcher: None):
        start_pair_with_bad_record(scene)
        until(lambda: count(scene) >= CRASHES, "they have crashed again and again")
