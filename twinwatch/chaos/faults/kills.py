"""KILL: one, both, all of them; by their record, by name, by group, by session."""

import os
import signal
import time

from twinwatch.chaos import census
from twinwatch.chaos.fault import OFTEN, ONCE, Blow, Fault, Missed, Strike
from twinwatch.chaos.reader import RESERVE, WATCHERS, Look
from twinwatch.chaos.scene import Scene
from twinwatch.core.values import Identity
from twinwatch.linux import process
from twinwatch.linux.identity import ProcessGone, is_dead, open_pid


def _kill(scene: Scene, look: Look, names: tuple[str, ...], gap_s: float = 0.0) -> Blow:
    slots = look.slots
    began, gap_ms = scene.kill([slots[name].identity for name in names], gap_s)
    return Blow(
        names,
        began,
        grown=dict.fromkeys(names, ONCE),
        killed=names,
        gap_ms=round(gap_ms, 3) if len(names) > 1 else None,
        detail={"gap_asked_ms": round(gap_s * 1e3, 3)} if len(names) > 1 else {},
    )


def kill_a(scene: Scene, _strike: Strike, look: Look) -> Blow:
    return _kill(scene, look, ("watcher a",))


def kill_b(scene: Scene, _strike: Strike, look: Look) -> Blow:
    return _kill(scene, look, ("watcher b",))


def kill_both(scene: Scene, strike: Strike, look: Look) -> Blow:
    return _kill(scene, look, strike.watchers, strike.gap_s)


def kill_worker(scene: Scene, strike: Strike, look: Look) -> Blow:
    return _kill(scene, look, (strike.worker,))


def kill_watchers(scene: Scene, strike: Strike, look: Look) -> Blow:
    """Both and every recorded reserve, in one burst: whoever is born in that moment may be left."""
    everyone = [look.slots[name].identity for name in strike.watchers]
    reserves = [one for name in strike.watchers for one in look.reserves[name]]
    began, gap_ms = scene.kill([*everyone, *reserves])
    targets = (*strike.watchers, *[RESERVE] * len(reserves))
    return Blow(
        targets,
        began,
        grown=dict.fromkeys(strike.watchers, OFTEN),
        killed=strike.watchers,
        gap_ms=round(gap_ms, 3),
        may_end_all=True,
        settles=True,
    )


def kill_by_name(scene: Scene, _strike: Strike, _look: Look) -> Blow:
    """What `pkill -9 -f PAIR` does: one scan of /proc, and a KILL for each that fits.

    What fits and is not a guard of the pair (an editor, this very command) is left alone.
    """
    began = time.monotonic()
    pids = [pid for pid in census.pids() if census.is_guard(pid, scene.paths)]
    killed = sum(_kill_guard(pid, scene) for pid in pids)
    if not killed:
        raise Missed
    names = tuple(WATCHERS.values())
    return Blow(
        names,
        began,
        grown=dict.fromkeys(names, range(10)),
        gap_ms=round((time.monotonic() - began) * 1e3, 3),
        detail={"found": len(pids), "killed": killed},
        may_end_all=True,
        settles=True,
    )


def _kill_guard(pid: int, scene: Scene) -> bool:
    """KILL, if it still is a guard of the pair when its pidfd is open."""
    try:
        pidfd = open_pid(pid)
    except ProcessGone:
        return False
    try:
        is_one = census.is_guard(pid, scene.paths) and not is_dead(pidfd)
        return is_one and process.send(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _victim(strike: Strike, look: Look) -> tuple[str, Identity]:
    """A watcher, or where workers may be struck one time in two a worker."""
    name = strike.watchers[0]
    if strike.worker and strike.chance().random() < 0.5:
        name = strike.worker
    return name, look.slots[name].identity


def kill_group(scene: Scene, strike: Strike, look: Look) -> Blow:
    """KILL to a process group, through the pidfd of its leader. One that it does not lead is left alone."""
    name, identity = _victim(strike, look)
    with scene.opened([identity]) as (pidfd,):
        if census.group_of(identity.pid)[0] != identity.pid:
            raise Missed
        began = time.monotonic()
        if process.send_group(pidfd, signal.SIGKILL) is None:  # before Linux 6.9
            process.send(pidfd, signal.SIGKILL)
        process.wait_dead(pidfd, int(scene.patience_s * 1e3))
    return Blow((name,), began, grown={name: ONCE}, killed=(name,))


def kill_session(scene: Scene, strike: Strike, look: Look) -> Blow:
    """KILL to all that is in the session of a watcher or a worker, and is the pair's."""
    name, identity = _victim(strike, look)
    session = census.group_of(identity.pid)[1]
    if session != identity.pid:
        raise Missed
    members = [pid for pid in census.pids() if census.group_of(pid)[1] == session]
    identities = [one for pid in members if (one := census.of_pair(pid, scene.paths))]
    began, gap_ms = scene.kill(identities)
    return Blow(
        (name,),
        began,
        grown={name: ONCE},
        killed=(name,),
        gap_ms=round(gap_ms, 3),
        detail={"members": len(members)},
    )


FAULTS = (
    Fault("kill-a", "KILL watcher a", kill_a, own_only=False, kind="kills"),
    Fault("kill-b", "KILL watcher b", kill_b, own_only=False, kind="kills"),
    Fault(
        "kill-both", "KILL both watchers, with a gap of 0 to 10 ms", kill_both, own_only=False, kind="kills"
    ),
    Fault("kill-worker", "KILL a worker", kill_worker, own_only=False, workers=True, kind="kills"),
    Fault(
        "kill-watchers",
        "KILL both watchers and all reserves in one burst",
        kill_watchers,
        own_only=False,
        ends_all=True,
        kind="kills",
    ),
    Fault(
        "kill-by-name",
        "KILL all guards that one scan of /proc finds, as pkill -9 -f does",
        kill_by_name,
        own_only=False,
        ends_all=True,
        kind="kills",
    ),
    Fault(
        "kill-group",
        "KILL the process group of a watcher or worker",
        kill_group,
        own_only=False,
        kind="kills",
    ),
    Fault(
        "kill-session", "KILL the session of a watcher or worker", kill_session, own_only=False, kind="kills"
    ),
)
