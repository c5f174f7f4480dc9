"""Which slot of the state file each worker instance has.

Invariants: an instance that stays keeps its slot; no two share one; a slot that is given up stays
empty for one generation, so that what still ends there is never taken for a newcomer.
"""

from collections.abc import Iterable
from itertools import count

from twinwatch.core.spec import WorkerSpec
from twinwatch.core.values import FIRST_WORKER_SLOT

Place = tuple[int, str, int]  # slot index, worker name, instance


def assign_places(workers: Iterable[WorkerSpec], previous: Iterable[Place]) -> tuple[Place, ...]:
    """The places of a new generation, by slot; newcomers get the lowest indexes never in use."""
    held = {(name, instance): slot for slot, name, instance in previous}
    taken = set(held.values())
    free = (slot for slot in count(FIRST_WORKER_SLOT) if slot not in taken)
    wanted = [(worker.name, instance) for worker in workers for instance in range(worker.instances)]
    return tuple(sorted((held[key] if key in held else next(free), *key) for key in wanted))
