"""A watcher that may open nothing more, while it has something to do."""

import resource
import time

from twinwatch.chaos import census
from twinwatch.chaos.fault import ANY, OFTEN, Blow, Fault, Missed, Strike
from twinwatch.chaos.reader import Look
from twinwatch.chaos.scene import Scene

HELD_S = 1.5  # at most


def exhaust(scene: Scene, strike: Strike, look: Look) -> Blow:
    """A worker dies meanwhile, half the time the twin. The watcher may crash: its twin is the cure.

    What inherited the lowered limit gets the old one back as well.
    """
    name, twin = strike.watchers
    identity = look.slots[name].identity
    used = census.descriptors(identity.pid)
    if not used:
        raise Missed
    killed = twin if strike.chance().random() < 0.5 else strike.worker
    held_s = strike.span * HELD_S
    with scene.limited(identity, resource.RLIMIT_NOFILE, used[-1] + 1):
        began, _ = scene.kill([look.slots[killed].identity])
        again_at = scene.hold_until_back(look, (killed,), held_s, held_s)
    grown = dict.fromkeys(strike.watchers, ANY) | {killed: OFTEN}
    return Blow(
        (name, killed),
        began,
        grown=grown,
        killed=(killed,),
        again_at=again_at,
        released=time.monotonic(),
        detail={"limit": used[-1] + 1, "held_ms": round(held_s * 1e3)},
        settles=True,
    )


FAULTS = (
    Fault(
        "descriptors",
        "a watcher may open nothing more while its twin or a worker is killed",
        exhaust,
        workers=True,
    ),
)
