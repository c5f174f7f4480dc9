"""Recorded PIDs that belong to strangers now: they are neither signalled nor adopted."""

import time

from twinwatch.chaos import needs, private
from twinwatch.chaos.fault import OFTEN, ONCE, Blow, Fault, Strike
from twinwatch.chaos.reader import WATCHERS, Look
from twinwatch.chaos.scene import Scene
from twinwatch.chaos.stranger import Stranger, with_pid


def pid_reuse(scene: Scene, strike: Strike, look: Look) -> Blow:
    """All guards and a worker die; strangers get the PIDs that the record still names; `up` is called."""
    names = (*strike.watchers, strike.worker)
    began = time.monotonic()
    private.extinguish(scene.paths)
    scene.wait(lambda: not scene.guards(), scene.patience_s)
    scene.kill([look.slots[strike.worker].identity])
    strangers: list[Stranger] = []
    for name in names:
        found = with_pid(scene.own.directory, look.slots[name].identity.pid, "twinwatch-a")
        strangers += [found] if found else []

    def verdict() -> list[tuple[str, str]]:
        harms = [("P6", harm) for stranger in strangers if (harm := stranger.harm())]
        for stranger in strangers:
            stranger.close()
        return harms

    return Blow(
        names,
        began,
        grown=dict.fromkeys(WATCHERS.values(), OFTEN) | {strike.worker: ONCE},
        killed=names,
        detail={"reused": len(strangers), "of": len(names)},
        may_end_all=True,
        settles=True,
        verdict=verdict,
    )


FAULTS = (
    Fault(
        "pid-reuse",
        "end all guards and a worker, give their PIDs to strangers, start the pair again",
        pid_reuse,
        needs=(needs.last_pid,),
        ends_all=True,
        workers=True,
    ),
)
