"""How many messages somebody gets: one at once, then one for each interval, however much happens.

What is `fatal` does not wait for the interval that an earlier, lesser message began: so there are at most
two messages within one. A group is bounded: it counts everything, by slot and kind while there is room,
and keeps the first and the last few events. Nothing here reads a clock.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from twinwatch.core.news import KINDS, Event

URGENT = "fatal"
PLACES_MAX = 64  # (slot, kind)s counted apart
SHOWN_FIRST = 10
SHOWN_LAST = 10
TEXT_MAX = 500  # characters of one text in a kept event

Counts = dict[str, dict[str, int]]  # slot -> kind -> how often


@dataclass(frozen=True, slots=True)
class Group:
    """News for one message. `others`: how many were of slots for which there was no room."""

    counts: Counts
    count: int
    others: int
    kind: str  # the gravest
    head: tuple[Event, ...]
    tail: tuple[Event, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        return (*self.head, *self.tail)


@dataclass(frozen=True, slots=True)
class Window:
    """What one alert's news may do now: go out, or wait until `until_ns`."""

    until_ns: int = 0
    hurried: bool = False  # this interval has had its urgent message
    group: Group | None = None


def add(window: Window, kind: str, event: Event) -> Window:
    """`kind`: one of KINDS."""
    event = _shortened(event)
    slot = str(event.get("slot") or "")
    old = window.group
    if old is None:
        return replace(window, group=Group({slot: {kind: 1}}, 1, 0, kind, (event,)))
    counts = _counted(old.counts, slot, kind)
    group = replace(
        old,
        counts=counts or old.counts,
        count=old.count + 1,
        others=old.others + (counts is None),
        kind=min(old.kind, kind, key=KINDS.index),
        head=old.head if len(old.head) == SHOWN_FIRST else (*old.head, event),
        tail=(*old.tail, event)[-SHOWN_LAST:] if len(old.head) == SHOWN_FIRST else (),
    )
    return replace(window, group=group)


def due_ns(window: Window) -> int | None:
    """When the group goes out. None: there is none."""
    if window.group is None:
        return None
    return 0 if window.group.kind == URGENT and not window.hurried else window.until_ns


def take(window: Window, now_ns: int, interval_ns: int) -> tuple[Group | None, Window]:
    """The group, if it is due, and the window that begins with it."""
    due = due_ns(window)
    if window.group is None or due is None or due > now_ns:
        return None, window
    return window.group, Window(now_ns + interval_ns, hurried=window.group.kind == URGENT)


def bounded(window: Window, now_ns: int, interval_ns: int) -> Window:
    """As kept by an earlier process, perhaps of an earlier boot: no wait is longer than the interval."""
    return replace(window, until_ns=min(window.until_ns, now_ns + interval_ns))


def _counted(counts: Counts, slot: str, kind: str) -> Counts | None:
    """With one more; None: there is no room for it."""
    kinds = counts.get(slot, {})
    if kind not in kinds and sum(map(len, counts.values())) >= PLACES_MAX:
        return None
    return counts | {slot: kinds | {kind: kinds.get(kind, 0) + 1}}


def _shortened(value: Event) -> Event:
    return {key: _short(item) for key, item in value.items()}


def _short(value: object) -> object:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return value[:TEXT_MAX] if isinstance(value, str) else value


# ---------------------------------------------------------------- as kept in a file


def to_fields(window: Window) -> dict[str, Any]:
    return asdict(window)


def from_fields(fields: dict[str, Any]) -> Window:
    """Raises KeyError, TypeError, ValueError, AttributeError for what `to_fields` did not make."""
    kept = fields["group"]
    group = None
    if kept is not None:
        events = {name: tuple(map(dict, kept[name])) for name in ("head", "tail")}
        counts = {slot: dict(kinds) for slot, kinds in kept["counts"].items()}
        group = Group(**kept | events | {"counts": counts})
        if group.kind not in KINDS or not group.head:
            raise ValueError(group.kind)
    return Window(int(fields["until_ns"]), bool(fields["hurried"]), group)
