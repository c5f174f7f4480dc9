"""Life behind the gate: what a forked child waits for, and what it becomes.

Four things end the wait. The gate opens: become the recorded worker or watcher. The parent's pidfd says
dead: try to take over the parent's role with *this* process as the child. The gate's pipe ends and the
parent lives: leave. Nothing at all, and both watchers stand still: end the parent, then take over.

One reserve of each watcher keeps vigil over that. Whoever is stopped has either its own keeper or its twin's
until both keepers are killed, too; for that case the others look as well, once in a long while.
"""

import fcntl
import gc
import os
import signal
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from twinwatch.core import fence, spacing
from twinwatch.core.fence import Claim
from twinwatch.core.hints import NoReturn, TypeVar
from twinwatch.core.record import Damage, Header, Heartbeat, Slot, pack_slot
from twinwatch.core.spec import PairSpec
from twinwatch.core.timing import MILLISECOND_NS
from twinwatch.core.values import (
    NO_EXIT,
    WATCHER_ROLES,
    Desired,
    ExitKind,
    HookState,
    Identity,
    Phase,
    Role,
    Stage,
)
from twinwatch.core.values import Exit as End
from twinwatch.linux import launch, process
from twinwatch.linux.birth import Seat
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.daemon import detach
from twinwatch.linux.gate import Gate, Let, Order, reset_signals
from twinwatch.linux.identity import identify_self
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.notify import NotifySocket
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile, StateMoved

T = TypeVar("T")

_STILL_PERIODS = 2
_RARELY = 16  # periods between two looks of a reserve that does not keep vigil
_RETRY_MS = 20
_ROLE_SLOTS = frozenset(role.slot for role in WATCHER_ROLES)
LEFT_AT_GATE = 120  # exit code of a child that was recorded, and never became its program


@dataclass(frozen=True, slots=True)
class Duty:
    """What a reserve carries from its parent."""

    paths: Paths
    spec: PairSpec
    role: Role  # of its parent
    generation: int  # of its parent
    notify: NotifySocket | None = None
    keeps_vigil: bool = True


class BehindGate(BaseException):
    """Raised in a forked child to unwind to the outermost frame: no stack grows over generations.

    `is_awaited`: no reserve was left, and its order comes at once. It does nothing beforehand.
    """

    def __init__(self, gate: Gate, duty: Duty, *, is_awaited: bool = False) -> None:
        super().__init__()
        self.gate = gate
        self.duty = duty
        self.is_awaited = is_awaited


def live(gate: Gate, duty: Duty, *, is_awaited: bool = False) -> Seat:
    """Wait behind the gate. Returns with a watcher's seat, or not at all."""
    gc.disable()
    if duty.role is Role.ANCHOR:
        _leave_anchor(duty)
    me = None if is_awaited else _rehearse(duty)
    if _wait(gate, duty):
        order = gate.take_order()
        if order is None or order.let is Let.LEAVE:
            os._exit(LEFT_AT_GATE)
        if order.let is Let.WORKER:
            _become_worker(gate, duty, order)
        if order.let is Let.HOOK:
            _become_hook(duty, order)
        return _become_watcher(gate, order)
    if duty.role is Role.ANCHOR:  # its role is its init's to give
        os._exit(LEFT_AT_GATE)
    return _take_over(gate, duty, me or identify_self())


def _leave_anchor(duty: Duty) -> None:
    """What a watcher does not have of its parent: its signal handlers, its output, its directory."""
    reset_signals()
    detach(duty.paths.own_log)


