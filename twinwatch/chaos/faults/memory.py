"""A worker in a memory cgroup that uses more than it may: the kernel kills it."""

import contextlib
import signal
import time

from twinwatch.chaos import hierarchy, needs, undo
from twinwatch.chaos.fault import ONCE, Blow, Fault, Missed, Strike
from twinwatch.chaos.reader import Look
from twinwatch.chaos.scene import Scene
from twinwatch.linux import cgroup, process

LIMIT = 64 << 20  # bytes; the worker's meal is four times that


def oom(scene: Scene, strike: Strike, look: Look) -> Blow:
    """The worker is told to eat only when the limit is seen to be in force."""
    above = scene.own.groups["memory"]
    table, identity = above.child("table"), look.slots[strike.worker].identity
    path, text = table.memory(LIMIT)
    with contextlib.ExitStack() as stack:
        stack.enter_context(scene.keeper.undoing(undo.empty(table.path, above.path)))
        table.make()
        cgroup.write(path, text)
        if hierarchy.read(path).strip() != text or not table.enter(identity):
            raise Missed
        (pidfd,) = stack.enter_context(scene.opened([identity]))
        began = time.monotonic()
        process.send(pidfd, signal.SIGUSR1)
        process.wait_dead(pidfd, int(scene.patience_s * 1e3))
    return Blow((strike.worker,), began, grown={strike.worker: ONCE}, killed=(strike.worker,))


FAULTS = (
    Fault(
        "oom", "have a worker killed for want of memory (cgroup)", oom, needs=(needs.memory,), workers=True
    ),
)
