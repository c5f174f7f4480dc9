"""One worker slot: what is wanted, what is seen, what to do now.

`decide` is asked after every event that may concern a slot, and after each of its own answers, until
it says `Wait`. It holds nothing: what matters is in the record, so any guard can go on where another
was killed. The order of its answers is the protocol: an exit is recorded before it is collected, what
a generation left is ended before the next is born, and a process that does not die has no successor.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

from twinwatch.core import restart
from twinwatch.core.record import Slot
from twinwatch.core.spec import MILLISECOND_NS, SECOND_NS, Stop, WorkerSpec
from twinwatch.core.values import NO_EXIT, Desired, Ending, Exit, ExitKind, Phase

LEFTOVER_PAUSE_NS = 5 * MILLISECOND_NS
UNKILLABLE_PAUSE_NS = 5 * SECOND_NS
LEAVING_NS = 2 * SECOND_NS  # for what notices by itself that its leader is dead, as PostgreSQL's children do
_DEFAULT_STOP = Stop()


class Life(Enum):
    NONE = "none"  # no process is named, or its end is dealt with
    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWABLE = "unknowable"  # no means can tell whose the PID is


class Rest(Enum):
    """What a dead leader left behind."""

    UNSEEN = "unseen"
    EMPTY = "empty"
    GROUP = "group"
    ESCAPED = "escaped"


@dataclass(frozen=True, slots=True)
class View:
    """A slot as its guard sees it at `now_ns`. `spec` is None when the configuration lost it."""

    slot: Slot
    spec: WorkerSpec | None
    pair: Desired
    now_ns: int
    life: Life = Life.NONE
    rest: Rest = Rest.UNSEEN
    end: Exit | None = None  # how a dead one ended; None: not known yet
    instance: int = 0
    has_program: bool = False  # a starting one got through its gate and executed
    parting: Stop = _DEFAULT_STOP  # how a worker without a spec is stopped
    gate_until_ns: int = 0  # by then a starting one has its program, or is ended
    dependencies_ready: bool = True
    dependants_live: bool = False
    chance: float = 0.5


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until_ns` (None: before the next event)."""

    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Write the record."""

    slot: Slot
    reason: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Send, then write the record: a guard that is killed in between has its heir send it again."""

    number: int
    group: bool
    slot: Slot
    reason: str


@dataclass(frozen=True, slots=True)
class Birth:
    """Claim the next generation. `slot` carries the counters that its record goes on from."""

    slot: Slot
    counts: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Examine:
    """Look what the dead leader left, and end what of it is in its group."""


@dataclass(frozen=True, slots=True)
class EndEscaped:
    """End the processes that hold the slot's token."""


Action = Wait | Change | Signal | Birth | Examine | EndEscaped


def decide(view: View) -> Action:
    match view.life:
        case Life.UNKNOWABLE:
            return Wait()
        case Life.ALIVE:
            return _alive(view)
        case Life.DEAD:
            return _dead(view)
        case Life.NONE:
            return _none(view)
        case _:
            assert_never(view.life)


def ending_of(view: View) -> Ending:
    """Why the slot's process has to end, if it has to."""
    slot, spec = view.slot, view.spec
    if spec is None or _is_other(view):
        return Ending.REMOVED
    if view.pair is Desired.STOP:
        return Ending.DOWN
    if slot.desired is Desired.STOP:
        return Ending.STOP
    if slot.generation <= slot.end_generation:
        return Ending.RESTART
    if slot.birth_hash != spec.birth_hash and slot.desired is not Desired.PAUSE:
        return Ending.RELOAD
    return Ending.NONE


def _is_other(view: View) -> bool:
    """Whether the slot still holds a worker that had this place in an earlier configuration."""
    return view.spec is None or (view.slot.name, view.slot.instance) != (view.spec.name, view.instance)


# ---------------------------------------------------------------- a living process


def _alive(view: View) -> Action:
    slot = view.slot
    if slot.phase is Phase.STOPPING:
        return _stopping(view)
    ending = ending_of(view)
    if ending is not Ending.NONE:
        if view.dependants_live and ending in (Ending.DOWN, Ending.STOP, Ending.REMOVED):
            return Wait()
        return _ask_to_end(view, ending)
    if slot.phase is Phase.STARTING:
        return _starting(view)
    wanted = Phase.PAUSED if slot.desired is Desired.PAUSE else Phase.RUNNING
    if slot.phase is not wanted:
        return Change(replace(slot, phase=wanted), "paused" if wanted is Phase.PAUSED else "resumed")
    return Wait()


def _starting(view: View) -> Action:
    slot = view.slot
    if view.has_program:
        return Change(replace(slot, phase=Phase.RUNNING, ready=True, until_ns=0), "its program runs")
    if view.now_ns < view.gate_until_ns:
        return Wait(view.gate_until_ns)
    # R07: recorded, and never let through its gate
    until_ns = view.now_ns + UNKILLABLE_PAUSE_NS
    stopping = replace(slot, phase=Phase.STOPPING, ending=Ending.GATED, killed=True, until_ns=until_ns)
    return Signal(9, group=False, slot=stopping, reason="it did not get through its gate in time")


def _ask_to_end(view: View, ending: Ending) -> Action:
    slot = view.slot
    stop = view.spec.stop if view.spec and not _is_other(view) else view.parting
    gated = slot.phase is Phase.STARTING and not view.has_program
    stopping = replace(
        slot,
        phase=Phase.STOPPING,
        ending=ending,
        killed=gated,
        ready=False,
        until_ns=view.now_ns + (UNKILLABLE_PAUSE_NS if gated else stop.timeout_ns),
    )
    return Signal(9 if gated else stop.signal, group=False, slot=stopping, reason=ending.name.lower())


