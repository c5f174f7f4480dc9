"""R17: the twin stands still and was sent KILL, but does not die: it is in a D state, or frozen."""

from contextlib import contextmanager

from scene import Scene, StubNursery, rest, taken_out

from twinwatch import twin as twin_module
from twinwatch.core.values import Ending, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat
from twinwatch.linux.loop import Loop
from twinwatch.pair import Pair
from twinwatch.twin import Twin


@contextmanager
def judged_twin(scene: Scene):
    """`a` judges `b`, whose heartbeat stands still, until it has sent KILL. It is not taken."""
    scene.hold(Role.A, lambda _say: rest())
    twin_process = scene.hold(Role.B, lambda _say: rest())
    pair = Pair(scene.paths, scene.spec, scene.state, Seat(Role.A, 1, 1), None)
    loop = Loop()
    twin = Twin(pair, loop, StubNursery(scene.gated(Role.A)))
    try:
        twin.look()
        with taken_out(process, "send", lambda *_: True):  # what a D state makes of every signal
            now_ns = 0
            while scene.slot(Role.B.slot).ending is not Ending.HUNG:
                now_ns += scene.spec.watch.interval_ns
                twin.judge(now_ns)
            twin.work()
        yield twin, twin_process
    finally:
        twin._drop()
        loop._epoll.close()
        import os

        os.close(loop._wake_read)
        os.close(loop._wake_write)
