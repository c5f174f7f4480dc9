"""The clock that people read is stepped by an hour and back: nothing that guards may look at it."""

import time

from twinwatch.chaos import needs, undo
from twinwatch.chaos.fault import ONCE, Blow, Fault, Strike
from twinwatch.chaos.reader import Look
from twinwatch.chaos.scene import Scene
from twinwatch.core.timing import SECOND_NS
from twinwatch.linux import clock

STEP_NS = 3600 * SECOND_NS
HELD_S = 2.0  # at most


def clock_step(scene: Scene, strike: Strike, look: Look) -> Blow:
    """A watcher is killed meanwhile. Forward or backward."""
    chance = strike.chance()
    by_ns = chance.choice((STEP_NS, -STEP_NS))
    name, held_s = strike.watchers[0], strike.span * HELD_S
    with scene.keeper.undoing(undo.step_clock(-by_ns)):
        clock.step_wall(by_ns)
        began, _ = scene.kill([look.slots[name].identity])
        again_at = scene.hold_until_back(look, (name,), held_s, scene.patience_s)
    return Blow(
        (name,),
        began,
        grown={name: ONCE},
        killed=(name,),
        again_at=again_at,
        released=time.monotonic(),
        detail={"step_s": by_ns // SECOND_NS, "held_ms": round(held_s * 1e3)},
        settles=True,
    )


FAULTS = (
    Fault(
        "clock-step",
        "step CLOCK_REALTIME by an hour and back, kill a watcher meanwhile",
        clock_step,
        needs=(needs.clock,),
    ),
)
