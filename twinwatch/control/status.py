"""`status`: the pair as one document (`schema` 1; later versions only add)."""

from contextlib import suppress
from typing import Any

import psutil

from twinwatch.config import snapshot
from twinwatch.control import access
from twinwatch.control.target import Target
from twinwatch.core.checks import NO_HEALTH
from twinwatch.core.record import Damage, Header, Slot
from twinwatch.core.spec import PairSpec
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Desired, ExitKind, Health, Phase, Role
from twinwatch.linux import machine, sole, wishes
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import is_alive
from twinwatch.linux.lock import ELSEWHERE
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile
from twinwatch.watch.pair import describe_exit

SCHEMA = 1
_LIVING = frozenset({Phase.STARTING, Phase.RUNNING, Phase.PAUSED, Phase.STOPPING})


def status(target: Target) -> dict[str, Any]:
    """The pair's status; of a pair that does not run, what is wished of it."""
    return status_of(target.paths)


def status_of(paths: Paths) -> dict[str, Any]:
    try:
        state = StateFile(paths.runtime, 0)
    except FileNotFoundError:
        return _absent(paths)
    try:
        header = access.header_of(state)
        if machine.is_foreign(header):
            return _absent(paths)
        return _document(paths, state, header)
    finally:
        state.close()


def _absent(paths: Paths) -> dict[str, Any]:
    kept = wishes.read(paths)
    anchor = sole.holder(paths)
    return {
        "schema": SCHEMA,
        "pair": paths.pair,
        "state": "down",
        "desired": kept.pair.name.lower(),
        "config_generation": 0,
        "boot_id": machine.boot_id().hex(),
        "anchor": _idle(anchor) if anchor else None,
        "watchers": {role.label: None for role in WATCHER_ROLES},
        "workers": [],
    }


def _idle(pid: int) -> dict[str, Any]:
    """An anchor that waits for its pair to be wanted again."""
    unknown = dict.fromkeys(("generation", "uptime_s", "heartbeat_age_s"))
    known = None if pid == ELSEWHERE else pid
    return {"pid": known, "alive": True, "phase": "idle", "born_by": "init", "reserves": []} | unknown


def _document(paths: Paths, state: StateFile, header: Header) -> dict[str, Any]:
    now_ns = monotonic_ns()
    spec = _spec(paths, header)
    watchers = {role.label: _watcher(state, role, now_ns) for role in WATCHER_ROLES}
    workers = [_worker(state, index, spec, now_ns) for index in range(FIRST_WORKER_SLOT, header.slots)]
    shown = [worker for worker in workers if worker is not None]
    return {
        "schema": SCHEMA,
        "pair": header.pair,
        "state": _state(header, watchers, shown),
        "desired": header.desired.name.lower(),
        "config_generation": header.config_generation,
        "boot_id": header.boot_id.hex(),
        "anchor": _watcher(state, Role.ANCHOR, now_ns),
        "watchers": watchers,
        "workers": shown,
    }


def _spec(paths: Paths, header: Header) -> PairSpec:
    with suppress(snapshot.SnapshotError, FileNotFoundError):
        return snapshot.read(paths.snapshots, header.config_generation)
    return PairSpec(paths.pair)


def _state(header: Header, watchers: dict[str, Any], workers: list[dict[str, Any]]) -> str:
    alive = [watcher for watcher in watchers.values() if watcher and watcher["alive"]]
    if header.desired is Desired.STOP and not alive and all(worker["pid"] is None for worker in workers):
        return "down"
    if any(worker["phase"] == "fatal" for worker in workers):
        return "fatal"
    whole = len(alive) == len(WATCHER_ROLES) and all(w["phase"] == "running" for w in alive)
    return "up" if whole and header.desired is Desired.RUN and all(map(_is_well, workers)) else "degraded"


