"""Rare states, and how a run tells that it was in one of them.

A test that never meets a race proves nothing about its guard. So the functions that the races go through are
listened to; what they do is left as it is.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from twinwatch.linux import identity, process
from twinwatch.linux.birth import Fenced, Seat
from twinwatch.linux.gate import Gate
from twinwatch.linux.lock import LockWedged, StateLock
from twinwatch.linux.statefile import StateFile
from twinwatch.watch import guard, reserve, sight, twin
from twinwatch.watch.guard import Guard
from twinwatch.watch.pair import Pair
from virtual.kernel import Kernel

NAMED = "R02 a reserve finds itself named by a worker's slot"
NAMED_HOLDER = "R02 a reserve finds itself named by a role's slot"
CLAIM_LOST = "R04 a claim is lost by compare"
LOCK_WAITED = "R05 the lock is waited for"
HOLDER_ENDED = "R06 a holder that stands still is ended"
GATED_ENDED = "R07 a gated child is ended and its slot reclaimed"
FENCED = "R08 a watcher is fenced"
PIPE_FIRST = "R10 the pipe ends before the pidfd is readable"
REBUILT = "R12 a lost runtime directory is rebuilt"
ALL_STILL = "R13 a reserve finds both watchers still"
NOT_WANTED = "R14 a child is let through and no longer wanted"
STRANGER_STATUS = "R15 the status of somebody else's child is read"
STAYS = "R17 a convicted watcher does not die at once"
MENDED = "R19 a damaged record is mended"
ESCAPED = "R20 what escaped is ended"
STALE_EVENT = "R21 an event is of a process that was replaced"
TAKEOVER = "a reserve takes over"
CONVICTED = "a watcher that stands still is convicted"
FORK_FAILED = "a fork is refused"
CLAIM_FAILED = "the file system refuses a record"
WEDGED = "the lock is not to be had"
PID_REFUSED = "a PID that is another process's now is refused"
UNKNOWN_EXIT = "how a worker ended stays unknown"

ALL = tuple(value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str))

BY_HAND = (FENCED,)  # as long as R17 holds nothing leads there: `docs/race-analysis.md` says so
_BY_EVENT = {
    "fork-failed": FORK_FAILED,
    "claim-failed": CLAIM_FAILED,
    "wedged": WEDGED,
    "runtime-directory-rebuilt": REBUILT,
    "repaired": MENDED,
    "escaped-ended": ESCAPED,
}


class Listener:
    """Wraps functions of the project; `marks` counts."""

    def __init__(self, kernel: Kernel, marks: Counter[str], patch: pytest.MonkeyPatch) -> None:
        self._kernel = kernel
        self._marks = marks
        self._patch = patch

    def _after(self, target: Any, name: str, heard: Callable[..., None]) -> None:
        """`heard(result, *arguments)` after each call; for one that raised the result is the exception."""
        original = getattr(target, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                result = original(*args, **kwargs)
            except Exception as error:
                heard(error, *args)
                raise
            heard(result, *args)
            return result

        self._patch.setattr(target, name, wrapped)

    def _mark(self, mark: str, is_so: Callable[..., bool] = lambda *_: True) -> Callable[..., None]:
        def heard(*seen: Any) -> None:
            if is_so(*seen):
                self._marks[mark] += 1

        return heard

    def listen(self) -> None:
        after, mark = self._after, self._mark
        after(StateFile, "naming", mark(NAMED, lambda index, *_: isinstance(index, int) and index >= 3))
        after(StateFile, "naming", mark(NAMED_HOLDER, lambda index, *_: isinstance(index, int) and index < 3))
        for module in (guard, twin):
            after(module, "respawn", mark(CLAIM_LOST, lambda born, *_: isinstance(born, str)))
        after(reserve.fence, "objection", mark(CLAIM_LOST, lambda why, *_: isinstance(why, str)))
        after(StateLock, "_wait", mark(LOCK_WAITED))
        after(StateLock, "_wait", mark(WEDGED, lambda why, *_: isinstance(why, LockWedged)))
        after(StateLock, "_end_holder", mark(HOLDER_ENDED))
        after(Seat, "check", mark(FENCED, lambda why, *_: isinstance(why, Fenced)))
        after(reserve, "_claim_role", mark(TAKEOVER, lambda seat, *_: isinstance(seat, Seat)))
        after(reserve._Vigil, "is_all_still", mark(ALL_STILL, lambda still, *_: still is True))
        after(Gate, "fail", mark(NOT_WANTED, lambda _, __, stage, ___: stage.name == "GATE"))
        after(identity, "_check", mark(PID_REFUSED, lambda why, *_: isinstance(why, identity.ProcessGone)))
        after(process, "stranger_status", mark(STRANGER_STATUS, lambda status, *_: isinstance(status, int)))
        after(sight.exits, "decode", mark(UNKNOWN_EXIT, lambda _, status, *__: status is None))
        self._listen_before()
        self._listen_to_events()

    def _listen_before(self) -> None:
        """What must be looked at before the call changes it."""
        ready, wait_parent = Guard.pidfd_ready, Gate.wait_parent
        marks, kernel = self._marks, self._kernel

        def pidfd_ready(this: Guard, index: int) -> None:
            pidfd = this._roster[index].pidfd
            entry = kernel.current.fds.get(pidfd)
            if entry and not entry[0].mask():
                marks[STALE_EVENT] += 1
            ready(this, index)

        def waits_for_parent(this: Gate, timeout_ms: int) -> bool:
            if not kernel.current.fds[this.parent_pidfd][0].mask():
                marks[PIPE_FIRST] += 1
            return wait_parent(this, timeout_ms)

        self._patch.setattr(Guard, "pidfd_ready", pidfd_ready)
        self._patch.setattr(Gate, "wait_parent", waits_for_parent)

    def _listen_to_events(self) -> None:
        tell, marks, kernel = Pair.tell, self._marks, self._kernel

        def told(this: Pair, event: str, **details: Any) -> None:
            if event in _BY_EVENT:
                marks[_BY_EVENT[event]] += 1
            reason = str(details.get("reason", ""))
            if reason == "it did not get through its gate in time":
                marks[GATED_ENDED] += 1
            if reason.startswith("its heartbeat has stood still"):
                marks[CONVICTED] += 1
                marks[STAYS] += "does not die" in reason
            kernel.note("event", kernel.current, event, *sorted(map(str, details.items())))
            tell(this, event, **details)

        self._patch.setattr(Pair, "tell", told)
