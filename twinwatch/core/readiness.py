"""When a running worker may be depended on, by when it must, and when it is too old."""

from twinwatch.core.checks import Ready
from twinwatch.core.record import Slot
from twinwatch.core.spec import WorkerSpec
from twinwatch.core.values import Met

_SPREAD = 10  # instances of a worker grow old within this part of `max_age` after one another


def asked(ready: Ready | None) -> Met:
    """The conditions of a worker's readiness."""
    if ready is None:
        return Met.NOTHING
    return (
        (Met.NOTIFY if ready.notify else Met.NOTHING)
        | (Met.HEARTBEAT if ready.heartbeat else Met.NOTHING)
        | (Met.PROBES if ready.probes else Met.NOTHING)
    )


def is_met(slot: Slot, spec: WorkerSpec | None) -> bool:
    """A job that is ready when it has ended well is never ready while it runs."""
    if spec is None or spec.ready is None:
        return True
    return not spec.ready.exit and not asked(spec.ready) & ~slot.met


def until_ns(slot: Slot, spec: WorkerSpec | None, now_ns: int) -> int:
    """By when a program that runs since `now_ns` must be ready; 0: it is ready, or may take its time."""
    if spec is None or spec.ready is None or spec.ready.exit or is_met(slot, spec):
        return 0
    return now_ns + spec.ready.timeout_ns if spec.ready.timeout_ns else 0


def old_ns(slot: Slot, spec: WorkerSpec | None, instance: int) -> int:
    """When it is too old; 0: never. Instances are spread, so that not all are away at once."""
    if spec is None or not spec.max_age_ns:
        return 0
    return slot.born_ns + spec.max_age_ns + spec.max_age_ns * instance // (_SPREAD * spec.instances)
