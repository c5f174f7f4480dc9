"""One worker slot: what is wanted, what is seen, what to do now.

`decide` is asked after every event that may concern a slot, and after each of its own answers, until
it says `Wait`. It holds nothing: what matters is in the record, so any guard can go on where another
was killed. The order of its answers is the protocol: an exit is recorded before it is collected, what
a generation left is ended before the next is born, and a process that does not die has no successor.
"""

from dataclasses import dataclass, replace
from enum import Enum

from twinwatch.core import readiness, restart
from twinwatch.core.hints import unforeseen
from twinwatch.core.record import Slot
from twinwatch.core.spec import Stop, WorkerSpec
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import NO_EXIT, Desired, Ending, Exit, ExitKind, Health, HookState, Met, Phase

LEFTOVER_PAUSE_NS = 5 * MILLISECOND_NS
UNKILLABLE_PAUSE_NS = 5 * SECOND_NS
LEAVING_NS = 2 * SECOND_NS  # for what notices by itself that its leader is dead, as PostgreSQL's children do
_DEFAULT_STOP = Stop()
_LATE = "not ready in time"
_TOO_OLD = "older than max_age"
_MARKS = frozenset({Ending.GROUP, Ending.AGE})  # written into the slot before its process is told
_IN_ORDER = frozenset({Ending.DOWN, Ending.STOP, Ending.REMOVED, Ending.GROUP})  # dependants end first


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


class HookLife(Enum):
    """The process of an `after_exit` hook that the slot names."""

    NONE = "none"
    ALIVE = "alive"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Kin:
    """The other members of a slot's group, as far as they matter to it."""

    to_drag: tuple[int, ...] = ()  # slots that have to end with this one
    ending: bool = False  # some of them have not ended yet
    exceeded: str = ""  # why the group has to give up
    gave_up: bool = False  # another member is fatal because of its group


_NO_KIN = Kin()


@dataclass(frozen=True, slots=True)
class View:
    """A slot as its guard sees it at `now_ns`. `spec` is None when the configuration lost it."""

    slot: Slot
    spec: WorkerSpec | None
    pair: Desired
    now_ns: int
    life: Life = Life.NONE
    is_newer: bool = False  # of a configuration that this guard has not taken over yet
    rest: Rest = Rest.UNSEEN
    end: Exit | None = None  # how a dead one ended; None: not known yet
    instance: int = 0
    has_program: bool = False  # a starting one got through its gate and executed
    parting: Stop = _DEFAULT_STOP  # how a worker without a spec is stopped
    gate_until_ns: int = 0  # by then a starting one has its program, or is ended
    dependencies_ready: bool = True
    dependants_live: bool = False
    verdict: str = ""  # why it has to end, if this guard found that it must
    met: Met = Met.NOTHING  # conditions of readiness that this guard has seen
    is_beating: bool = False
    is_fresh: bool = True  # this guard was not away: what passed without it, it may judge
    signed_off: bool = False
    hook: HookLife = HookLife.NONE
    kin: Kin = _NO_KIN
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
class RunHook:
    """Let a gated child become the `after_exit` hook, recorded in `slot`."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Drag:
    """Have other members of the group end as well."""

    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Examine:
    """Look what the dead leader left, and end what of it is in its group."""


@dataclass(frozen=True, slots=True)
class EndEscaped:
    """End the processes that hold the slot's token."""


Action = Wait | Change | Signal | Birth | Examine | EndEscaped | RunHook | Drag


def decide(view: View) -> Action:
    if view.is_newer:  # R23
        return Wait()
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
            raise unforeseen(view.life)


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
        return slot.ending if slot.ending in _MARKS else Ending.RESTART
    if view.kin.gave_up and slot.desired is not Desired.PAUSE:
        return Ending.GROUP
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
        if view.dependants_live and ending in _IN_ORDER:
            return Wait()
        reasons = {Ending.RESTART: slot.note, Ending.AGE: _TOO_OLD}
        return _ask_to_end(view, ending, reasons.get(ending, ""))
    if slot.phase is Phase.STARTING:
        return _starting(view)
    wanted = Phase.PAUSED if slot.desired is Desired.PAUSE else Phase.RUNNING
    if slot.phase is not wanted:
        if wanted is Phase.PAUSED:
            return Change(replace(slot, phase=wanted), "paused")
        again = replace(slot, phase=wanted, until_ns=readiness.until_ns(slot, view.spec, view.now_ns))
        return Change(again, "resumed")
    return Wait() if slot.phase is Phase.PAUSED else _running(view)


