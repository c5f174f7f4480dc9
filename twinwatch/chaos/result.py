"""The result of a run as one JSON document (schema 1: fields are only ever added)."""

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from twinwatch.chaos.judge import TITLES, Broken
from twinwatch.chaos.menu import Offer
from twinwatch.core.spec import PairSpec

RECOVERED, EXTINCT, BROKEN = "recovered", "extinct", "broken"


@dataclass(frozen=True, slots=True)
class Event:
    """One strike. Times in milliseconds from the strike (`again_ms`: until what was killed runs again).

    `whole_ms`: until the pair could lose as much once more; from the moment at which what was held
    (stopped, frozen, limited) was let go, if anything was.
    """

    at_s: float
    fault: str
    targets: tuple[str, ...]
    gap_ms: float | None = None
    detail: dict[str, object] = field(default_factory=dict)
    again_ms: float | None = None
    whole_ms: float | None = None
    outcome: str = RECOVERED
    revived: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """What does not change in a run."""

    pair: str
    throw_away: bool
    seed: int
    command: str
    spec: PairSpec
    offers: Sequence[Offer]
    asked: Sequence[str]


def spread(times: Iterable[float], digits: int = 1) -> dict[str, float] | None:
    """Median, 95th percentile (nearest rank) and maximum."""
    ordered = sorted(times)
    if not ordered:
        return None
    picked = statistics.median(ordered), ordered[-(-95 * len(ordered) // 100) - 1], ordered[-1]
    return dict(zip(("median", "p95", "max"), (round(value, digits) for value in picked), strict=True))


def summary(events: Sequence[Event]) -> dict[str, object]:
    """For each fault that was done: how often, and how long it took."""
    found: dict[str, object] = {}
    for fault in dict.fromkeys(event.fault for event in events):
        mine = [event for event in events if event.fault == fault]
        found[fault] = {
            "count": len(mine),
            "extinct": sum(event.outcome == EXTINCT for event in mine),
            "again_ms": spread(one.again_ms for one in mine if one.again_ms is not None),
            "whole_ms": spread(one.whole_ms for one in mine if one.whole_ms is not None),
            "gap_ms": spread((one.gap_ms for one in mine if one.gap_ms is not None), 3),
        }
    return found


def document(
    about: About,
    duration_s: float,
    events: Sequence[Event],
    broken: Sequence[Broken],
    *,
    ended_themselves: int = 0,
    crashes: Sequence[str] = (),
    missed: int = 0,
    evidence: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, object]:
    """The whole of it."""
    return {
        "schema": 1,
        "pair": about.pair,
        "throw_away": about.throw_away,
        "seed": about.seed,
        "command": about.command,
        "duration_s": round(duration_s, 1),
        "machine": machine(),
        "settings": {
            "interval_s": about.spec.watch.interval_ns / 1e9,
            "timeout_s": about.spec.watch.timeout_ns / 1e9,
            "reserve": about.spec.watch.reserve,
        },
        "faults": [
            {
                "name": one.fault.name,
                "available": not one.why,
                "why": one.why or None,
                "asked": one.fault.name in about.asked,
            }
            for one in about.offers
        ],
        "events": [asdict(event) for event in events],
        "broken": [asdict(one) | {"title": TITLES[one.promise]} for one in broken],
        "summary": summary(events),
        "missed": missed,
        "workers_ended_themselves": ended_themselves,
        "crashes": list(crashes),
        "evidence": dict(evidence or {}),
        "verdict": "broken" if broken else "kept",
    }


def machine() -> dict[str, object]:
    """What the figures are worth depends on it."""
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "model": _model(),
    }


def _model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
            return next(names, platform.machine())
    except (FileNotFoundError, PermissionError):
        return platform.machine()
