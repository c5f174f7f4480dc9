"""What is said of a group of news: the document that targets get, and its line and text for people.

Documents keep their shape: a new key may come, and `schema` grows when one changes its meaning or goes.
"""

import hashlib
import json
from typing import Any

from twinwatch.core.grouping import Counts, Group
from twinwatch.core.news import KINDS, Event

SCHEMA = 1
SUBJECT_MAX = 200  # characters
PLACES_TOLD = 5  # slots in the subject

Document = dict[str, Any]

_WORDS = {
    "wedged": "stuck",
    "twin-lost": "lost",
    "anchor-lost": "lost",
    "resources": "over a limit",
    "hook": "hook failed",
    "log": "log not rotated",
}


def document(pair: str, host: str, group: Group) -> Document:
    events = list(group.events)
    digest = hashlib.sha256(json.dumps([pair, host, group.counts, group.count, events]).encode())
    return {
        "schema": SCHEMA,
        "id": digest.hexdigest()[:16],
        "pair": pair,
        "host": host,
        "kind": group.kind,
        "subject": subject(pair, group),
        "text": text(pair, group),
        "count": group.count,
        "workers": [slot for slot in group.counts if slot],
        "first": events[0],
        "last": events[-1],
        "events": events,
    }


def environment(told: Document) -> dict[str, str]:
    """What a command learns without reading JSON."""
    return {
        "TWINWATCH_ALERT_KIND": told["kind"],
        "TWINWATCH_ALERT_PAIR": told["pair"],
        "TWINWATCH_ALERT_WORKERS": " ".join(map(_line, told["workers"])),
        "TWINWATCH_ALERT_SUBJECT": told["subject"],
        "TWINWATCH_ALERT_COUNT": str(told["count"]),
    }


def subject(pair: str, group: Group) -> str:
    """`shop: web restarted 812 times, fatal once`, or the one thing that happened, and why."""
    if group.count == 1:
        return _line(f"{pair}: {_happening(group.head[0], group.kind)}")[:SUBJECT_MAX]
    places = sorted(group.counts, key=lambda slot: _gravity(group.counts[slot]))
    parts = [_tally(slot, group.counts) for slot in places[:PLACES_TOLD]]
    left = len(places) - PLACES_TOLD
    if left > 0:
        parts.append(f"{left} more")
    return _line(f"{pair}: {'; '.join(parts)}")[:SUBJECT_MAX]


def text(pair: str, group: Group) -> str:
    first, last = group.events[0], group.events[-1]
    lines = [f"pair {pair}", *(_tally(slot, group.counts) for slot in group.counts)]
    if group.others:
        lines.append(f"and {group.others} times something else")
    if group.count == 1:
        return "\n".join([*lines, _moment(first)])
    return "\n".join([*lines, f"first: {_moment(first)}", f"last: {_moment(last)}"])


def _gravity(kinds: dict[str, int]) -> int:
    return min(map(KINDS.index, kinds))


def _tally(slot: str, counts: Counts) -> str:
    kinds = counts[slot].items()
    told = ", ".join(f"{_WORDS.get(kind, kind)} {_times(count)}" for kind, count in kinds)
    return f"{slot} {told}" if slot else told


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _happening(event: Event, kind: str) -> str:
    told = f"{event.get('slot', '')} {_WORDS.get(kind, kind)}".strip()
    reason = event.get("reason") or _exit(event)
    return f"{told}: {reason}" if reason else told


def _exit(event: Event) -> str:
    end = event.get("exit")
    if not isinstance(end, dict):
        return ""
    if end.get("signal"):
        return f"signal {end['signal']}"
    return f"exit code {end['code']}" if end.get("code") is not None else str(end.get("kind", ""))


def _moment(event: Event) -> str:
    """One event in one line."""
    what = f"{event['old']} -> {event['new']}" if "old" in event and "new" in event else event.get("event")
    parts = (event.get("time"), event.get("slot"), what, event.get("reason"), _exit(event))
    return _line("  ".join(str(part) for part in parts if part))


def _line(value: str) -> str:
    """No line break, no control character: it may become a header of a mail."""
    return "".join(char if char.isprintable() else " " for char in value)
