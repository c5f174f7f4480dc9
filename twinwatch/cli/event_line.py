"""One event: read from its line, chosen or not, and told in one line."""

import json
from dataclasses import dataclass
from typing import Any

from twinwatch.cli.human import NOTHING, clean, ending

Event = dict[str, Any]

_TOLD_FIRST = frozenset({"time", "event", "slot", "old", "new", "reason", "exit"})
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
