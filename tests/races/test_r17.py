"""R17: the twin stands still and was sent KILL, but does not die: it is in a D state, or frozen."""

from collections.abc import Callable

from scene import Actor, Scene, StubNursery, closing_loop, rest, taken_out

from twinwatch.core.values import Ending, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat
from twinwatch.watch.pair import Pair
from twinwatch.watch.twin import Twin


def judge_until_killed(scene: Scene, between: Callable[[Twin], None]) -> Actor:
    """`a` judges `b`, whose heartbeat stands still, until it sends KILL, which is not taken; then it works."""
    scene.hold(Role.A, lambda _say: rest())
    standing = scene.hold(Role.B, lambda _say: rest())
    nursery = StubNursery(scene.gated(Role.A))
    with closing_loop() as loop, taken_out(process, "send", lambda *_: True):  # as a D state takes signals
        twin = Twin(
            Pair(scene.paths, scene.spec, scene.state, Seat(Role.A, 1, 1), None), loop, nursery, Role.B
        )
        twin.look()
        now_ns = 0
        while scene.slot(Role.B.slot).ending is not Ending.HUNG:
            now_ns += scene.spec.watch.interval_ns
            twin.observe(now_ns)
            twin.judge(now_ns)
        between(twin)
        twin.work()
        twin._drop()
    return standing


def test_its_role_stays_its_own(scene):
    standing = judge_until_killed(scene, lambda _twin: None)
    assert not standing.is_dead
    slot = scene.slot(Role.B.slot)
    assert (slot.generation, slot.identity, slot.killed) == (1, standing.identity, True)


def test_taken_for_dead_there_are_two_of_it(scene):
    def believe_it_dead(twin: Twin) -> None:
        """The mutant: KILL sent is death."""
        twin._is_dead = True

    standing = judge_until_killed(scene, believe_it_dead)
    assert not standing.is_dead  # and it goes on when it thaws
    slot = scene.slot(Role.B.slot)
    assert slot.generation == 2
    assert slot.identity != standing.identity
    assert "b" in scene.names_of_living()
