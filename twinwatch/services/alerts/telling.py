"""The loop: read the event log, collect, keep, send.

The order is the promise: what was read is collected, what is collected is kept together with how far was
read, what is sent was kept before, what was delivered is ticked off after. An alert has at most one message
on its way; meanwhile its news is collected, which is bounded (`core.grouping`). A child is not held to its
time while this process itself was late (frozen, or on an overloaded machine).
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from twinwatch.core import grouping
from twinwatch.core.grouping import Window
from twinwatch.core.news import Event, Reader, is_about
from twinwatch.core.spec import Alert
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import WATCHER_ROLES
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.journal import Journal, Mark
from twinwatch.services.alerts import ledger, message
from twinwatch.services.alerts.attempt import Attempt, target_of
from twinwatch.services.alerts.ledger import Ledger, Parcel
from twinwatch.services.room import Room

POLL_NS = 500 * MILLISECOND_NS  # how often the event log is looked at
RETRY_FIRST_NS = SECOND_NS
RETRY_MAX_NS = 60 * SECOND_NS
LATE_NS = SECOND_NS
FLUSH_NS = 2 * SECOND_NS  # at the end, for what is on its way
KILLED_NS = 500 * MILLISECOND_NS  # then, for what had to be killed
OWN_SLOT = "_alerts"
_WATCHERS = frozenset(role.label for role in WATCHER_ROLES)
_MARKING = (b'"stopped"', b'"configuration"')  # no other line can say where to begin: the log is long


@dataclass(slots=True)
class Target:
    """One alert: what is collected for it, and what is on its way."""

    alert: Alert
    window: Window = field(default_factory=Window)
    parcel: Parcel | None = None
    attempt: Attempt | None = None

    def next_ns(self) -> int | None:
        """When there is something to do for it, if nothing happens."""
        if self.attempt is not None:
            return None if self.attempt.is_ended else self.attempt.deadline_ns
        return self.parcel.due_ns if self.parcel is not None else grouping.due_ns(self.window)


def main(room: Room) -> None:
    telling = Telling(room)
    while not room.is_ending:
        room.beat()
        if room.refresh():
            telling.adopt()
        telling.wait(has_more=telling.work())
    telling.finish()


class Telling:
    def __init__(self, room: Room) -> None:
        self._room = room
        self._path = f"{room.paths.state}/alerts.json"
        self._host = os.uname().nodename
        self._targets: dict[str, Target] = {}
        self._is_kept = False  # `alerts.json` says what is here
        self._seen_ns = monotonic_ns()  # when this process last looked at the clock, on time or not
        kept = self._recall()
        self._journal = Journal(room.paths.events, kept.positions if kept else {})
        self._reader = Reader(kept.asked if kept else None)
        if kept is None:
            self._journal.begin(_mark_of)
        self.adopt(kept)

    def _recall(self) -> Ledger | None:
        try:
            return ledger.read(self._path)
        except ledger.Unreadable as unreadable:
            self._room.tell("alerts-forgotten", reason=str(unreadable))
            return None

    def adopt(self, kept: Ledger | None = None) -> None:
        """Take the alerts of the configuration over. What is there for one that is as it was, stays."""
        old, self._targets = self._targets, {}
        now_ns = monotonic_ns()
        for key, alert in _keyed(self._room.spec.alerts):
            target = old.pop(key, None) or Target(alert)
            if kept is not None and key in kept.targets:
                target.window, target.parcel = kept.targets[key]
            target.alert = alert
            target.window = grouping.bounded(target.window, now_ns, alert.interval_ns)
            self._targets[key] = target
        for target in old.values():
            self._abandon(target)
        self._is_kept = False

    # ------------------------------------------------------------ a round

    def work(self) -> bool:
        """True: there may be more in the event log."""
        lines = self._journal.step()
        for line in lines:
            self._read(line)
        now_ns = self._time()
        for target in self._targets.values():
            self._look_after(target, now_ns)
            self._pack(target, now_ns)
        self._keep(is_changed=bool(lines))
        for target in self._targets.values():
            self._send(target, now_ns)
        return bool(lines)

    def _read(self, line: bytes) -> None:
        event = _parse(line)
        if event is None:
            return
        kinds = self._reader.kinds(event)
        for target in self._targets.values():
            kind = next((kind for kind in kinds if kind in target.alert.on), None)
            if kind and is_about(event, target.alert.workers):
                target.window = grouping.add(target.window, kind, event)

    def _look_after(self, target: Target, now_ns: int) -> None:
        attempt = target.attempt
        if attempt is None:
            return
        if attempt.is_over:
            target.attempt = None
            self._settle(target, attempt.close(), now_ns)
        elif now_ns >= attempt.deadline_ns and not attempt.is_ended:
            attempt.end()

    def _settle(self, target: Target, failure: str, now_ns: int) -> None:
        """One attempt is over."""
        parcel = target.parcel
        self._is_kept = False
        if parcel is None or not failure:
            target.parcel = None
            return
        parcel.failures += 1
        parcel.due_ns = now_ns + min(RETRY_FIRST_NS << min(parcel.failures - 1, 32), RETRY_MAX_NS)
        if parcel.failures > target.alert.retries:
            target.parcel = None
            self._tell_failure(target.alert, parcel, failure)

    def _tell_failure(self, alert: Alert, parcel: Parcel, reason: str) -> None:
        about = parcel.document
        self._room.tell(
            "alert-failed",
            target=target_of(alert),
            reason=reason,
            attempts=parcel.failures,
            kind=about.get("kind"),
            count=about.get("count"),
            id=about.get("id"),
        )

    def _pack(self, target: Target, now_ns: int) -> None:
        """Make a message of what is collected, if it is due and the one before has arrived."""
        if target.parcel is not None:
            return
        group, target.window = grouping.take(target.window, now_ns, target.alert.interval_ns)
        if group is not None:
            target.parcel = Parcel(message.document(self._room.paths.pair, self._host, group))
            self._is_kept = False

    def _keep(self, *, is_changed: bool) -> None:
        if is_changed or not self._is_kept:
            targets = {key: (target.window, target.parcel) for key, target in self._targets.items()}
            kept = Ledger(self._journal.positions, self._reader.asked, targets)
            self._is_kept = ledger.write(self._path, kept)

    def _send(self, target: Target, now_ns: int) -> None:
        parcel = target.parcel
        if parcel is None or target.attempt is not None or now_ns < parcel.due_ns:
            return
        token = self._room.paths.token(OWN_SLOT, 0)
        try:
            target.attempt = Attempt(target.alert, parcel.document, token, now_ns)
        except (OSError, ValueError) as error:  # any errno: it is told
            self._settle(target, getattr(error, "strerror", None) or str(error), now_ns)

    # ------------------------------------------------------------ waiting

    def wait(self, *, has_more: bool) -> None:
        now_ns = self._time()
        due = [due_ns for target in self._targets.values() if (due_ns := target.next_ns()) is not None]
        until_ns = now_ns if has_more else max(now_ns, min([*due, now_ns + POLL_NS]))
        self._wait_until(until_ns)

    def _wait_until(self, until_ns: int) -> None:
        pidfds = [attempt.pidfd for attempt in self._attempts()]
        self._room.wait(until_ns - self._time(), *pidfds)
        self._time(until_ns)

    def _time(self, expected_ns: int = 0) -> int:
        """Now. If it is much later than it should be, children get the time that this process missed."""
        now_ns = monotonic_ns()
        late_ns = now_ns - max(expected_ns, self._seen_ns)
        self._seen_ns = now_ns
        if late_ns > LATE_NS:
            for attempt in self._attempts():
                attempt.deadline_ns += late_ns
        return now_ns

    def _attempts(self) -> list[Attempt]:
        return [target.attempt for target in self._targets.values() if target.attempt is not None]

    # ------------------------------------------------------------ the end

    def finish(self) -> None:
        """One attempt for all that is there; what does not arrive is kept for the next time."""
        while lines := self._journal.step():
            for line in lines:
                self._read(line)
        now_ns = monotonic_ns()
        for target in self._targets.values():
            target.window = grouping.bounded(target.window, now_ns, 0)
            self._pack(target, now_ns)
            if target.parcel is not None:
                target.parcel.due_ns = 0
        self._keep(is_changed=True)
        self._send_last(now_ns)
        self._keep(is_changed=True)

    def _send_last(self, now_ns: int) -> None:
        for target in self._targets.values():
            self._send(target, now_ns)
        until_ns = now_ns + FLUSH_NS
        while self._attempts() and monotonic_ns() < until_ns:
            self._wait_until(until_ns)
            for target in self._targets.values():
                if target.attempt is not None and target.attempt.is_over:
                    self._part(target)
        for target in self._targets.values():
            self._abandon(target)

    def _part(self, target: Target) -> None:
        attempt, target.attempt = target.attempt, None
        if attempt is not None and not attempt.close():
            target.parcel = None

    def _abandon(self, target: Target) -> None:
        """End its child, and collect it if it dies as it should."""
        attempt = target.attempt
        if attempt is None:
            return
        attempt.end()
        if attempt.wait_over(KILLED_NS):
            attempt.close()
        target.attempt = None


def _keyed(alerts: tuple[Alert, ...]) -> Iterator[tuple[str, Alert]]:
    """Each alert with a name that stays while whom it tells and of what stays."""
    seen: dict[str, int] = {}
    for alert in alerts:
        what = (alert.on, alert.workers, alert.command, alert.webhook, alert.apprise)
        digest = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
        seen[digest] = seen.get(digest, 0) + 1
        yield f"{digest}.{seen[digest]}", alert


def _mark_of(line: bytes) -> Mark:
    """This service was started because it was wanted: what happened before, nobody wanted told.

    Wanted since the pair began to live, or since the configuration came in that wants it. Another worker may
    have been born, and have died, before it. Its own birth after a death is no beginning: the dead one may
    have kept nothing yet.
    """
    if not any(word in line for word in _MARKING):
        return Mark.NONE
    event = _parse(line) or {}
    if event.get("event") == "configuration":
        return Mark.ANEW
    change = event.get("old"), event.get("new")
    if event.get("slot") == OWN_SLOT and change == ("stopped", "starting"):
        return Mark.START
    if event.get("slot") not in _WATCHERS:
        return Mark.NONE
    if change == ("stopped", "starting"):
        return Mark.LIFE
    return Mark.OVER if event.get("new") == "stopped" else Mark.NONE


def _parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None  # torn, or foreign
    return event if isinstance(event, dict) else None
