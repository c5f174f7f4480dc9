"""The runtime directory is deleted under the living pair."""

import shutil
import time

from twinwatch.chaos.fault import ONCE, Blow, Fault, Strike
from twinwatch.chaos.reader import Look
from twinwatch.chaos.scene import Scene


def lose_directory(scene: Scene, strike: Strike, look: Look) -> Blow:
    """Half the time a watcher or a worker dies with it."""
    chance = strike.chance()
    killed = chance.choice(((), (), (strike.watchers[0],), (strike.worker,)))
    began = time.monotonic()
    shutil.rmtree(scene.paths.runtime, ignore_errors=True)
    if killed:
        scene.kill([look.slots[name].identity for name in killed])
    return Blow(
        (*killed, "runtime directory"),
        began,
        grown=dict.fromkeys(killed, ONCE),
        killed=killed,
        settles=True,
    )


FAULTS = (Fault("lose-directory", "delete the runtime directory", lose_directory, workers=True),)