def _running(view: View) -> Action:
    """Look whether it is ready, well, and not too old."""
    slot, spec = view.slot, view.spec
    if slot.health is Health.UNHEALTHY:
        return _ask_to_end(view, _conviction(slot), slot.note)
    if view.verdict:
        return _convict(view, view.verdict)
    changed = _observed(view)
    if changed is not None:
        return changed
    if not slot.ready and slot.until_ns and view.now_ns >= slot.until_ns and view.is_fresh:
        return _convict(view, _LATE)
    old_ns = readiness.old_ns(slot, spec, view.instance)
    if old_ns and view.now_ns >= old_ns:
        marked = replace(slot, end_generation=slot.generation, ending=Ending.AGE)
        return Change(marked, _TOO_OLD)  # R27
    return Wait(min((due for due in (old_ns, slot.until_ns) if due), default=None))


def _observed(view: View) -> Action | None:
    """What has come to light about it, if something has."""
    slot = replace(view.slot, met=view.slot.met | view.met)
    reasons = []
    if view.is_beating and slot.health is Health.UNKNOWN:
        slot = replace(slot, health=Health.HEALTHY)
        reasons.append("healthy")
    ready = readiness.is_met(slot, view.spec)
    if ready is not slot.ready:
        slot = replace(slot, ready=ready, until_ns=0 if ready else slot.until_ns)
        reasons.append("ready" if ready else "not ready any more")
    return Change(slot, ", ".join(reasons) or "beats") if slot != view.slot else None


def _convict(view: View, reason: str) -> Action:
    """Record it, then end it: an heir must know that what ended was convicted, however it ended."""
    return Change(replace(view.slot, health=Health.UNHEALTHY, note=reason), f"convicted: {reason}")  # R27


def _conviction(slot: Slot) -> Ending:
    return Ending.UNREADY if slot.note == _LATE else Ending.UNHEALTHY


def _starting(view: View) -> Action:
    slot = view.slot
    if view.has_program:
        until_ns = readiness.until_ns(slot, view.spec, view.now_ns)
        running = replace(slot, phase=Phase.RUNNING, until_ns=until_ns)
        return Change(replace(running, ready=readiness.is_met(running, view.spec)), "its program runs")
    if view.now_ns < view.gate_until_ns:
        return Wait(view.gate_until_ns)
    # R07: recorded, and never let through its gate
    until_ns = view.now_ns + UNKILLABLE_PAUSE_NS
    stopping = replace(slot, phase=Phase.STOPPING, ending=Ending.GATED, killed=True, until_ns=until_ns)
    return Signal(9, group=False, slot=stopping, reason="it did not get through its gate in time")


def _ask_to_end(view: View, ending: Ending, reason: str = "") -> Action:
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
    word = ending.name.lower()
    why = f"{word}: {reason}" if reason else word
    return Signal(9 if gated else stop.signal, group=False, slot=stopping, reason=why)


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
        convicted = slot.ending is Ending.NONE and slot.health is Health.UNHEALTHY
        end = replace(view.end, ending=_conviction(slot) if convicted else slot.ending)
        over = replace(slot, phase=Phase.STOPPING, ready=False, exit=end, signed_off=view.signed_off)
        return Change(over, "ended")
    if slot.hook is HookState.BEGUN:  # R26
        return _hooked(view)
    match view.rest:
        case Rest.UNSEEN | Rest.GROUP:
            return Examine()
        case Rest.ESCAPED:
            return _escaped(view)
        case Rest.EMPTY:
            return _next(view)
        case _:
            raise unforeseen(view.rest)


