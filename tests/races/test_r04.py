"""R04: two guards saw the same generation dead, and both give birth to the next."""

from dataclasses import replace

from scene import JOB, Scene, rest, taken_out, until

from twinwatch.core import fence
from twinwatch.core.values import Role
from twinwatch.linux.identity import is_alive
from twinwatch.linux.statefile import StateFile


def two_claims(scene: Scene) -> list[bool]:
    """Who won, of two that saw the worker's slot free at the same moment."""
    seen = scene.state.read(JOB)
    born = [scene.bear(scene.gated(), seen=seen) for _ in range(2)]
    return [not isinstance(result, str) for result in born]


def test_the_second_claim_for_a_worker_is_lost(scene):
    assert two_claims(scene) == [True, False]
    until(lambda: scene.births() == [scene.slot().identity.pid], "the one that is recorded runs")
    assert scene.slot().generation == 1


def test_else_a_worker_runs_that_no_slot_names(scene):
    with taken_out(StateFile, "is_current", lambda *_: True):
        assert two_claims(scene) == [True, True]
    until(scene.births, "one of the two runs")
    first, second = (child.identity for child in scene._children)
    assert scene.slot().identity == second
    # The token of the slot lets only one of them through; if that is the first, nobody knows of it.
    assert is_alive(first) or is_alive(second)
    assert scene.slot().generation in (1, 2)
    assert len({first, second}) == 2


def takeovers(scene: Scene) -> list[int]:
    """How `a` is killed, and its two reserves take its role over. PIDs of those that live on."""

    def fork_two(say):
        pids = [scene.gated(Role.A).pid for _ in range(2)]
        say(f"{pids[0]} {pids[1]}")
        rest()

    watcher = scene.hold(Role.A, fork_two)
    pids = [int(pid) for pid in watcher.hear().split()]
    reserves = {pid: scene_pidfd for pid, scene_pidfd in zip(pids, map(open_pidfd, pids), strict=True)}
    watcher.kill()
    return decided(scene, reserves)


def open_pidfd(pid):
    import os

    return os.pidfd_open(pid)


def decided(scene, reserves):
    import os

    from twinwatch.linux.identity import is_dead

    try:
        until(lambda: any(is_dead(fd) for fd in reserves.values()) or generation(scene) == 3, "both have decided")
        until(lambda: generation(scene) > 1, "one has won")
        return [pid for pid, fd in reserves.items() if not is_dead(fd)]
    finally:
        for fd in reserves.values():
            os.close(fd)


def generation(scene):
    return scene.slot(Role.A.slot).generation


def test_one_of_two_reserves_gets_the_role(scene):
    assert takeovers(scene) == [scene.slot(Role.A.slot).identity.pid]


def test_else_both_reserves_have_it(scene):
    whole = fence.objection

    def blind(claim, header, own, slot):
        return whole(claim, header, own, replace(slot, generation=claim.generation))

    with taken_out(fence, "objection", blind):
        assert len(takeovers(scene)) == 2
