"""Whether a slot is where it stays: what `up`, `reload` and the anchor wait for."""

from twinwatch.core.record import Slot
from twinwatch.core.spec import PairSpec
from twinwatch.core.values import Desired, ExitKind, Phase

_SETTLED = frozenset({Phase.RUNNING, Phase.PAUSED, Phase.STOPPED, Phase.FATAL})


def is_settled(slot: Slot, name: str, instance: int, spec: PairSpec) -> bool:
    """Running as it should be now, ended for good, or given up."""
    if (slot.name, slot.instance) != (name, instance):
        return False
    worker = spec.worker_named(name)
    if worker is None:
        return False
    if slot.phase is Phase.RUNNING:
        is_job = worker.ready is not None and worker.ready.exit
        right = slot.birth_hash == worker.birth_hash and slot.generation > slot.end_generation
        return right and (slot.ready or is_job)
    if slot.phase is Phase.STOPPED and slot.desired is Desired.RUN:
        return slot.generation > slot.end_generation and slot.exit.kind is not ExitKind.NONE
    return slot.phase in _SETTLED
