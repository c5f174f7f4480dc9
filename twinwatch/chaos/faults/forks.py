"""No more processes: forks fail, and what was forked ahead of need has to do."""

import contextlib
import os
import resource
import time

from twinwatch.chaos import hierarchy, needs
from twinwatch.chaos.fault import ONCE, Blow, Fault, Strike
from twinwatch.chaos.reader import Look
from twinwatch.chaos.scene import Scene

HELD_S = 2.0  # at most


def fork_failure(scene: Scene, strike: Strike, look: Look) -> Blow:
    """A watcher or a worker is killed while no fork succeeds: a reserve takes its place.

    By the pids cgroup of the pair; where there is none, by RLIMIT_NPROC of both watchers, which binds any
    user but root.
    """
    name = strike.chance().choice((strike.watchers[0], strike.worker))
    held_s = strike.span * HELD_S
    with contextlib.ExitStack() as stack:
        if group := scene.own.groups.get("pids"):
            here = int(hierarchy.read(f"{group.path}/pids.current") or 1)
            stack.enter_context(scene.written(group.processes(here), group.processes(None)))
        elif os.geteuid() != 0:
            for watcher in strike.watchers:
                identity = look.slots[watcher].identity
                stack.enter_context(scene.limited(identity, resource.RLIMIT_NPROC, 0))
        began, _ = scene.kill([look.slots[name].identity])
        again_at = scene.hold_until_back(look, (name,), held_s, scene.patience_s)
    return Blow(
        (name,),
        began,
        grown={name: ONCE},
        killed=(name,),
        again_at=again_at,
        released=time.monotonic(),
        detail={"back_without_forks": again_at is not None, "held_ms": round(held_s * 1e3)},
        settles=True,
    )


FAULTS = (
    Fault(
        "fork-failure",
        "no fork succeeds while a watcher or worker is killed",
        fork_failure,
        needs=(needs.forks,),
        workers=True,
    ),
)
