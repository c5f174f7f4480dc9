"""One event: read from its line, chosen or not, and told in one line."""

import json
from dataclasses import dataclass
from typing import Any

from twinwatch.cli.human import NOTHING, clean, ending

Event = dict[str, Any]

_TOLD_FIRST = frozenset({"time", "event", "slot", "old", "new", "reason", "exit"})
_OVERLAP_NS = 1_000_000_000
_OVERLAP_LINES = 64
_UNTOLD = frozenset({"monotonic_ns", "pair"})


def parse(data: bytes) -> Event | None:
    """The event in a line; None for a torn or foreign one."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("time"), str) or "event" not in event:
        return None
    return event


def in_order(events: list[tuple[Event, bytes]]) -> list[tuple[Event, bytes]]:
    """By time, where two watchers wrote at the same moment; an older boot's clock orders nothing.

    A line moves before the few just ahead of it that happened later, by at most `_OVERLAP_NS`.
    """
    ordered: list[tuple[Event, bytes]] = []
    for event in events:
        at = len(ordered)
        while at and len(ordered) - at < _OVERLAP_LINES and _is_late(ordered[at - 1][0], event[0]):
            at -= 1
        ordered.insert(at, event)
    return ordered


def _is_late(before: Event, after: Event) -> bool:
    first, second = before.get("monotonic_ns"), after.get("monotonic_ns")
    return isinstance(first, int) and isinstance(second, int) and 0 < first - second < _OVERLAP_NS


@dataclass(frozen=True, slots=True)
class Choice:
    """Which events are wanted. `since` is a time as events have it; empty: all."""

    names: tuple[str, ...] = ()
    since: str = ""

    def takes(self, event: Event) -> bool:
        if event["time"] < self.since:
            return False
        return not self.names or any(is_meant(str(event.get("slot", "")), name) for name in self.names)


def is_meant(label: str, name: str) -> bool:
    """Whether NAME or NAME:INSTANCE means a slot; instance 0 has the bare name."""
    if name == "all":
        return True
    if ":" in name:
        return label == name.removesuffix(":0")
    return label.partition(":")[0] == name


def describe(event: Event) -> str:
    """`TIME  web:1  running -> backoff  reason  exit 1  generation 4  by b`."""
    parts = [event["time"], f"{event.get('slot') or NOTHING:8}", f"{_happening(event):20}"]
    if event.get("reason"):
        parts.append(event["reason"])
    if isinstance(event.get("exit"), dict):
        parts.append(ending(event["exit"]))
    parts += [f"{key} {_value(value)}" for key, value in event.items() if key not in _TOLD_FIRST | _UNTOLD]
    return "  ".join(clean(str(part)) for part in parts).rstrip()


def _happening(event: Event) -> str:
    if "old" in event and "new" in event:
        return f"{event['old']} -> {event['new']}"
    return str(event["event"])


def _value(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
