"""A watcher as its twin or the anchor sees it: alive, standing still, dead, to be born again.

Nothing makes its role claimable but a readable pidfd (R17): a twin that was sent KILL and does not die
keeps its role, and the pair runs on one watcher and says so.
"""

import errno
import os
import signal
from dataclasses import replace

from twinwatch.core import exits, judge, spacing
from twinwatch.core.record import Damage, Slot
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import Desired, Ending, Exit, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Newborn, compare_and_write, respawn
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.gate import Child, Let
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, is_dead, open_process
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import WAKE_SIGNAL, Loop
from twinwatch.linux.statefile import Read, StateMoved
from twinwatch.watch.nursery import Nursery
from twinwatch.watch.pair import Pair

TWIN = "twin"
_RETRY_NS = 100 * MILLISECOND_NS
_KILL_AGAIN_NS = 5 * SECOND_NS


class Twin:
    """Holds at most one pidfd: of the role's current holder."""

    def __init__(self, pair: Pair, loop: Loop, nursery: Nursery, role: Role) -> None:
        self._pair = pair
        self._loop = loop
        self._nursery = nursery
        self.role = role
        self._key = (TWIN, role.slot)
        self._retry = f"{TWIN}-{role.label}"
        self._read = Read(Slot(), -1)
        self._pidfd = -1
        self._is_dead = True
        self._status: int | None = None
        self._suspicion = judge.Suspicion()
        self._killed_ns = 0

    def is_live(self) -> bool:
        return not self._is_dead

    @property
    def is_watched(self) -> bool:
        """Alive, and known by a pidfd."""
        return not self._is_dead and self._pidfd >= 0

    def born_ns(self) -> int:
        return self._read.slot.born_ns

    def living_generation(self) -> int:
        """The generation of the living twin, 0 while there is none."""
        return 0 if self._is_dead else self._read.slot.generation

    def wake(self) -> None:
        """Have it look: something that concerns it has changed."""
        if self._pidfd >= 0 and not self._is_dead:
            process.send(self._pidfd, WAKE_SIGNAL)

    def look(self) -> None:
        """Read its slot; a new generation is a new process to watch."""
        state = self._pair.state
        if state.is_current(self.role.slot, self._read.version):
            return
        try:
            read = state.read(self.role.slot)
        except Damage as damage:
            self._damaged(damage)
            return
        if read.slot.generation != self._read.slot.generation or self._read.version < 0:
            self._meet(read.slot)
        self._read = read
        if read.slot.killed and self.is_watched:  # R32: whoever recorded that may not have come to it
            process.send(self._pidfd, signal.SIGKILL)

    def _damaged(self, damage: Damage) -> None:
        """Its holder knows the record best and repairs it; this memory is as good."""
        if self._pair.state.mend(self.role.slot, self._read):
            self._pair.tell("repaired", slot=self.role.label, reason=damage.what)
        else:
            self._pair.tell("damaged", slot=self.role.label, reason=damage.what)

    def _meet(self, slot: Slot) -> None:
        self._drop()
        self._suspicion = judge.of_another(self._suspicion)
        self._killed_ns = 0
        self._status = None
        try:
            self._pidfd = open_process(slot.identity) if slot.identity else -1
        except ProcessGone:
            self._pidfd = -1
        except IdentityUnknown:
            self._is_dead = False  # not known to be dead: its role stays unclaimed
            return
        self._is_dead = self._pidfd < 0
        if self._pidfd >= 0:
            self._loop.add(self._pidfd, self._key)

    def close(self) -> None:
        """Let go of its process."""
        self._drop()
        self._loop.set_deadline(self._retry, None)

    def _drop(self) -> None:
        if self._pidfd >= 0:
            process.reap(self._pidfd)
            self._loop.remove(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    # ------------------------------------------------------------ death

    def died(self) -> None:
        """Its pidfd was readable; it may have a successor by now (R21)."""
        if self._pidfd < 0 or self._is_dead or not is_dead(self._pidfd):  # R21
            return
        status = process.child_status(self._pidfd, reap=True)
        if status is None:
            status = process.stranger_status(self._pidfd, self._read.slot.identity)
        self._status = status
        self._is_dead = True
        self._loop.remove(self._pidfd)

    def work(self) -> bool:
        """Give its role a new holder, if it has none and should have one. True: one was born.

        Raises:
            BehindGate: in a child.
        """
        if not self._is_dead or self._read.version < 0:  # R17
            return False
        header = self._pair.state.mended_header(self._pair.tell)
        if header.desired is not Desired.RUN or header.config_generation != self._pair.seat.config_generation:
            return False
        self.look()
        if self.is_live():  # R17: its reserve was faster
            return False
        now_ns = monotonic_ns()
        due_ns = spacing.not_before_ns(self._read.slot.births_ns, now_ns)
        if due_ns > now_ns:
            self._loop.set_deadline(self._retry, due_ns)
            return False
        child = self._nursery.take()
        if child is None or not self._bear(child):
            self._loop.set_deadline(self._retry, now_ns + _RETRY_NS)
            return False
        return True

    def _bear(self, child: Child) -> bool:
        """False: neither is it born nor does it live; try again later."""
        old = self._read.slot
        base = replace(old, exit=self._exit(old), desired=Desired.RUN, name=self.role.label)
        newborn = Newborn(Let.ROLE, self.role.slot, self._read, base, counts=old.generation > 0)
        try:
            born = respawn(self._pair.state, self._pair.seat, child, newborn)
        except (LockWedged, StateMoved):
            self._nursery.give_back(child)
            raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
                raise
            self._pair.tell("claim-failed", slot=self.role.label, reason=error.strerror)
            born = ""
        if isinstance(born, str):
            self._nursery.give_back(child)
            self.look()
            return not self._is_dead
        self._drop()
        self._read = born
        self._suspicion = judge.of_another(self._suspicion)
        self._killed_ns = 0
        self._is_dead = False
        self._pidfd, child.pidfd = child.pidfd, -1
        self._loop.add(self._pidfd, self._key)
        child.close()
        self._pair.tell_change(old, born.slot, "the twin was dead")
        return True

    def _exit(self, slot: Slot) -> Exit:
        if slot.is_over:
            return slot.exit
        end = exits.decode(self._status, (0,), slot.generation, monotonic_ns())
        return replace(end, ending=slot.ending)

    # ------------------------------------------------------------ standing still

    def observe(self, now_ns: int) -> None:
        """One tick: look whether its heartbeat moves."""
        if not self.is_watched:
            self._suspicion = judge.Suspicion(last_tick_ns=now_ns)
            return
        watch, generation = self._pair.spec.watch, self._read.slot.generation
        beat = self._pair.state.heartbeat(self.role)
        self._suspicion = judge.observe(
            self._suspicion,
            generation,
            beat.sequence,
            now_ns=now_ns,
            interval_ns=watch.interval_ns,
            timeout_ns=watch.timeout_ns,
            beat_ns=beat.at_ns if beat.generation == generation else None,
        )

    @property
    def next_look_ns(self) -> int:
        """Until the next tick: an interval, or less where it will have stood still for too long before."""
        watch = self._pair.spec.watch
        left_ns = watch.timeout_ns - self._suspicion.still_ns
        return left_ns if self.is_watched and 0 < left_ns < watch.interval_ns else watch.interval_ns

    def is_still(self) -> bool:
        """Its heartbeat was not seen to move for longer than a living one's ever stands still."""
        return self._suspicion.still_ns >= self._pair.spec.watch.timeout_ns

    def is_hung(self) -> bool:
        """It stood still for too long, while this judge was on time."""
        return self.is_watched and judge.is_hung(self._suspicion, self._pair.spec.watch.timeout_ns)

    def judge(self, now_ns: int) -> None:
        """End one that stands still."""
        if self.is_hung() and now_ns >= self._killed_ns:
            self._convict(now_ns)

    def _convict(self, now_ns: int) -> None:
        """KILL it, if its slot still says the same under the lock; the role waits for its death."""
        old = self._read.slot
        slot = replace(old, phase=Phase.STOPPING, ending=Ending.HUNG, killed=True)
        read = compare_and_write(self._pair.state, self._pair.seat, self.role.slot, self._read, slot)
        if read is None:
            self.look()
            return
        self._read = read
        process.send(self._pidfd, signal.SIGKILL)
        again = " and does not die" if self._killed_ns else ""
        self._killed_ns = now_ns + _KILL_AGAIN_NS
        still_s = self._suspicion.still_ns / 1e9
        self._pair.tell_change(old, slot, f"its heartbeat has stood still for {still_s:.3g} s{again}")