def _escaped(view: View) -> Action:
    """After a crash it is what the leader left; after an orderly exit it may be what the leader was for."""
    end = view.slot.exit
    is_ending = ending_of(view) is not Ending.NONE or end.ending is not Ending.NONE
    if is_ending or end.kind in (ExitKind.SIGNAL, ExitKind.ERROR):
        return EndEscaped()
    escaped = replace(end, kind=ExitKind.ESCAPED)
    return Change(replace(view.slot, phase=Phase.FATAL, exit=escaped), "a process of it escaped")


def _hooked(view: View) -> Action:
    """Its `after_exit` hook was begun: it is waited for, and ended when its time is over."""
    slot = view.slot
    if view.hook is not HookLife.ALIVE:
        return Change(replace(slot, hook=HookState.DONE, until_ns=0), "its hook has ended")
    if view.now_ns < slot.until_ns:
        return Wait(slot.until_ns)
    again = replace(slot, until_ns=view.now_ns + UNKILLABLE_PAUSE_NS)
    return Signal(9, group=True, slot=again, reason="its hook took too long")


def _next(view: View) -> Action:
    """The generation is over and nothing of it is left."""
    slot, spec = view.slot, view.spec
    if spec and not _is_other(view) and spec.after_exit and slot.hook is HookState.NONE and _has_run(slot):
        until_ns = view.now_ns + spec.after_exit.timeout_ns
        return RunHook(replace(slot, hook=HookState.BEGUN, until_ns=until_ns))
    if spec is None or _is_other(view):
        return Change(_freed(slot), "removed from the configuration")
    if view.pair is Desired.STOP or slot.desired is not Desired.RUN:
        return Change(replace(slot, phase=Phase.STOPPED, until_ns=0), "stopped")
    if slot.generation <= slot.end_generation and slot.exit.ending not in _MARKS:
        slot = replace(slot, exit=replace(slot.exit, ending=Ending.RESTART))
    if view.kin.gave_up:
        return _give_up_with_group(slot)
    match restart.after_exit(slot, spec.restart, view.now_ns, view.chance):
        case restart.GiveUp(reason):
            return Change(replace(slot, phase=Phase.FATAL, until_ns=0), reason)
        case restart.Enough(reason):
            return Change(replace(slot, phase=Phase.STOPPED, until_ns=0), reason)
        case restart.Again(_, _, True) if view.kin.exceeded:
            slot = replace(slot, exit=replace(slot.exit, ending=Ending.GROUP))
            return Change(replace(slot, phase=Phase.FATAL, until_ns=0), view.kin.exceeded)
        case restart.Again(_, _, True) if view.kin.to_drag:
            return Drag(view.kin.to_drag)
        case restart.Again() if view.kin.ending:
            return Wait()
        case restart.Again(delay_ns, failures, counts):
            due = replace(slot, failures=failures, until_ns=view.now_ns + delay_ns)
            if delay_ns == 0 and view.dependencies_ready:
                return Birth(due, counts, "it ended")
            return Change(replace(due, phase=Phase.BACKOFF), f"again in {delay_ns / 1e9:.3g} s")


def _has_run(slot: Slot) -> bool:
    if slot.generation == 0 or restart.never_ran(slot.exit):
        return False
    return slot.exit.kind not in (ExitKind.NONE, ExitKind.EXEC_FAILED)


def _give_up_with_group(slot: Slot) -> Action:
    end = replace(slot.exit, ending=Ending.GROUP)
    return Change(replace(slot, phase=Phase.FATAL, exit=end, until_ns=0), "its group gave up")


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
    if not view.dependencies_ready or view.kin.ending:
        return Wait()
    return Birth(replace(slot, failures=0), counts=False, reason="it is to run")


def _backoff(view: View) -> Action:
    slot = view.slot
    if view.pair is Desired.STOP or slot.desired is not Desired.RUN:
        return Change(replace(slot, phase=Phase.STOPPED, until_ns=0), "stopped")
    if view.kin.gave_up:
        return _give_up_with_group(slot)
    if view.now_ns < slot.until_ns:
        return Wait(slot.until_ns)
    if not view.dependencies_ready or view.kin.ending:
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
