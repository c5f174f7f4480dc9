"""The cgroup freezer: the whole pair as in a suspend, or one watcher that no signal reaches."""

import contextlib
import time

from twinwatch.chaos import needs, undo
from twinwatch.chaos.fault import AT_MOST_ONCE, Blow, Fault, Missed, Strike
from twinwatch.chaos.hierarchy import Group
from twinwatch.chaos.reader import Look
from twinwatch.chaos.scene import Scene

FROZEN_S = 5.0  # until all of a group stands still
LONG = 2.5  # of watch.timeout, at most


def freeze(scene: Scene, strike: Strike, look: Look) -> Blow:
    """A frozen pair comes back as it was (P9); a frozen watcher is replaced when it is dead (R17)."""
    chance = strike.chance()
    group = chance.choice(scene.own.freezers)
    if chance.random() < 0.5:
        return _whole_pair(scene, strike, group)
    return _one(scene, strike, look, group)


def _whole_pair(scene: Scene, strike: Strike, group: Group) -> Blow:
    span_s = strike.span * LONG * scene.timeout_s
    with scene.written(group.freezing(on=True), group.freezing(on=False)):
        began = time.monotonic()
        scene.wait(group.is_frozen, FROZEN_S)
        scene.hold(span_s)
    return Blow(
        ("pair",),
        began,
        released=time.monotonic(),
        detail={"frozen": "pair", "freezer": f"v{group.above.version}", "held_ms": round(span_s * 1e3)},
        settles=True,
    )


def _one(scene: Scene, strike: Strike, look: Look, group: Group) -> Blow:
    """A KILL ends it while it is frozen (v2), or at its thaw (v1): until then its role stays its own."""
    name, span_s = strike.watchers[0], strike.span * LONG * scene.timeout_s
    cold = group.child("cold")
    with contextlib.ExitStack() as stack:
        stack.enter_context(scene.keeper.undoing(undo.empty(cold.path, group.path)))
        cold.make()
        if not cold.enter(look.slots[name].identity):
            raise Missed
        stack.enter_context(scene.written(cold.freezing(on=True), cold.freezing(on=False)))
        began = time.monotonic()
        scene.wait(cold.is_frozen, FROZEN_S)
        scene.hold(span_s)
        released = time.monotonic()
    return Blow(
        (name,),
        began,
        grown={name: AT_MOST_ONCE},
        released=released,
        detail={"frozen": "watcher", "freezer": f"v{group.above.version}", "held_ms": round(span_s * 1e3)},
        settles=True,
    )


FAULTS = (Fault("freeze", "freeze the whole pair, or one watcher (cgroup)", freeze, needs=(needs.freezer,)),)
