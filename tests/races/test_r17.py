"""R17: the twin stands still and was sent KILL, but does not die: it is in a D state, or frozen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scene import Actor, Scene, StubNursery, closing_loop, rest, taken_out, until

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


def test_else_it_is_taken_for_dead_and_there_are_two_of_it(scene):
    def believe_it_dead(twin: Twin) -> None:
        """The mutant: KILL sent is death."""
        twin._is_dead = True

    standing = judge_until_killed(scene, believe_it_dead)
    assert not standing.is_dead  # and it goes on when it thaws
    slot = scene.slot(Role.B.slot)
    assert slot.generation == 2
    assert slot.identity != standing.identity
    assert "b" in scene.names_of_living()


@contextmanager
def met_twin(scene: Scene) -> Iterator[Twin]:
    """`b` and how `a` sees it: alive."""
    scene.hold(Role.A, lambda _say: rest())
    pair = Pair(scene.paths, scene.spec, scene.state, Seat(Role.A, 1, 1), None)
    with closing_loop() as loop:
        twin = Twin(pair, loop, StubNursery(scene.gated(Role.A)), Role.B)
        twin.look()
        try:
            yield twin
        finally:
            twin._drop()


def generation_after_takeover(scene: Scene) -> int:
    """`a` has seen `b` die; before it acts, a reserve of `b` has taken the role over."""
    first = scene.hold(Role.B, lambda _say: rest())
    with met_twin(scene) as twin:
        first.kill()
        twin.died()
        assert not twin.is_live()
        scene.hold(Role.B, lambda _say: rest(), generation=2)
        twin.work()
    return scene.slot(Role.B.slot).generation


def test_its_successor_is_not_replaced(scene):
    assert generation_after_takeover(scene) == 2


def test_else_there_is_one_holder_too_many(scene):
    with taken_out(Twin, "is_live", lambda twin: twin._read.slot.generation == 1 and not twin._is_dead):
        assert generation_after_takeover(scene) == 3
    until(lambda: len(scene.names_of_living()) == 2, "the newest one is there")
