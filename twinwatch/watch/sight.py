"""What a guard can see of a worker slot, put into the words that `core.reconcile` decides on."""

import signal
from collections.abc import Callable
from dataclasses import replace

from twinwatch.core import exits
from twinwatch.core.kinship import Member, kin_of
from twinwatch.core.reconcile import Kin, Life, View
from twinwatch.core.record import Slot
from twinwatch.core.timing import MILLISECOND_NS
from twinwatch.core.values import Exit, ExitKind, Met, Phase, Stage
from twinwatch.linux import process, remains
from twinwatch.linux.identity import is_stopped
from twinwatch.linux.launch import generation_variable
from twinwatch.linux.memory import OomCounter
from twinwatch.watch.pair import Pair
from twinwatch.watch.reserve import LEFT_AT_GATE
from twinwatch.watch.roster import Guarded, Roster

STATUS_WAIT_NS = 100 * MILLISECOND_NS  # for an exit status that only the parent can collect
GATE_NS = 500 * MILLISECOND_NS  # at most, for a child whose gate nobody is left to open


class Sight:
    """`twin_generation` tells the generation of the living twin, 0 while there is none.

    `twin_born_ns` tells when it was born.
    """

    def __init__(self, pair: Pair, roster: Roster) -> None:
        self._pair = pair
        self._roster = roster
        self.oom = OomCounter()
        self.twin_generation: Callable[[], int] = lambda: 0
        self.twin_born_ns: Callable[[], int] = lambda: 0
        self.has_unread: Callable[[], bool] = lambda: False  # signs of life that nobody has read yet
        self._looked_ns = 0
        self._fresh_ns = 0

    def tick(self, now_ns: int) -> None:
        """Note whether this guard was away: suspended, or starved, together with everybody else."""
        watch = self._pair.spec.watch
        if self._looked_ns and now_ns - self._looked_ns > watch.interval_ns + watch.patience_ns:
            self._fresh_ns = now_ns + watch.patience_ns
        self._looked_ns = now_ns

    def view(self, guarded: Guarded, now_ns: int) -> View:
        slot = guarded.slot
        life = guarded.life
        dead = life is Life.DEAD and not slot.is_over
        pair = self._pair.state.header().desired
        return View(
            slot=slot,
            spec=guarded.spec,
            instance=guarded.instance,
            parting=guarded.parting,
            pair=pair,
            now_ns=now_ns,
            life=life,
            is_newer=slot.config_generation > self._pair.seat.config_generation,
            rest=guarded.rest,
            end=self._end(guarded, now_ns) if dead else None,
            has_program=self._has_program(guarded),
            gate_until_ns=self._gate_until_ns(guarded, now_ns),
            dependencies_ready=self._roster.are_dependencies_ready(guarded),
            dependants_live=self._roster.are_dependants_live(guarded, pair),
            verdict=self._verdict(guarded),
            met=self.met(guarded),
            is_beating=guarded.vitals is not None and guarded.vitals.is_beating,
            is_fresh=now_ns >= self._fresh_ns,
            signed_off=dead and _has_signed_off(guarded),
            hook=guarded.hook,
            kin=self._kin(guarded, now_ns),
            chance=(now_ns >> 4) % 1024 / 1024,
        )

    def _verdict(self, guarded: Guarded) -> str:
        """Nothing while signs of life are unread: what is queued is heard before silence is declared."""
        verdict = guarded.vitals.verdict() if guarded.vitals else ""
        return "" if not verdict or self.has_unread() else verdict

    @staticmethod
    def met(guarded: Guarded) -> Met:
        """Conditions of readiness that its heartbeat file shows."""
        return Met.HEARTBEAT if guarded.vitals and guarded.vitals.has_beaten else Met.NOTHING

    def _kin(self, guarded: Guarded, now_ns: int) -> Kin:
        group = self._roster.group_of(guarded)
        if group is None:
            return Kin()
        others = [Member(kin.index, rank, kin.slot) for rank, kin in self._roster.kin(guarded, group)]
        own = Member(guarded.index, group.workers.index(guarded.slot.name), guarded.slot)
        return kin_of(group, own, others, now_ns)

    def _end(self, guarded: Guarded, now_ns: int) -> Exit | None:
        """How a dead generation ended, or None while that may still be found out."""
        slot = guarded.slot
        if guarded.failure is not None:
            return replace(guarded.failure, at_ns=now_ns)
        success = guarded.spec.restart.success_codes if guarded.spec else (0,)
        status = None
        if guarded.pidfd >= 0:
            status = process.child_status(guarded.pidfd, reap=False)
            if status is None:
                status = process.stranger_status(guarded.pidfd, slot.identity)
            if status is None and now_ns < guarded.dead_ns + STATUS_WAIT_NS:
                return None
        elif self._may_twin_know() and now_ns < guarded.dead_ns + self._pair.spec.watch.patience_ns:
            return None
        end = exits.decode(status, success, slot.generation, now_ns)
        gated = slot.phase is Phase.STARTING and not guarded.has_program  # else 120 is the program's own
        if gated and end.kind is ExitKind.ERROR and end.code == LEFT_AT_GATE:
            return exits.failed_start(Stage.GATE, 0, slot.generation, now_ns)
        if end.signal == signal.SIGKILL and not slot.killed and self.oom.look():
            return replace(end, oom=True)
        return end

    def _may_twin_know(self) -> bool:
        """A twin that is older than this watcher may hold the pidfd that this one came too late for."""
        own = self._pair.seat.own(self._pair.state)
        return own is not None and self.twin_generation() > 0 and self.twin_born_ns() < own.born_ns

    def _has_program(self, guarded: Guarded) -> bool:
        slot = guarded.slot
        if slot.phase is not Phase.STARTING or guarded.has_program or guarded.child is not None:
            return guarded.has_program
        if guarded.pidfd >= 0 and not guarded.dead_ns:
            variable = generation_variable(slot.generation)
            guarded.has_program = remains.has_program(slot.identity.pid, variable)
        return guarded.has_program

    def _gate_until_ns(self, guarded: Guarded, now_ns: int) -> int:
        """By then a recorded child has its program, or it is ended.

        It has its start timeout, but only one interval (`GATE_NS` at most) if its parent is dead, or if it is
        stopped.
        """
        slot = guarded.slot
        if slot.phase is not Phase.STARTING or guarded.has_program:
            return slot.until_ns
        soon_ns = guarded.seen_ns + min(self._pair.spec.watch.interval_ns, GATE_NS)
        if now_ns < soon_ns:  # most have their program by then, and nobody needs to look
            return min(slot.until_ns, soon_ns)
        pid = slot.identity.pid
        if (self._is_parent_live(slot) or remains.is_in_hook(pid)) and not is_stopped(pid):
            return slot.until_ns
        return min(slot.until_ns, soon_ns)

    def _is_parent_live(self, slot: Slot) -> bool:
        seat = self._pair.seat
        living = seat.generation if slot.owner is seat.role else self.twin_generation()
        return slot.owner_generation == living


def _has_signed_off(guarded: Guarded) -> bool:
    if guarded.vitals is None:
        return False
    guarded.vitals.read()
    guarded.vitals.close()
    return guarded.vitals.is_signed_off