def _stopping(view: View) -> Action:
    slot = view.slot
    if view.now_ns < slot.until_ns:
        return Wait(slot.until_ns)
    again = replace(slot, killed=True, until_ns=view.now_ns + UNKILLABLE_PAUSE_NS)
    reason = "KILL has no effect yet: no second copy is started" if slot.killed else "stop timeout"
    return Signal(9, group=True, slot=again, reason=reason)


# ---------------------------------------------------------------- a dead leader


def _dead(view: View) -> Action:
    slot = view.slot
    if not slot.is_over:
        if view.end is None:
            return Wait()
        end = replace(view.end, ending=slot.ending)
        over = replace(slot, phase=Phase.STOPPING, ready=False, exit=end)
        return Change(over, "ended")
    match view.rest:
        case Rest.UNSEEN | Rest.GROUP:
            return Examine()
        case Rest.ESCAPED:
            return _escaped(view)
        case Rest.EMPTY:
            return _next(view)
        case _:
            assert_never(view.rest)


def _escaped(view: View) -> Action:
    """After a crash it is what the leader left; after an orderly exit it may be what the leader was for."""
    if ending_of(view) is not Ending.NONE or view.slot.exit.kind in (ExitKind.SIGNAL, ExitKind.ERROR):
        return EndEscaped()
    end = replace(view.slot.exit, kind=ExitKind.ESCAPED)
    return Change(replace(view.slot, phase=Phase.FATAL, exit=end), "a process of it escaped")


def _next(view: View) -> Action:
    """The generation is over and nothing of it is left."""
    slot, spec = view.slot, view.spec
    if spec is None or _is_other(view):
        return Change(_freed(slot), "removed from the configuration")
    if view.pair is Desired.STOP or slot.desired is not Desired.RUN:
        return Change(replace(slot, phase=Phase.STOPPED, until_ns=0), "stopped")
    if slot.generation <= slot.end_generation:
        slot = replace(slot, exit=replace(slot.exit, ending=Ending.RESTART))
    match restart.after_exit(slot, spec.restart, view.now_ns, view.chance):
        case restart.GiveUp(reason):
            return Change(replace(slot, phase=Phase.FATAL, until_ns=0), reason)
        case restart.Enough(reason):
            return Change(replace(slot, phase=Phase.STOPPED, until_ns=0), reason)
        case restart.Again(delay_ns, failures, counts):
            due = replace(slot, failures=failures, until_ns=view.now_ns + delay_ns)
            if delay_ns == 0 and view.dependencies_ready:
                return Birth(due, counts, "it ended")
            return Change(replace(due, phase=Phase.BACKOFF), f"again in {delay_ns / 1e9:.3g} s")


def _freed(slot: Slot) -> Slot:
    """Only the generation outlives a worker that left the configuration."""
    return Slot(generation=slot.generation, exit=replace(NO_EXIT, generation=slot.generation))


# ---------------------------------------------------------------- no process


def _none(view: View) -> Action:
    slot, spec = view.slot, view.spec
    if slot.phase is Phase.FREE:
        return _free(view)
    if slot.phase is Phase.FATAL and slot.exit.kind is ExitKind.ESCAPED:
        return _fatal(view)
    if spec is None or _is_other(view):
        return Change(_freed(slot), "removed from the configuration")
    match slot.phase:
        case Phase.STOPPED:
            return _stopped(view, spec)
        case Phase.BACKOFF:
            return _backoff(view)
        case Phase.FATAL:
            return _fatal(view)
        case _:
            return Wait()


def _free(view: View) -> Action:
    if view.spec is None:
        return Wait()
    named = replace(
        view.slot,
        name=view.spec.name,
        instance=view.instance,
        phase=Phase.STOPPED,
        desired=Desired.RUN,
        exit=replace(NO_EXIT, generation=view.slot.generation),
    )
    return Change(named, "new in the configuration")


def _stopped(view: View, spec: WorkerSpec) -> Action:
    slot = view.slot
    if view.pair is Desired.STOP or slot.desired is not Desired.RUN:
        return Wait()
    if slot.generation and slot.generation > slot.end_generation and slot.exit.kind is not ExitKind.NONE:
        ended_by_us = slot.exit.ending in (Ending.STOP, Ending.DOWN)
        if not ended_by_us and isinstance(
            restart.after_exit(slot, spec.restart, view.now_ns, view.chance), restart.Enough
        ):
            return Wait()
    if not view.dependencies_ready:
        return Wait()
    return Birth(replace(slot, failures=0), counts=False, reason="it is to run")


def _backoff(view: View) -> Action:
    slot = view.slot
    if view.pair is Desired.STOP or slot.desired is not Desired.RUN:
        return Change(replace(slot, phase=Phase.STOPPED, until_ns=0), "stopped")
    if view.now_ns < slot.until_ns:
        return Wait(slot.until_ns)
    if not view.dependencies_ready:
        return Wait()
    return Birth(slot, counts=slot.failures > 0, reason="back-off is over")


def _fatal(view: View) -> Action:
    slot = view.slot
    ending = ending_of(view)
    if slot.exit.kind is ExitKind.ESCAPED and ending is not Ending.NONE:
        end = replace(slot.exit, ending=ending)  # so that a reload starts it again
        return Change(replace(slot, phase=Phase.STOPPING, exit=end), "ending what escaped")
    if slot.desired is Desired.STOP:
        return Change(replace(slot, phase=Phase.STOPPED), "stopped")
    if ending is Ending.RELOAD:
        fresh = replace(slot, exit=replace(slot.exit, ending=ending), failures=0, births_ns=())
        return Change(replace(fresh, phase=Phase.STOPPED), "its configuration has changed")
    return Wait()
