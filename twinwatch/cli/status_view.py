"""The status as blocks: a headline, the watchers, the workers."""

from collections.abc import Mapping
from typing import Any

from twinwatch.cli.human import NOTHING, clean, ending, percent, size, span
from twinwatch.cli.status import living
from twinwatch.cli.table import Block, Cell, Line, Table, Tone, line
from twinwatch.core.values import label_of

Entry = Mapping[str, Any]

_STATE_TONES = {"up": Tone.GOOD, "degraded": Tone.DOUBTFUL, "fatal": Tone.BAD, "down": Tone.FAINT}
_PHASE_TONES = {
    "running": Tone.GOOD,
    "starting": Tone.DOUBTFUL,
    "stopping": Tone.DOUBTFUL,
    "backoff": Tone.DOUBTFUL,
    "paused": Tone.DOUBTFUL,
    "stopped": Tone.FAINT,
    "fatal": Tone.BAD,
    "dead": Tone.BAD,
}
_HEALTH_TONES = {"healthy": Tone.GOOD, "unhealthy": Tone.BAD}

_NOT_GUARDED = "both watchers are dead: nothing is guarded; `twinwatch up` brings them back"
_ANCHOR_WAITS = "its anchor waits: `twinwatch up` has it start the pair"
_ENDING = "told to be down: it is ending"
_ENDED_HALFWAY = "told to be down, but something lives on: `twinwatch down` ends it"

_WATCHER_TITLES = ("WATCHER", "PID", "GEN", "PHASE", "BORN BY", "UPTIME", "HEARTBEAT", "RESERVES")
_WORKER_TITLES = (
    *("NAME", "PID", "GEN", "PHASE", "READY", "HEALTH", "RESTARTS", "UPTIME", "MEM", "CPU"),
    "LAST EXIT",
)
_NUMBERS = frozenset({"PID", "GEN", "RESTARTS", "UPTIME", "HEARTBEAT", "MEM", "CPU"})


def blocks(status: Entry) -> list[Block]:
    """Everything that `status` shows."""
    found: list[Block] = [_headline(status), *_remarks(status)]
    if any(status["watchers"].values()):
        found.append(_watchers(status))
    if status["workers"]:
        found += [line(""), _workers(status)]
    return found


def _headline(status: Entry) -> Line:
    state = str(status["state"])
    return Line(
        (
            Cell(f"{status['pair']}: ", Tone.STRONG),
            Cell(state, _STATE_TONES.get(state, Tone.PLAIN)),
            Cell(f"  configuration {status['config_generation'] or NOTHING}", Tone.FAINT),
        )
    )


def _remarks(status: Entry) -> list[Block]:
    if status["state"] == "down":
        return [line(_ANCHOR_WAITS, Tone.FAINT)] if _is_anchored(status) else []
    alive = living(status)
    if status.get("desired") == "stop":
        return [line(_ENDING if alive else _ENDED_HALFWAY, Tone.DOUBTFUL)]
    dead = [role for role in status["watchers"] if role not in alive]
    if not dead:
        return []
    if alive:
        return [line(f"watcher {dead[0]} is dead: {alive[0]} is reviving it", Tone.DOUBTFUL)]
    if _is_anchored(status):
        return [line("both watchers are dead: the anchor is reviving them", Tone.DOUBTFUL)]
    return [line(_NOT_GUARDED, Tone.BAD)]


def _is_anchored(status: Entry) -> bool:
    return bool((status.get("anchor") or {}).get("alive"))


def _watchers(status: Entry) -> Table:
    guards: dict[str, Entry | None] = dict(status["watchers"])
    if status.get("anchor"):
        guards["anchor"] = status["anchor"]
    rows = tuple(_watcher(role, guard or {}) for role, guard in guards.items())
    return Table(_WATCHER_TITLES, rows, _NUMBERS)


def _watcher(role: str, guard: Entry) -> tuple[Cell, ...]:
    return (
        Cell(role, Tone.STRONG),
        Cell(_text(guard.get("pid"))),
        Cell(_text(guard.get("generation"))),
        _phase("dead" if guard.get("phase") == "stopped" else guard.get("phase")),
        Cell(_text(guard.get("born_by"))),
        Cell(span(guard.get("uptime_s"))),
        Cell(span(guard.get("heartbeat_age_s"))),
        Cell(",".join(map(str, guard.get("reserves") or ())) or NOTHING),
    )


def _workers(status: Entry) -> Table:
    """With a column for notes where there is one."""
    workers = status["workers"]
    rows = tuple(map(_worker, workers))
    if not any(worker.get("note") for worker in workers):
        return Table(_WORKER_TITLES, rows, _NUMBERS)
    notes = [(Cell(clean(worker.get("note") or NOTHING), Tone.FAINT),) for worker in workers]
    noted = tuple(row + note for row, note in zip(rows, notes, strict=True))
    return Table((*_WORKER_TITLES, "NOTE"), noted, _NUMBERS)


def _worker(worker: Entry) -> tuple[Cell, ...]:
    name = label_of(worker["name"], worker["instance"])
    health = _text(worker["health"])
    return (
        Cell(clean(name), Tone.STRONG),
        Cell(_text(worker["pid"])),
        Cell(_text(worker["generation"])),
        _phase(worker["phase"]),
        Cell(_text(worker["ready"])),
        Cell(health, _HEALTH_TONES.get(health, Tone.PLAIN)),
        Cell(_text(worker["restarts"])),
        Cell(span(worker["uptime_s"])),
        Cell(size(worker["memory_bytes"])),
        Cell(percent(worker["cpu_percent"])),
        Cell(ending(worker["last_exit"]), Tone.FAINT),
    )


def _phase(phase: str | None) -> Cell:
    return Cell(phase or NOTHING, _PHASE_TONES.get(phase or "", Tone.PLAIN))


def _text(value: object) -> str:
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case _:
            return clean(str(value))
