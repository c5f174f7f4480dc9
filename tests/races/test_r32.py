"""R32: a judge is killed between recording that it ends its hung twin and the signal; the twin goes on."""

from scene import Actor, Scene, StubNursery, closing_loop, rest, taken_out, until

from twinwatch.core.values import Ending, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat
from twinwatch.watch.pair import Pair
from twinwatch.watch.twin import Twin


def hold_convicted(scene: Scene) -> Actor:
    """`b` lives, and its slot says that it is being ended."""
    convict = scene.hold(Role.B, lambda _say: rest())
    scene.record(Role.B.slot, phase=Phase.STOPPING, ending=Ending.HUNG, killed=True)
    return convict


def meet(scene: Scene) -> None:
    """A new `a` looks at `b`, whose heart beats."""
    scene.hold(Role.A, lambda _say: rest())
    pair = Pair(scene.paths, scene.spec, scene.state, Seat(Role.A, 1, 1), None)
    with closing_loop() as loop:
        twin = Twin(pair, loop, StubNursery(), Role.B)
        twin.look()
        twin.close()


def test_the_judges_successor_carries_it_out(scene):
    convict = hold_convicted(scene)
    meet(scene)
    until(lambda: convict.is_dead, "the convict is dead")


def test_also_one_that_reads_it_later(scene):
    scene.hold(Role.A, lambda _say: rest())
    convict = scene.hold(Role.B, lambda _say: rest())
    pair = Pair(scene.paths, scene.spec, scene.state, Seat(Role.A, 1, 1), None)
    with closing_loop() as loop:
        twin = Twin(pair, loop, StubNursery(), Role.B)
        twin.look()
        scene.record(Role.B.slot, phase=Phase.STOPPING, ending=Ending.HUNG, killed=True)
        twin.look()
        until(lambda: convict.is_dead, "the convict is dead")
        twin.close()


def test_else_it_holds_its_role_for_ever(scene):
    convict = hold_convicted(scene)
    with taken_out(process, "send", lambda *_: True):  # the mutant: nobody sends it again
        meet(scene)
    assert not convict.is_dead
    assert scene.slot(Role.B.slot).phase is Phase.STOPPING
