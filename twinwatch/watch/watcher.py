"""A watcher: one loop that guards the twin and the workers, and keeps its own right to its role.

Wait, collect events, decide, act. Deaths come as readable pidfds; a signal says that a command or the
twin changed something; the tick writes the heartbeat, judges the twin's, and looks whether this
process still is what it believes to be: holder of its role, of a file that is still at its path, of
the configuration that is in force. A watcher that is fenced leaves before it touches anything.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import replace

from twinwatch.config import snapshot
from twinwatch.core.record import Damage, Header
from twinwatch.core.values import Desired, Phase
from twinwatch.linux import process
from twinwatch.linux.birth import Fenced, Seat
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.events import EventLog
from twinwatch.linux.gate import set_comm
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import Loop
from twinwatch.linux.notify import NotifySocket
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateMoved
from twinwatch.watch import lastwords
from twinwatch.watch.anchored import ANCHOR, Anchored
from twinwatch.watch.guard import REPORT, WORKER, Guard
from twinwatch.watch.hooks import HOOK
from twinwatch.watch.listener import BUSY, NOTES, NOTIFY, Listener
from twinwatch.watch.nursery import RESERVE, Nursery
from twinwatch.watch.pair import Pair
from twinwatch.watch.tenure import Tenure, open_pair
from twinwatch.watch.twin import TWIN, Twin

TICK = "tick"
_HOUSEKEEPING = 3  # ticks
_WANTS = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT})


class Watcher:
    """The holder of a role, from its birth to its leaving."""

    def __init__(self, paths: Paths, seat: Seat, notify: NotifySocket | None = None) -> None:
        self._own_pidfd = os.pidfd_open(os.getpid())
        self._loop = Loop()
        self._loop.catch_wake_signal()
        spec, state = open_pair(paths)
        events = EventLog(paths.events, paths.pair, f"{seat.role.label}.{seat.generation}")
        self.pair = Pair(paths, spec, state, seat, events, notify)
        seat.config_generation = spec.generation
        self._tenure = Tenure(self.pair, self._reopened)
        self._nursery = Nursery(self.pair, self._loop, self._own_pidfd)
        self.guard = Guard(self.pair, self._loop, self._nursery)
        self._twin = Twin(self.pair, self._loop, self._nursery, seat.role.twin)
        self.guard.sight.twin_generation = self._twin.living_generation
        self.guard.sight.twin_born_ns = self._twin.born_ns
        self.guard.wake_twin = self._twin.wake
        self._anchor = Anchored(self.pair, self._loop)
        self._ticks = 0
        self._listener = Listener(self.pair, self._loop, self.guard)
        self._alive = _hold_alive_lock(paths)
        self._retiring = False
        self._told: set[str] = set()
        self._is_leaving = False  # its notify socket is not the pair's: it comes back with the right one

    # ------------------------------------------------------------ life

    def run(self, settle: Callable[[], None]) -> None:
        """Guard until the pair is to be down and nothing runs. Raises Fenced, BehindGate.

        `settle` is called when all that is urgent is done.
        """
        self._recall_quarantine()  # R16: before this role's next beat takes the former holder's word away
        self._insist(self._take_seat)
        self._listener.open()  # before the first reserve, which inherits it
        self._beat_now(monotonic_ns())
        self._nursery.refill()  # until there is a reserve, one more kill may be the last
        self._insist(lambda: self.guard.adopt(self.pair.spec))
        self._twin.look()
        self._insist(lambda: self._tick(monotonic_ns()))
        settle()
        while not self._round():
            continue

    def _insist(self, do: Callable[[], None]) -> None:
        """A newborn that meets a lock that is not to be had says so and tries again, as any watcher does."""
        while True:
            try:
                do()
            except LockWedged as wedged:
                self._say_wedged(wedged)
            else:
                return

    def _say_wedged(self, wedged: LockWedged) -> None:
        self.pair.tell("wedged", reason=str(wedged))
        self.pair.flush()

    def _take_seat(self) -> None:
        set_comm(f"twinwatch-{self.pair.seat.role.label}")
        old, seat = self._tenure.take(), self.pair.seat
        if seat.former is not None:
            self.pair.tell_change(seat.former, old, "its reserve took over")
            seat.former = None
        self.pair.tell_change(old, replace(old, phase=Phase.RUNNING), f"watching as {seat.role.label}")

    def _reopened(self) -> None:
        self._nursery.publish(anew=True)
        self.guard.adopt(self.pair.spec)

    def _round(self) -> bool:
        """Wait for what happens, and act on it. True: this watcher is done."""
        try:
            idle = not self._nursery.is_short or self._retiring or self._is_leaving
            events = self._loop.wait(block=idle and not self.guard.has_work)
            for key in events:
                self._dispatch(key)
            for due in self._loop.take_due(monotonic_ns()):
                self._passed(due)
            self._bear_twin()
            self.guard.work()
            self.pair.flush()
            if not events and not self._retiring and not self._is_leaving:
                self._nursery.refill()
                self._nursery.publish()
            return self._is_done()
        except LockWedged as wedged:
            self._say_wedged(wedged)
            self.guard.look_at_all()  # what this round had in hand is not lost
        except StateMoved:
            self._tenure.recover_path()
        except Damage as damage:
            if self._tenure.bear_damage(damage):
                self._twin.wake()  # it may know the very version
            self.guard.look_at_all()
        return False

    def _dispatch(self, key: tuple[str, int]) -> None:
        kind, number = key
        if kind == WORKER:
            self.guard.pidfd_ready(number)
        elif kind == REPORT:
            self.guard.report_ready(number)
        elif kind == HOOK:
            self.guard.hook_ready(number)
        elif kind == NOTIFY:
            self._listener.ready()
        elif kind == RESERVE:
            self._nursery.died(number, process.reap)
        elif kind == TWIN:
            self._twin.died()
            self._recall_quarantine()  # before its successor's first beat
            self._bear_twin()
            self._look()
            self.guard.owned_by(self.pair.seat.role.twin)
        elif kind == ANCHOR:
            self._anchor.died()
        else:
            self._look()

    def _bear_twin(self) -> None:
        """Before anything else: until its place is filled, one more kill may be the last."""
        if self._twin.work():
            self.pair.flush()  # a watcher that is killed now takes no word along
            self._nursery.refill()  # at once: whoever made a list of all guards does not have this one

    def _passed(self, due: Hashable) -> None:
        if due == TICK:
            self._tick(monotonic_ns())
        elif due == BUSY:
            self._listener.again()
        elif due == NOTES:
            self._listener.write_notes(monotonic_ns())
        elif isinstance(due, int):
            self.guard.look_again(due)
        elif isinstance(due, tuple):
            self.guard.vitals_due(due[1])

    # ------------------------------------------------------------ the tick

    def _tick(self, now_ns: int) -> None:
        interval_ns = self.pair.spec.watch.interval_ns
        self.guard.sight.tick(now_ns)
        self._beat_now(now_ns)
        self._loop.set_deadline(TICK, now_ns + interval_ns)
        if not self.pair.state.is_at_path():
            self._tenure.recover_path()
        self._tenure.mend_own_slot()
        self.pair.seat.check(self.pair.state)
        self._look()
        self._twin.observe(now_ns)
        self._twin.judge(now_ns)
        self._loop.set_deadline(TICK, now_ns + self._twin.next_look_ns)
        self._listener.tick()
        if self._ticks % _HOUSEKEEPING == 0:
            self._keep_house()
        self._ticks += 1

    def _keep_house(self) -> None:
        """What hardly ever needs it, and takes as long as half of all else that a tick does."""
        self._keep_snapshot()
        self._keep_contact()
        self._nursery.publish(anew=True)
        self.guard.sweep()
        self.guard.sight.oom.look()
        self.pair.events.follow_path()

    def _keep_snapshot(self) -> None:
        """The next watcher needs it: put it back where the state directory was lost."""
        paths, spec = self.pair.paths, self.pair.spec
        if not snapshot.exists(paths.snapshots, spec.generation):
            for directory in (paths.logs, paths.snapshots, paths.tokens):
                os.makedirs(directory, mode=0o700, exist_ok=True)
            snapshot.write(paths.snapshots, spec)
            self.pair.tell("state-directory-rebuilt", path=paths.state)

    def _keep_contact(self) -> None:
        """The next births need it; what was in it is lost until then."""
        contact = self.pair.paths.contact
        if not os.path.isdir(contact):
            try:
                os.makedirs(contact, exist_ok=True)
                os.chmod(contact, 0o711)  # noqa: S103 - workers of other users reach their files in it
            except OSError as error:  # any errno: workers run without it, and the next tick tries again
                self._tell_once("contact-directory-lost", path=contact, reason=error.strerror)
                return
            self._told.clear()
            self.guard.remake_heartbeats()
            self.pair.tell("contact-directory-rebuilt", path=contact)
        self._keep_socket()

    def _tell_once(self, event: str, **details: object) -> None:
        """Not at every tick."""
        if event not in self._told:
            self._told.add(event)
            self.pair.tell(event, **details)

    def _keep_socket(self) -> None:
        """Workers must reach the pair: see that the notify socket at the path is this watcher's."""
        if not self._is_leaving:
            before = self.pair.notify
            self._is_leaving = self._listener.is_stale(self._twin_inode)
            if self._is_leaving:
                self._nursery.retire()
            elif self.pair.notify is not before:
                self._beat_now(monotonic_ns())  # the twin looks there whose it is
                self._nursery.renew()
        if self._is_leaving and self._nursery.is_empty:
            self.pair.tell("leaving", reason="its notify socket is not the pair's any more")
            self.pair.flush()
            raise Fenced

    def _twin_inode(self) -> int | None:
        """Of the twin's notify socket; None: no twin lives."""
        if not self._twin.is_live():
            return None
        return self.pair.state.heartbeat(self.pair.seat.role.twin).notify_inode

    def _look(self) -> None:
        """Something may have changed: configuration, wishes, slots."""
        header = self._tenure.header()
        if header.config_generation != self.pair.seat.config_generation:
            self._adopt(header)
        if header.desired is Desired.STOP:
            self.guard.look_at_all()
        self.guard.catch_up()
        self._twin.look()
        self._anchor.look()

    def _beat_now(self, now_ns: int) -> None:
        quarantined = next(iter(self.guard.quarantined), -1)
        self._tenure.beat(now_ns, handling=1 + quarantined)

    def _adopt(self, header: Header) -> None:
        """Take the published configuration over; reserves that carry the old one leave."""
        if not self._tenure.adopt(header):
            return
        self._keep_socket()
        self._nursery.renew()
        self.guard.adopt(self.pair.spec)
        self._tenure.write_own(Phase.RUNNING)
        self._beat_now(monotonic_ns())  # `reload` waits for the word in it
        self.pair.tell("configuration", generation=self.pair.spec.generation)

    # ------------------------------------------------------------ leaving

    def _is_done(self) -> bool:
        """The pair is to be down, no worker has a process, and the reserves have left."""
        if self._tenure.header().desired is Desired.RUN:
            self._retiring = False
            return False
        if not self.guard.is_all_over or self.guard.has_work:
            return False
        if not self._retiring:
            self._retiring = True
            self._nursery.retire()
        return self._nursery.is_empty

    def leave(self) -> None:
        """The orderly end."""
        self._tenure.leave("the pair is down")

    # ------------------------------------------------------------ crashes

    def _recall_quarantine(self) -> None:
        """What the former holder had in hand when it crashed is not met again (R16)."""
        for role in (self.pair.seat.role, self.pair.seat.role.twin):
            handling = self.pair.state.heartbeat(role).handling
            if handling:  # R16
                self.guard.quarantine(handling - 1)

    def crashed(self) -> None:
        """Leave word of the slot that was in hand: one bad record must not end both twins in turn (R16).

        Not where the machine lacked something: that is over some time, and was no fault of the record's.
        """
        error = sys.exception()
        self._tenure.beat(monotonic_ns(), handling=0 if _is_want(error) else self.guard.handling)
        self._listener.crashed()
        index = self.guard.handling - 1
        self.pair.tell("crashed", index=index if index >= 0 else None, reason=lastwords.brief(error))
        self.pair.flush()


def _is_want(error: BaseException | None) -> bool:
    """Whether it says that memory, descriptors or room on a disk ran out."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _WANTS)


def _hold_alive_lock(paths: Paths) -> int:
    """A shared lock in the state directory: it tells `up` that this pair lives (R12)."""
    try:
        fd = os.open(paths.alive_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOSPC, errno.EACCES):
            raise
        return -1
    with suppress(BlockingIOError):
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return fd