def _is_well(worker: dict[str, Any]) -> bool:
    if worker["desired"] != "run":
        return True
    if worker["phase"] == "running":
        return bool(worker["ready"]) and worker["health"] != "unhealthy"
    return worker["phase"] == "stopped" and worker["last_exit"] is not None


def _watcher(state: StateFile, role: Role, now_ns: int) -> dict[str, Any] | None:
    try:
        slot = state.slot(role.slot)
    except Damage as damage:
        return {"pid": None, "generation": None, "phase": "damaged", "alive": False, "reason": damage.what}
    if not slot.generation:
        return None
    alive = is_alive(slot.identity)
    beat = state.heartbeat(role)
    reserves = state.reserves(role) if alive else None
    return {
        "pid": slot.identity.pid,
        "alive": alive,
        "generation": slot.generation,
        "phase": slot.phase.name.lower() if alive else "stopped",
        "born_by": "init" if role is Role.ANCHOR else _born_by(slot),
        "uptime_s": _seconds(now_ns - slot.born_ns) if alive else None,
        "heartbeat_age_s": _seconds(now_ns - beat.at_ns) if beat.generation == slot.generation else None,
        "reserves": [i.pid for i in reserves.identities if is_alive(i)] if reserves else [],
    }


def _born_by(slot: Slot) -> str:
    if slot.owner in (Role.NONE, Role.GUEST):
        return "up"
    return f"{slot.owner.label}.{slot.owner_generation}"


def _worker(state: StateFile, index: int, spec: PairSpec, now_ns: int) -> dict[str, Any] | None:
    try:
        slot = state.slot(index)
    except Damage as damage:
        return _damaged(index, spec, damage)
    if slot.phase is Phase.FREE:
        return None
    alive = slot.phase in _LIVING and not slot.is_over and is_alive(slot.identity)
    memory, cpu = _use(slot.identity.pid, (now_ns - slot.born_ns) / 1e9) if alive else (None, None)
    return {
        "name": slot.name,
        "instance": slot.instance,
        "pid": slot.identity.pid if alive else None,
        "generation": slot.generation,
        "phase": slot.phase.name.lower(),
        "desired": slot.desired.name.lower(),
        "owner": slot.owner.label if slot.owner in WATCHER_ROLES else None,
        "ready": slot.ready and slot.phase in (Phase.RUNNING, Phase.PAUSED),
        "health": slot.health.name.lower() if _is_judged(slot, spec) else None,
        "restarts": slot.restarts,
        "uptime_s": _seconds(now_ns - slot.born_ns) if alive else None,
        "last_exit": describe_exit(slot.exit) if slot.exit.kind is not ExitKind.NONE else None,
        "memory_bytes": memory,
        "cpu_percent": cpu,
        "note": slot.note or None,
        "internal": slot.name.startswith("_"),
    }


def _is_judged(slot: Slot, spec: PairSpec) -> bool:
    """Whether anything tells that this worker is well, besides being there."""
    worker = spec.worker_named(slot.name)
    if worker is None:
        return False
    return slot.health is not Health.UNKNOWN or worker.health != NO_HEALTH or worker.resources is not None


def _damaged(index: int, spec: PairSpec, damage: Damage) -> dict[str, Any] | None:
    place = next((place for place in spec.places if place[0] == index), None)
    if place is None:
        return None
    fields = ("pid", "generation", "owner", "health", "uptime_s", "last_exit", "memory_bytes", "cpu_percent")
    named = {"name": place[1], "instance": place[2], "phase": "damaged", "desired": "run"}
    return named | dict.fromkeys(fields) | {"ready": False, "restarts": 0, "reason": damage.what}


def _use(pid: int, lived_s: float) -> tuple[int | None, float | None]:
    """Resident bytes, and CPU use over the process's life in percent of one core."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            used_s = times.user + times.system
            return process.memory_info().rss, round(100 * used_s / max(lived_s, 0.01), 1)
    except psutil.Error:
        return None, None


def _seconds(ns: int) -> float:
    return round(max(ns, 0) / 1e9, 3)
