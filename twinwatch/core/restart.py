"""After a worker ended: again, when, or never more.

Pure: the time and the chance (for jitter) are arguments. Nothing is held in memory between two deaths;
all that counts (`failures`, `births_ns`) is in the slot, so it survives whoever restarts.
"""

from dataclasses import dataclass

from twinwatch.core.record import Slot
from twinwatch.core.spec import Backoff, OnUnknown, Policy, Restart
from twinwatch.core.values import Ending, Exit, ExitKind, Stage

_ASKED_FOR = frozenset({Ending.RESTART, Ending.RELOAD, Ending.AGE, Ending.GROUP})
_CONVICTED = frozenset({Ending.UNREADY, Ending.UNHEALTHY})  # however it ended then: it had failed


@dataclass(frozen=True, slots=True)
class Again:
    delay_ns: int
    failures: int
    counts: bool  # as a restart: an ordered one does not


@dataclass(frozen=True, slots=True)
class Enough:
    """It ended, and that was all."""

    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


def after_exit(slot: Slot, restart: Restart, now_ns: int, chance: float) -> Again | Enough | GiveUp:
    """What follows the recorded exit of a worker that should run. `chance` is in [0, 1)."""
    if slot.exit.ending in _ASKED_FOR:
        return Again(0, 0, counts=False)
    if slot.exit.kind is ExitKind.ESCAPED:
        return GiveUp("a process of this worker escaped: it is alive beside its dead leader")
    if slot.signed_off and slot.exit.ending is Ending.NONE:
        return Enough("it had signed off")
    held = _held(slot.exit, restart)
    if held and not never_ran(slot.exit):
        return Enough(held)
    if restart.limit and _recent(slot, now_ns - restart.limit.within_ns) >= restart.limit.restarts:
        within = restart.limit.within_ns / 1e9
        return GiveUp(f"more than {restart.limit.restarts} restarts within {within:g} s")
    failures = _failures(slot, restart.backoff)
    return Again(delay_ns(restart.backoff, failures, chance), failures, counts=True)


def never_ran(end: Exit) -> bool:
    """Recorded, but never let through: no policy speaks of that."""
    return end.ending is Ending.GATED or end.stage in (Stage.GATE, Stage.TOKEN)


def _held(end: Exit, restart: Restart) -> str:
    if end.kind is ExitKind.UNKNOWN and restart.on_unknown is OnUnknown.HOLD:
        return "nobody saw how it ended, and on_unknown is hold"
    if restart.policy is Policy.NEVER:
        return "restart policy is never"
    if end.ending in _CONVICTED:
        return ""
    if restart.policy is Policy.ON_FAILURE and end.kind is ExitKind.CLEAN:
        return "it ended with success, and the restart policy is on-failure"
    return ""


def _recent(slot: Slot, since_ns: int) -> int:
    return sum(1 for birth_ns in slot.births_ns if birth_ns > since_ns)


def _failures(slot: Slot, backoff: Backoff) -> int:
    ran_ns = slot.exit.at_ns - slot.born_ns
    if ran_ns >= backoff.reset_ns:
        return 1
    if slot.exit.kind is ExitKind.EXEC_FAILED and not never_ran(slot.exit):
        return max(slot.failures, backoff.burst) + 1
    return slot.failures + 1


def delay_ns(backoff: Backoff, failures: int, chance: float) -> int:
    """Delay before the restart that follows `failures` deaths in a row."""
    step = failures - backoff.burst - 1
    if step < 0:
        return 0
    growth = backoff.factor ** min(step, 64)
    delay = min(backoff.initial_ns * growth, backoff.max_ns)
    return int(delay * (1 + backoff.jitter * (2 * chance - 1)))
