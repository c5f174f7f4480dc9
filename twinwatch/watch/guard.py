"""The worker slots as one guard sees them: observe, decide (`core.reconcile`), act.

Used by a watcher, and by a command-line call that has to end workers when no watcher lives. All state
that matters is in the state file; what is kept here are open pidfds, and how far an observation got.
No event does work in proportion to the number of workers.
"""

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace

from twinwatch.core import exits, reconcile
from twinwatch.core.hints import unforeseen
from twinwatch.core.reconcile import (
    Action,
    Birth,
    Change,
    Drag,
    EndEscaped,
    Examine,
    Life,
    Rest,
    RunHook,
    Signal,
    View,
    Wait,
)
from twinwatch.core.record import Damage, Slot, slot_at
from twinwatch.core.spec import PairSpec
from twinwatch.core.timing import MILLISECOND_NS
from twinwatch.core.values import NO_PROCESS, Ending, Health, HookState, Phase, Role
from twinwatch.linux import launch, process, remains
from twinwatch.linux.birth import Newborn, compare_and_write, respawn
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.gate import Child, Let
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, is_dead, open_process
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import HANGUP_ONLY, Loop
from twinwatch.linux.statefile import Read, StateMoved
from twinwatch.watch import leavings
from twinwatch.watch.hooks import Hooks
from twinwatch.watch.nursery import Nursery
from twinwatch.watch.pair import Pair
from twinwatch.watch.roster import Guarded, Roster
from twinwatch.watch.sight import STATUS_WAIT_NS, Sight
from twinwatch.watch.vitals import Vitals

WORKER = "worker"
REPORT = "report"
VITALS = "vitals"
GRACE_NS = 250 * MILLISECOND_NS  # for the owner, before its twin acts in its place
RETRY_NS = 100 * MILLISECOND_NS
_STEPS_MAX = 32
_AT_ONCE = 64  # slots between two looks for what has happened: a birth takes some milliseconds
_SWEPT = 96  # slots, read in one call: a thousand take two minutes at the usual interval


