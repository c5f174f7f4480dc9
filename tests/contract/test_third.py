"""The anchor's guard by itself: what it forks and does not need, it lets go of."""

import os

import pytest
from scene import Actor, Scene, closing_loop, rest, taken_out, until

from twinwatch.anchor.third import Third
from twinwatch.core.values import WATCHER_ROLES
from twinwatch.linux import process
from twinwatch.watch import nursery, reserve, twin
from twinwatch.watch.reserve import BehindGate


def guard_in_vain(scene: Scene, how: str) -> Actor:
    """An anchor that loses each claim. Says how many descriptors it still listens to, and who its child was."""

    def be_anchor(say):
        own = os.pidfd_open(os.getpid())
        children: list[int] = []

        def lose(_state, _seat, child, _newborn):
            children.append(child.pid)
            return "lost"

        try:
            with closing_loop() as loop, taken_out(twin, "respawn", lose):
                third = Third(scene.paths, loop, own, lambda _event, _details: None)
                third.work()
                assert not third.nursery._ready, "none is kept for later"
                if how == "close":
                    third.close()
                else:
                    until(lambda: listen(loop, third) == 1, "its child has left, and was collected")
                say(len(loop._keys))
        except BehindGate as behind:
            reserve.live(behind.gate, behind.duty)
        say(children[0])
        rest()

    return scene.act(be_anchor)


def listen(loop, third) -> int:
    for kind, number in loop.wait(block=False):
        if kind == nursery.RESERVE:
            third.nursery.died(number, process.reap)
    return len(loop._keys)


@pytest.mark.parametrize("how", ["event", "close"])
def test_a_child_whose_claim_was_lost_leaves(scene, how):
    anchor = guard_in_vain(scene, how)
    assert int(anchor.hear()) == 1, "only the wake-up pipe is listened to"
    child = anchor.hear()
    until(lambda: not os.path.exists(f"/proc/{child}/exe"), "the child is gone")
    assert not any(scene.slot(role.slot).generation for role in WATCHER_ROLES)
