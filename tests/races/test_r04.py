"""R04: two guards saw the same generation dead, and both give birth to the next."""

import os
from dataclasses import replace

from scene import JOB, Scene, rest, taken_out, until

from twinwatch.core import fence
from twinwatch.core.values import Role
from twinwatch.linux.identity import is_alive, is_dead
from twinwatch.linux.statefile import StateFile


def two_claims(scene: Scene) -> bool:
    """Whether the second wins too, of two that saw the worker's slot free at the same moment."""
    seen = scene.state.read(JOB)
    scene.bear(first := scene.gated(), seen=seen)
    until(lambda: scene.births() == [first.pid], "the first one runs")
    return not isinstance(scene.bear(scene.gated(), seen=seen), str)


def test_the_second_claim_for_a_worker_is_lost(scene):
    assert not two_claims(scene)
    assert scene.slot().identity.pid == scene.births()[0]


def test_else_a_worker_runs_that_no_slot_names(scene):
    with taken_out(StateFile, "is_current", lambda *_: True):
        assert two_claims(scene)
    first, second = (child.identity for child in scene._children)
    assert is_alive(first)
    assert scene.slot().identity == second


def new_holders(scene: Scene) -> int:
    """`a` is killed, and its two reserves take over: how many of them watch in the end."""

    def fork_two(say):
        say(scene.gated(Role.A).pid)
        say(scene.gated(Role.A).pid)
        rest()

    watcher = scene.hold(Role.A, fork_two)
    reserves = [os.pidfd_open(int(watcher.hear())) for _ in range(2)]
    watcher.kill()

    def generation() -> int:
        return scene.slot(Role.A.slot).generation

    try:
        until(lambda: generation() > 1, "one of them has taken over")
        until(lambda: generation() == 3 or any(map(is_dead, reserves)), "the other one has decided")
        return sum(not is_dead(reserve) for reserve in reserves)
    finally:
        for reserve in reserves:
            os.close(reserve)


def test_one_of_two_reserves_gets_the_role(scene):
    assert new_holders(scene) == 1


def test_else_both_have_it(scene):
    whole = fence.objection

    def blind(claim, header, own, slot):
        return whole(claim, header, own, replace(slot, generation=claim.generation))

    with taken_out(fence, "objection", blind):
        assert new_holders(scene) == 2
