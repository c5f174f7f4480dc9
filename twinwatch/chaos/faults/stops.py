"""STOP and CONT: for a moment, or until the one that stands still is replaced."""

from twinwatch.chaos.fault import ONCE, Blow, Fault, Missed, Strike
from twinwatch.chaos.reader import RESERVE, Look
from twinwatch.chaos.scene import Scene
from twinwatch.core.values import Identity

SHORT = 0.4  # of watch.timeout, at most: a stop that is no hang
WHO = ("watcher for a moment", "watcher", "both watchers", "reserve", "worker")


def stop_cont(scene: Scene, strike: Strike, look: Look) -> Blow:
    """A watcher beyond `watch.timeout` is replaced while it stands still; all others come back unharmed."""
    who = strike.chance().choice(WHO if strike.worker else WHO[:-1])
    first, second = strike.watchers
    if who == "watcher":
        return _replaced(scene, look, (first,), who)
    if who == "both watchers":
        return _replaced(scene, look, (first, second), who)
    if who == "watcher for a moment":
        moment_s = strike.span * SHORT * scene.timeout_s
        return _resumed(scene, first, [look.slots[first].identity], moment_s, who)
    if who == "worker":
        span_s = strike.span * 2 * scene.timeout_s
        return _resumed(scene, strike.worker, [look.slots[strike.worker].identity], span_s, who)
    reserves = [one for name in strike.watchers for one in look.reserves[name]]
    if not reserves:
        raise Missed
    return _resumed(scene, RESERVE, reserves, strike.span * 2 * scene.timeout_s, who)


def _replaced(scene: Scene, look: Look, names: tuple[str, ...], who: str) -> Blow:
    with scene.stopped([look.slots[name].identity for name in names]) as began:
        again_at = scene.hold_until_back(look, names, 0.0, scene.patience_s)
    return Blow(
        names,
        began,
        grown=dict.fromkeys(names, ONCE),
        killed=names,
        again_at=again_at,
        detail={"stopped": who},
        settles=True,
    )


def _resumed(scene: Scene, name: str, identities: list[Identity], span_s: float, who: str) -> Blow:
    with scene.stopped(identities) as began:
        scene.hold(span_s)
    return Blow(
        (name,),
        began,
        released=began + span_s,
        detail={"stopped": who, "held_ms": round(span_s * 1e3)},
        settles=True,
    )


FAULTS = (
    Fault(
        "stop-cont",
        "STOP a watcher, both, reserves or a worker; CONT them later",
        stop_cont,
        own_only=False,
    ),
)