def _wait(gate: Gate, duty: Duty) -> bool:
    """True: an order has come. False: the parent is dead."""
    timeout_ns = duty.spec.watch.timeout_ns
    vigil = _Vigil(duty)
    while True:
        before, period_ns = monotonic_ns(), vigil.period_ns
        readable, dead = gate.wait(period_ns // MILLISECOND_NS)
        if readable or dead:
            return _is_order(gate, timeout_ns)
        on_time = monotonic_ns() - before < period_ns + timeout_ns // 2
        if vigil.is_all_still(on_time=on_time):  # R13
            if duty.role is Role.ANCHOR:
                os._exit(LEFT_AT_GATE)
            process.send(gate.parent_pidfd, signal.SIGKILL)


def _rehearse(duty: Duty) -> Identity:
    """Do once what a takeover and a worker's birth will do, up to the last reversible step; who this is.

    A forked child pays for each page that it first writes to; it pays now, when nobody waits for it. Memory
    of its own for both is too much: who keeps vigil is taken last, and rehearses a takeover, others a birth.
    """
    me = identify_self()
    if duty.keeps_vigil and duty.role is not Role.ANCHOR:
        _read(duty, partial(_rehearse_takeover, duty, me), otherwise=None)
        return me
    order = Order(Let.WORKER, duty.spec.places[0][0] if duty.spec.places else 0, 0, duty.spec.generation)
    _is_wanted(duty, order)
    birth = _birth(duty, order)
    if birth is not None:
        launch.rehearse(birth)
    return me


def _rehearse_takeover(duty: Duty, me: Identity, state: StateFile) -> None:
    header = state.header()
    state.naming(me, header.slots)
    _is_too_soon(state, duty.role)
    heir = _as_heir(duty, header, state.slot(duty.role.slot), me)
    if heir is not None:
        pack_slot(heir)


def _is_order(gate: Gate, timeout_ns: int) -> bool:
    """Tell an order from the end of the pipe: an opened gate wins over a dead parent.

    The gate is asked again, because an order may have come between the kernel's looks at it and at the
    pidfd. The end of the pipe often comes before the pidfd is readable, and is no proof of death (R10):
    wait for that. With a living parent it means: leave.
    """
    if _pending(gate.fd):
        return True
    if gate.wait_parent(timeout_ns // MILLISECOND_NS):  # R10
        return False
    os._exit(LEFT_AT_GATE)


def _pending(fd: int) -> bool:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"), "little") > 0


class _Vigil:
    """Both watchers stand still, for two periods in which this process itself was on time."""

    def __init__(self, duty: Duty) -> None:
        self._duty = duty
        self._seen: tuple[Heartbeat, Heartbeat] | None = None
        self._periods = 0

    @property
    def period_ns(self) -> int:
        """Until the next look. Who has seen both stand still keeps vigil from then on, whoever else does."""
        keeps = self._duty.keeps_vigil or self._periods > 0
        return self._duty.spec.watch.timeout_ns * (1 if keeps else _RARELY)

    def is_all_still(self, *, on_time: bool) -> bool:
        beats = self._beats()
        moved = beats is None or beats != self._seen
        self._seen = beats
        self._periods = 0 if moved or not on_time else self._periods + 1
        return self._periods >= _STILL_PERIODS

    def _beats(self) -> tuple[Heartbeat, Heartbeat] | None:
        try:
            state = StateFile(self._duty.paths.runtime, self._duty.spec.watch.patience_ns)
        except FileNotFoundError:
            return None
        try:
            return state.heartbeat(Role.A), state.heartbeat(Role.B)
        finally:
            state.close()


# ---------------------------------------------------------------- let through


def _become_worker(gate: Gate, duty: Duty, order: Order) -> NoReturn:
    """Look once more whether this birth is still wanted (R14), then execute."""
    birth = _birth(duty, order)
    if birth is None or not _is_wanted(duty, order):  # R14
        gate.fail(Stage.GATE, 0)
        os._exit(LEFT_AT_GATE)
    try:
        launch.execute(birth)
    except launch.LaunchFailed as failed:
        gate.fail(failed.stage, failed.number)
    os._exit(127)


def _birth(duty: Duty, order: Order) -> launch.Birth | None:
    found = duty.spec.worker_at(order.slot)
    if found is None:
        return None
    return launch.Birth(duty.paths, duty.spec, *found, order.generation)


def _become_hook(duty: Duty, order: Order) -> NoReturn:
    """Run the `after_exit` hook of a generation that is over, if its slot names this very process."""
    birth, slot = _birth(duty, order), _slot_of(duty, order)
    if birth and slot and slot.hook is HookState.BEGUN and slot.identity.pid == os.getpid():
        with suppress(launch.LaunchFailed):
            launch.execute_hook(birth, slot.exit)
    os._exit(127)


def _slot_of(duty: Duty, order: Order) -> Slot | None:
    def look(state: StateFile) -> Slot | None:
        return state.slot(order.slot)

    return _read(duty, look, otherwise=None)


def _read(duty: Duty, look: Callable[[StateFile], T], otherwise: T) -> T:
    """What `look` finds in the state file; `otherwise` where that is gone or damaged."""
    try:
        state = StateFile(duty.paths.runtime, duty.spec.watch.patience_ns)
    except FileNotFoundError:
        return otherwise
    try:
        return look(state)
    except Damage:
        return otherwise
    finally:
        state.close()


def _is_wanted(duty: Duty, order: Order) -> bool:
    def look(state: StateFile) -> bool:
        if state.is_as_recorded(order.slot, os.getpid(), order.version, order.header_version):
            return True
        slot = state.slot(order.slot)
        return (
            state.header().desired is Desired.RUN
            and slot.desired is Desired.RUN
            and slot.generation == order.generation
            and slot.phase is Phase.STARTING
            and slot.identity.pid == os.getpid()
        )

    return duty.spec.generation == order.config_generation and _read(duty, look, otherwise=False)


def _become_watcher(gate: Gate, order: Order) -> Seat:
    gate.close()
    return Seat(Role(order.slot + 1), order.generation, order.config_generation)


# ---------------------------------------------------------------- takeover


def _take_over(gate: Gate, duty: Duty, me: Identity) -> Seat:
    """The parent is dead: become the next holder of its role, if nobody else was faster.

    Only the parent could record this process, so whether a slot names it is looked up before any lock is
    taken: nothing can change the answer any more. Named by a worker's slot it leaves, and its death makes
    that slot claimable; named by a role's, it holds that role already.

    While the state lock is not to be had, or the file is moving, try again: this may be all that is left.
    """
    gate.close()
    while True:
        try:
            state = StateFile(duty.paths.runtime, duty.spec.watch.patience_ns)
        except FileNotFoundError:
            os._exit(LEFT_AT_GATE)
        try:
            named = state.naming(me, state.header().slots)
            if named is not None:  # R02
                seat = _own_seat(state, named)
            elif _is_too_soon(state, duty.role):
                process.pause(_RETRY_MS)
                continue
            else:
                seat = _claim_role(state, duty, me)
        except (StateMoved, LockWedged):
            process.pause(_RETRY_MS)
            continue
        except Damage:
            os._exit(LEFT_AT_GATE)
        finally:
            state.close()
        if seat is None:
            os._exit(LEFT_AT_GATE)
        return seat


def _is_too_soon(state: StateFile, role: Role) -> bool:
    """Watchers that die as fast as they are born are born at intervals, be it by a twin or by a takeover."""
    now_ns = monotonic_ns()
    return spacing.not_before_ns(state.slot(role.slot).births_ns, now_ns) > now_ns


def _own_seat(state: StateFile, index: int) -> Seat | None:
    """The seat that was recorded for this process, whose gate nobody was left to open. None: a worker's."""
    if index not in _ROLE_SLOTS:
        return None
    slot = state.slot(index)
    was = Phase.RUNNING if slot.generation > 1 else Phase.STOPPED
    former = replace(slot, phase=was, generation=slot.generation - 1, exit=NO_EXIT)  # untold: its parent died
    return Seat(Role(index + 1), slot.generation, slot.config_generation, former)


def _claim_role(state: StateFile, duty: Duty, me: Identity) -> Seat | None:
    """Write this very process into the role's slot. None: the claim is lost."""
    with state.lock:
        state.check_not_moved()
        header, read = state.header(), state.read(duty.role.slot)
        slot = _as_heir(duty, header, read.slot, me)
        if slot is None:
            return None
        state.write(duty.role.slot, slot, read.version)
    return Seat(duty.role, slot.generation, header.config_generation, former=read.slot)


def _as_heir(duty: Duty, header: Header, slot: Slot, me: Identity) -> Slot | None:
    """The role's slot with this process in it. None: somebody was faster, or the pair is to be down."""
    claim = Claim(duty.generation, header.config_generation, duty.role, duty.generation)
    if fence.objection(claim, header, None, slot):
        return None
    now_ns = monotonic_ns()
    end = End(ExitKind.UNKNOWN, duty.generation, ending=slot.ending, at_ns=now_ns)
    return replace(fence.born(slot, claim, me, now_ns=now_ns, is_restart=True), exit=end)