class Guard:
    """All worker slots of a pair."""

    def __init__(self, pair: Pair, loop: Loop, nursery: Nursery | None) -> None:
        self._pair = pair
        self._loop = loop
        self._nursery = nursery
        self._roster = Roster()
        self.sight = Sight(pair, self._roster)
        self._hooks = Hooks(pair, loop)
        self._todo: dict[int, None] = {}
        self._by_pid: dict[int, int] = {}
        self._deferred: set[int] = set()
        self._sequence = 0
        self.handling = 0
        self.quarantined: set[int] = set()
        self.wake_twin: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Let go of every process; none of them is touched."""
        for guarded in self._roster:
            self._drop_process(guarded)

    # ------------------------------------------------------------ configuration

    def adopt(self, spec: PairSpec) -> None:
        """Take a configuration over, and look at every slot."""
        self._roster.adopt(spec, self._pair.state.header().slots)
        for guarded in self._roster:
            self._drop_vitals(guarded)  # they are judged by the new limits from now on
        with self._pair.state.lock:
            self._sequence = self._pair.state.sequence()
        self.look_at_all()

    def look_at_all(self) -> None:
        for guarded in self._roster:
            self._refresh(guarded)
        self._roster.count()
        self._todo.update(dict.fromkeys(self._roster.indices))

    @property
    def has_work(self) -> bool:
        return bool(self._todo)

    @property
    def is_all_over(self) -> bool:
        """No worker slot has a process."""
        return self._roster.is_all_over

    # ------------------------------------------------------------ events

    def catch_up(self) -> None:
        """Look at what others changed since the last time."""
        self._sequence, changed = self._pair.state.changes(self._sequence)
        if changed is None:
            self.look_at_all()
            return
        for index in changed:
            guarded = self._roster.get(index)
            if guarded is not None and not self._pair.state.is_current(index, guarded.read.version):
                self.quarantined.discard(index)
                self._refresh(guarded)
                self._todo[index] = None

    def quarantine(self, index: int) -> None:
        """Leave a slot alone that a watcher crashed on, until somebody writes it anew."""
        if index not in self.quarantined:
            self.quarantined.add(index)
            self._pair.tell("quarantined", index=index, reason="a watcher crashed with it in hand")

    def find(self, pid: int) -> Guarded | None:
        """The slot whose living process has this PID: while it lives, nobody else has."""
        index = self._by_pid.get(pid, -1)
        guarded = self._roster.get(index)
        if guarded is None or guarded.slot.identity.pid != pid or guarded.slot.phase in NO_PROCESS:
            return None
        return guarded

    def at(self, index: int) -> Guarded | None:
        return self._roster.get(index)

    def changed(self, index: int) -> None:
        """This watcher has just written a slot."""
        self._refresh(self._roster[index])
        self._todo[index] = None

    def look_again(self, index: int) -> None:
        self._todo[index] = None

    def owned_by(self, role: Role) -> None:
        """The holder of `role` is gone: its workers are everybody's now."""
        for index in self._deferred:
            if self._roster[index].owner is role:
                self._todo[index] = None
        self._deferred.clear()

    def pidfd_ready(self, index: int) -> None:
        """Only the pidfd itself says dead: the event may be of a generation that is gone (R21)."""
        guarded = self._roster[index]
        if guarded.pidfd < 0 or not is_dead(guarded.pidfd):  # R21
            return
        if not guarded.dead_ns:
            guarded.dead_ns = monotonic_ns()
            self.report_ready(index)
            if self._is_own_child(guarded):
                self._loop.remove(guarded.pidfd)  # its status is to be had at once
            else:
                self._loop.modify(guarded.pidfd, HANGUP_ONLY)  # level-triggered: else it would spin
        else:
            self._loop.remove(guarded.pidfd)  # collected by its parent: its status is to be had
        self._todo[index] = None

    def _is_own_child(self, guarded: Guarded) -> bool:
        seat, slot = self._pair.seat, guarded.slot
        return (slot.owner, slot.owner_generation) == (seat.role, seat.generation)

    def hook_ready(self, index: int) -> None:
        """The process of an `after_exit` hook may have ended."""
        if self._hooks.ended(self._roster[index]):
            self._todo[index] = None

    def vitals_due(self, index: int) -> None:
        """Time to look for signs of life of one worker; only news need more than a look."""
        guarded = self._roster[index]
        vitals = guarded.vitals
        if vitals is None:
            return
        due_ns = vitals.look(guarded.slot, self._pair.state.ping(index), monotonic_ns())
        self._loop.set_deadline((VITALS, index), due_ns or None)
        unknown = guarded.slot.health is Health.UNKNOWN
        if vitals.verdict() or self.sight.met(guarded) & ~guarded.slot.met or (unknown and vitals.is_beating):
            self._todo[index] = None

    def report_ready(self, index: int) -> bool:
        """Its child may have become its program, or said why it could not. False: it has said nothing yet."""
        guarded = self._roster[index]
        child = guarded.child
        if child is None:
            return False
        try:
            report = child.read_report()
        except BlockingIOError:
            return False  # the event was of an earlier child
        self._forget_child(guarded)
        if report is None:
            guarded.has_program = True
        else:
            stage, number = report
            guarded.failure = exits.failed_start(stage, number, guarded.slot.generation, 0)
        self._todo[index] = None
        return True

    def sweep(self) -> None:
        """Look at a few slots in turn: a lost wake-up or silent damage costs time, never more."""
        turn = self._roster.take_turns(_SWEPT)
        if not turn:
            return
        intact = self._pair.state.are_intact(turn[0].index, [guarded.read.version for guarded in turn])
        for guarded, is_intact in zip(turn, intact, strict=True):
            if not is_intact or guarded.damage is not None:
                self._look_closely(guarded)

    def _look_closely(self, guarded: Guarded) -> None:
        version = guarded.read.version
        self._refresh(guarded)
        if guarded.read.version != version:
            self._todo[guarded.index] = None
        self._mend_selector(guarded)

    def work(self) -> None:
        """Bring slots with news to where they should be: a few, so that this guard beats and hears meanwhile.

        What has come meanwhile may be what the next one is judged by (P9).
        """
        for _ in range(min(len(self._todo), _AT_ONCE)):
            index = next(iter(self._todo), None)
            if index is None:
                break
            del self._todo[index]
            if index not in self.quarantined:
                self.handling = 1 + index
                self._step(self._roster[index])
        self.handling = 0

    # ------------------------------------------------------------ observing

    def _refresh(self, guarded: Guarded) -> None:
        try:
            read = self._pair.state.read(guarded.index)
        except Damage as damage:
            self._damaged(guarded, damage)
            return
        guarded.damage = None
        self._set(guarded, read)

    def _mend_selector(self, guarded: Guarded) -> None:
        try:
            is_mended = self._pair.state.mend_selector(slot_at(guarded.index))
        except Damage:  # told when it was read
            return
        if is_mended:
            self._pair.tell("repaired", slot=guarded.slot.label, index=guarded.index, reason="selector")

    def _damaged(self, guarded: Guarded, damage: Damage) -> None:
        """Repair from memory when this guard knows that very version; else hold, and say so."""
        if guarded.damage is None:
            self._pair.tell("damaged", slot=guarded.slot.label, index=guarded.index, reason=damage.what)
        guarded.damage = damage
        if self._pair.state.mend(guarded.index, guarded.read):
            guarded.damage = None
            self._pair.tell("repaired", slot=guarded.slot.label, index=guarded.index)
            self._set(guarded, self._pair.state.read(guarded.index))

    def _set(self, guarded: Guarded, read: Read) -> None:
        old, new = guarded.slot, read.slot
        if new.generation != old.generation or guarded.read.version < 0:
            self._drop_process(guarded)
            guarded.forget_generation()
            guarded.seen_ns = monotonic_ns()
        elif new.identity != old.identity and new.hook is HookState.NONE:
            self._drop_process(guarded)  # another process leads this generation now (MAINPID)
            guarded.dead_ns, guarded.rest = 0, Rest.UNSEEN
        if read.version != guarded.read.version:
            guarded.deferred_ns = 0
        guarded.read = read
        self._todo.update(dict.fromkeys(self._roster.changed(old, new)))
        if new.is_over and guarded.pidfd >= 0:
            process.reap(guarded.pidfd)  # R15: only now that its exit is in the slot
            self._loop.remove(guarded.pidfd)
        elif guarded.pidfd < 0 and not guarded.dead_ns and guarded.names_process:
            self._open(guarded)
        if guarded.names_process and guarded.vitals is None:
            self._meet_vitals(guarded)
        if new.hook is HookState.BEGUN and guarded.hook_pidfd < 0:
            self._hooks.meet(guarded)

    def _meet_vitals(self, guarded: Guarded) -> None:
        spec = guarded.spec
        if spec is None:
            return
        path = self._pair.paths.heartbeat(guarded.slot.name, guarded.slot.instance)
        beats = spec.health.heartbeat is not None or bool(spec.ready and spec.ready.heartbeat)
        guarded.vitals = Vitals(path, spec.health, beats=beats)
        self.vitals_due(guarded.index)

    def remake_heartbeats(self) -> None:
        """Their directory was lost: a worker that looks at its path finds a new file there."""
        for guarded in self._roster:
            if guarded.names_process and guarded.spec is not None:
                launch.make_heartbeat(self._pair.paths, guarded.spec, guarded.slot.instance)

    def _open(self, guarded: Guarded) -> None:
        try:
            guarded.pidfd = open_process(guarded.slot.identity)
        except ProcessGone:
            guarded.dead_ns = monotonic_ns()
        except IdentityUnknown:
            guarded.unknowable = True
            self._pair.tell("unknowable", slot=guarded.slot.label, pid=guarded.slot.identity.pid)
        else:
            self._by_pid[guarded.slot.identity.pid] = guarded.index
            self._loop.add(guarded.pidfd, (WORKER, guarded.index))

    def _drop_process(self, guarded: Guarded) -> None:
        self._by_pid.pop(guarded.slot.identity.pid, None)
        self._forget_child(guarded)
        if guarded.pidfd >= 0:
            process.reap(guarded.pidfd)
            self._loop.remove(guarded.pidfd)
            os.close(guarded.pidfd)
            guarded.pidfd = -1
        self._hooks.drop(guarded)
        self._drop_vitals(guarded)

    def _forget_child(self, guarded: Guarded) -> None:
        if guarded.child is not None:
            self._loop.remove(guarded.child.report)
            guarded.child.close()
            guarded.child = None

    def _drop_vitals(self, guarded: Guarded) -> None:
        if guarded.vitals is not None:
            guarded.vitals.close()
            guarded.vitals = None
            self._loop.set_deadline((VITALS, guarded.index), None)

    # ------------------------------------------------------------ acting

    def _step(self, guarded: Guarded) -> None:
        if guarded.damage is not None:
            return
        for _ in range(_STEPS_MAX):
            now_ns = monotonic_ns()
            if guarded.life is Life.DEAD and self._is_current(guarded) and self._defers(guarded, now_ns):
                return  # both watchers saw it die: one of them looks how
            self._refresh_kin(guarded)
            view = self.sight.view(guarded, now_ns)
            action = reconcile.decide(view)
            if isinstance(action, Wait):
                self._wait(guarded, action, now_ns)
                return
            if not self._is_current(guarded):
                self._refresh(guarded)
            elif self._defers(guarded, now_ns) or not self._do(guarded, action, view):
                return
        self._loop.set_deadline(guarded.index, monotonic_ns() + RETRY_NS)

    def _refresh_kin(self, guarded: Guarded) -> None:
        """Its group is judged by what is so, not by what was."""
        group = self._roster.group_of(guarded)
        for _, kin in self._roster.kin(guarded, group) if group else ():
            if not self._is_current(kin):
                self._refresh(kin)

    def _is_current(self, guarded: Guarded) -> bool:
        """Nobody has changed the slot since it was read."""
        return self._pair.state.is_current(guarded.index, guarded.read.version)

    def _wait(self, guarded: Guarded, wait: Wait, now_ns: int) -> None:
        until_ns = wait.until_ns
        if guarded.dead_ns and not guarded.slot.is_over:
            until_ns = guarded.dead_ns + STATUS_WAIT_NS
            until_ns = until_ns if until_ns > now_ns else now_ns + RETRY_NS
        elif guarded.slot.phase is Phase.STARTING and not guarded.unknowable:
            until_ns = min(until_ns or now_ns + RETRY_NS, now_ns + RETRY_NS)
        if until_ns is not None and until_ns <= now_ns:
            until_ns = now_ns + RETRY_NS  # it waits for something else as well
        self._loop.set_deadline(guarded.index, until_ns)

    def _defers(self, guarded: Guarded, now_ns: int) -> bool:
        """Give the living owner a short grace, so that one event wakes one claimer."""
        twin = self.sight.twin_generation()
        if guarded.owner is self._pair.seat.role or not twin:
            return False
        if guarded.slot.owner is guarded.owner and guarded.slot.owner_generation != twin:
            return False  # who gave birth is dead; its successor knows no more than this guard
        if not guarded.deferred_ns:
            guarded.deferred_ns = now_ns + GRACE_NS
        if now_ns >= guarded.deferred_ns:
            return False
        self._deferred.add(guarded.index)
        self._loop.set_deadline(guarded.index, guarded.deferred_ns)
        return True

    def _do(self, guarded: Guarded, action: Action, view: View) -> bool:
        """Carry one action out. False: nothing more to do before the next event or deadline."""
        match action:
            case Change(slot, reason):
                return self._write(guarded, slot, reason)
            case Signal():
                return self._signal(guarded, action)
            case Birth():
                return self._give_birth(guarded, action)
            case Examine():
                return self._examine(guarded, view)
            case EndEscaped():
                return self._end_escaped(guarded)
            case RunHook(slot):
                return self._run_hook(guarded, slot)
            case Drag(indices):
                return self._drag(guarded, indices)
            case Wait():
                return False
            case _:
                raise unforeseen(action)

    def _write(self, guarded: Guarded, slot: Slot, reason: str) -> bool:
        old = guarded.slot
        read = compare_and_write(self._pair.state, self._pair.seat, guarded.index, guarded.read, slot)
        if read is None:
            self._refresh(guarded)
            return True
        self._set(guarded, read)
        self._pair.tell_change(old, slot, reason)
        moved = (old.phase, old.ready) != (slot.phase, slot.ready)
        if moved and self._roster.concerns_others(guarded):
            self.wake_twin()
        return True

    def _signal(self, guarded: Guarded, action: Signal) -> bool:
        if self.report_ready(guarded.index):
            return True  # decide again: this guard may have been late, and not its child (P9)
        pidfd = guarded.hook_pidfd if guarded.slot.hook is HookState.BEGUN else guarded.pidfd
        group = action.group and not guarded.is_registered
        try:
            if group and process.send_group(pidfd, action.number) is None:
                remains.end_group(guarded.slot.identity, pidfd, leavings.token_of(self._pair, guarded))
            process.send(pidfd, action.number)
            process.send(pidfd, signal.SIGCONT)
        except PermissionError:
            self._pair.tell("cannot-stop", slot=guarded.slot.label, pid=guarded.slot.identity.pid)
        return self._write(guarded, action.slot, action.reason)

    def _examine(self, guarded: Guarded, view: View) -> bool:
        is_ending = reconcile.ending_of(view) is not Ending.NONE
        found = leavings.examine(self._pair, guarded, view.now_ns, is_ending=is_ending)
        if isinstance(found, Slot):
            return self._write(guarded, found, "it has handed over")
        guarded.rest = found
        if found is Rest.GROUP:
            self._look_later(guarded)
        return found is not Rest.GROUP

    def _end_escaped(self, guarded: Guarded) -> bool:
        leavings.end_escaped(self._pair, guarded, lambda: self._is_current(guarded))
        guarded.rest = Rest.UNSEEN
        self._look_later(guarded)
        return False

    def _look_later(self, guarded: Guarded) -> None:
        """Each time twice as long: what was sent KILL is about to be gone."""
        self._loop.set_deadline(guarded.index, monotonic_ns() + guarded.pause_ns)
        guarded.pause_ns = min(guarded.pause_ns * 2, GRACE_NS)

    def _drag(self, guarded: Guarded, indices: tuple[int, ...]) -> bool:
        """Have the others of its group end too; a guard that is killed here has its heir go on."""
        told = []
        for index in reversed(indices):  # in the order of their ends, also if an heir has to go on
            kin = self._roster[index]
            ending = replace(kin.slot, end_generation=kin.slot.generation, ending=Ending.GROUP)
            if kin.slot.phase in (Phase.RUNNING, Phase.STARTING, Phase.PAUSED):
                read = compare_and_write(self._pair.state, self._pair.seat, index, kin.read, ending)
                if read is None:
                    self._refresh(kin)
                    continue
                self._set(kin, read)
                told.append(kin.slot.label)
            self._todo[index] = None
        if told:
            self._pair.tell("group-restart", slot=guarded.slot.label, others=told)
            self.wake_twin()
        self._loop.set_deadline(guarded.index, monotonic_ns() + RETRY_NS)
        return False

    def _run_hook(self, guarded: Guarded, slot: Slot) -> bool:
        if self._nursery is None:
            skipped = replace(slot, hook=HookState.DONE, until_ns=0)
            return self._write(guarded, skipped, "no hook: no watcher lives")
        child = self._nursery.take()
        if child is None:
            self._loop.set_deadline(guarded.index, monotonic_ns() + RETRY_NS)
            return False
        try:
            read = self._hooks.begin(guarded, slot, child)
        except (LockWedged, StateMoved):
            self._nursery.give_back(child)
            raise
        if read is None:
            self._nursery.give_back(child)
            self._refresh(guarded)
        else:
            self._set(guarded, read)
        return True

    def _give_birth(self, guarded: Guarded, action: Birth) -> bool:
        child = self._nursery.take(1 + len(self._todo)) if self._nursery else None
        spec = guarded.spec
        if child is None or self._nursery is None or spec is None:
            self._loop.set_deadline(guarded.index, monotonic_ns() + RETRY_NS)
            return False
        hook_ns = spec.before_start.timeout_ns if spec.before_start else 0
        newborn = Newborn(
            Let.WORKER,
            guarded.index,
            guarded.read,
            action.slot,
            until_ns=monotonic_ns() + hook_ns + spec.start_timeout_ns,
            birth_hash=spec.birth_hash,
            counts=action.counts,
        )
        born = self._respawn(child, newborn)
        if born is None:
            self._loop.set_deadline(guarded.index, monotonic_ns() + RETRY_NS)
            return False
        if isinstance(born, str):
            self._refresh(guarded)
            # a new configuration is adopted first: then every slot is looked at
            return self._pair.seat.config_generation == self._pair.state.header().config_generation
        old = guarded.slot
        self._loop.set_deadline(guarded.index, None)
        self._keep(guarded, born, child)
        self._pair.tell_change(old, born.slot, action.reason)
        return True

    def _respawn(self, child: Child, newborn: Newborn) -> Read | str | None:
        nursery = self._nursery
        try:
            born = respawn(self._pair.state, self._pair.seat, child, newborn)
        except (LockWedged, StateMoved):
            if nursery is not None:
                nursery.give_back(child)
            raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
                raise
            self._pair.tell("claim-failed", slot=newborn.base.label, reason=error.strerror)
            born = None
        if not isinstance(born, Read) and nursery is not None:
            nursery.give_back(child)
        return born

    def _keep(self, guarded: Guarded, born: Read, child: Child) -> None:
        """Watch the newborn: its pidfd from now on, its report until it has its program."""
        old = guarded.slot
        self._drop_process(guarded)
        guarded.forget_generation()
        guarded.seen_ns = monotonic_ns()
        guarded.read = born
        guarded.pidfd, child.pidfd = child.pidfd, -1
        guarded.child = child
        self._by_pid[child.pid] = guarded.index
        self._loop.add(guarded.pidfd, (WORKER, guarded.index))
        self._loop.add(child.report, (REPORT, guarded.index))
        self._meet_vitals(guarded)
        self._todo.update(dict.fromkeys(self._roster.changed(old, born.slot)))
