"""What workers say through the notify socket, turned into records.

A datagram is recorded in the slot of the worker whose process sent it: the kernel says which process that
was. Both watchers read one socket; recording a datagram twice changes nothing. Who may speak for a worker:
its own process, the processes of its session, and their descendants, whatever user they have become.
"""

import os
from collections.abc import Callable
from dataclasses import replace

from twinwatch.core import exits, readiness
from twinwatch.core.notice import Notice
from twinwatch.core.reconcile import UNKILLABLE_PAUSE_NS
from twinwatch.core.record import NOTE_MAX, PING_OFF, Damage, Ping, Slot
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import Desired, Health, Met, Phase, Role
from twinwatch.linux import adoption, remains
from twinwatch.linux.birth import compare_and_write
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.launch import generation_variable
from twinwatch.linux.loop import Loop
from twinwatch.linux.notify import (
    Message,
    NotifyPathTooLong,
    NotifySocket,
    ReaderLock,
    ancestors,
    is_around,
    session_of,
)
from twinwatch.watch.guard import Guard
from twinwatch.watch.pair import Pair
from twinwatch.watch.roster import Guarded

NOTIFY = "notify"
BUSY = "notify-busy"
NOTES = "notes"
_BUSY_PAUSE_NS = 5 * MILLISECOND_NS
_NOTE_PAUSE_NS = SECOND_NS  # between two notes of one worker: some say something with every beat
_TRIES = 16
_REFUSED_MAX = 4096
_LIVING = frozenset({Phase.STARTING, Phase.RUNNING, Phase.STOPPING, Phase.PAUSED})


class Listener:
    """The notify socket of a watcher, if the configuration has a worker that speaks."""

    def __init__(self, pair: Pair, loop: Loop, guard: Guard) -> None:
        self._pair = pair
        self._loop = loop
        self._guard = guard
        self._refused: set[tuple[int, int]] = set()  # (slot, generation) that was told of already
        self._is_reading = False
        self._noted_ns: dict[int, int] = {}  # slot: not before then is another note written
        self._unwritten: dict[int, tuple[int, str]] = {}  # slot: (generation, note)
        guard.sight.has_unread = self.has_unread

    # ------------------------------------------------------------ the socket

    @property
    def _is_wanted(self) -> bool:
        return any(worker.notify for worker in self._pair.spec.workers)

    def open(self) -> None:
        """Listen at the socket that was inherited, or make one."""
        if self._pair.notify is None and self._is_wanted:
            self._bind()
        elif self._pair.notify is not None:
            self._loop.add(self._pair.notify.fileno(), (NOTIFY, 0))

    def _bind(self) -> None:
        paths = self._pair.paths
        os.makedirs(paths.contact, mode=0o711, exist_ok=True)
        try:
            self._pair.notify = NotifySocket.bind(paths.notify_socket)
        except NotifyPathTooLong as error:
            self._pair.tell("notify-refused", reason=str(error))
            return
        self._loop.add(self._pair.notify.fileno(), (NOTIFY, 0))

    def _drop(self) -> None:
        if self._pair.notify is not None:
            self._loop.remove(self._pair.notify.fileno())
            self._pair.notify.close()
            self._pair.notify = None

    def is_stale(self, ask_twin_inode: Callable[[], int | None]) -> bool:
        """Look whether workers reach this socket. `ask_twin_inode`: of the twin's; None: no twin lives.

        True: they reach the twin's. Then this watcher leaves, and comes back as the twin's child, with it.
        Where they reach none, one watcher makes a new one: `a`, while it lives, so that two never take
        turns in replacing each other's.
        """
        own = self._pair.notify
        if own is None and not self._is_wanted:
            return False
        if own is not None and own.is_at_path():
            return False
        twin_inode = ask_twin_inode()
        if twin_inode and twin_inode == _inode_at(self._pair.paths.notify_socket):
            return True
        if self._is_wanted and (twin_inode is None or self._pair.seat.role is Role.A):
            self._drop()
            self._bind()
            self._pair.tell("notify-socket-made")
        return False

    def has_unread(self) -> bool:
        return self._pair.notify is not None and self._pair.notify.has_pending()

    # ------------------------------------------------------------ reading

    def ready(self) -> None:
        """Read a batch. While the twin reads, look again a little later."""
        if self._pair.notify is None:
            return
        fd = self._pair.notify.fileno()
        self._is_reading = True
        if self._pair.notify.read(self._record, ReaderLock(self._pair.state.fileno())) is None:
            self._loop.remove(fd)
            self._loop.set_deadline(BUSY, monotonic_ns() + _BUSY_PAUSE_NS)
        self._is_reading = False

    def crashed(self) -> None:
        """Consume the datagram that this watcher crashed on: no successor must meet it in turn (R16)."""
        if self._is_reading and self._pair.notify is not None:
            self._pair.notify.read(lambda _message: None, ReaderLock(self._pair.state.fileno()), 1)

    def again(self) -> None:
        """The pause after a busy socket is over."""
        if self._pair.notify is not None:
            self._loop.remove(self._pair.notify.fileno())
            self._loop.add(self._pair.notify.fileno(), (NOTIFY, 0))

    def _record(self, message: Message) -> None:
        guarded = self._sender(message)
        if guarded is None or guarded.spec is None or not guarded.spec.notify or not is_around(message):
            self._refuse(-1, message.uid, "not of a worker that speaks")
            return
        notice = message.notice
        if notice.fault:
            self._refuse(guarded.index, guarded.slot.generation, notice.fault, guarded)
        elif notice.fdstore:
            self._refuse(guarded.index, guarded.slot.generation, "descriptors are not stored", guarded)
        if notice.watchdog or notice.watchdog_ns is not None:
            self._ping(guarded, notice)
        self._change(guarded, notice, message.pid)

    def _refuse(self, index: int, key: int, reason: str, guarded: Guarded | None = None) -> None:
        """Told once for each generation, and once for each user who is a stranger."""
        if (index, key) not in self._refused and len(self._refused) < _REFUSED_MAX:
            self._refused.add((index, key))
            label, uid = (guarded.slot.label, None) if guarded else (None, key)
            self._pair.tell("notify-refused", slot=label, uid=uid, reason=reason)

    def _sender(self, message: Message) -> Guarded | None:
        """The worker of which the sender is a process."""
        for look in (False, True):
            if look:
                self._guard.catch_up()  # it may have been born by the twin a moment ago
            found = self._guard.find(message.pid) or self._guard.find(session_of(message.pid))
            if found is not None:
                return found
        return next(filter(None, map(self._guard.find, ancestors(message.pid))), None)

    def _ping(self, guarded: Guarded, notice: Notice) -> None:
        state, index, generation = self._pair.state, guarded.index, guarded.slot.generation
        known = state.ping(index)
        limit_ns = known.limit_ns if known.generation == generation else 0
        if notice.watchdog_ns is not None:
            limit_ns = notice.watchdog_ns or PING_OFF
        state.put_ping(index, Ping(generation, monotonic_ns(), limit_ns))

    def _change(self, guarded: Guarded, notice: Notice, sender: int) -> None:
        for _ in range(_TRIES):
            try:
                read = self._pair.state.read(guarded.index)
            except Damage:
                return
            if read.slot.generation != guarded.slot.generation:
                return
            wanted = self._said(guarded, read.slot, notice)
            if notice.main_pid and notice.main_pid != read.slot.identity.pid:
                token = self._pair.paths.token(read.slot.name, read.slot.instance)
                identity = adoption.main_process(notice.main_pid, token, session_of(sender))
                wanted = exits.handed_over(wanted, identity) if identity else wanted
            if wanted == read.slot:
                return
            if compare_and_write(self._pair.state, self._pair.seat, guarded.index, read, wanted):
                self._pair.tell_change(read.slot, wanted, "it said so")
                self._guard.changed(guarded.index)
                return

    def _said(self, guarded: Guarded, slot: Slot, notice: Notice) -> Slot:
        """The record of a worker after what it said."""
        if slot.phase not in _LIVING or slot.is_over:
            return slot
        now_ns = monotonic_ns()
        if slot.phase is Phase.STARTING:  # no watcher has seen its program yet
            if not remains.has_program(slot.identity.pid, generation_variable(slot.generation)):
                return slot
            slot = replace(slot, phase=Phase.RUNNING, until_ns=readiness.until_ns(slot, guarded.spec, now_ns))
        if notice.ready:
            slot = replace(slot, met=slot.met | Met.NOTIFY)
        note = "reloading" if notice.reloading and notice.status is None else notice.status
        if note is not None:
            slot = self._noted(guarded.index, slot, note, now_ns)
        if notice.extend_ns is not None and slot.until_ns:
            slot = replace(slot, until_ns=max(slot.until_ns, now_ns + notice.extend_ns))
        if notice.watchdog_trigger and slot.phase is Phase.RUNNING and slot.desired is Desired.RUN:
            slot = replace(slot, health=Health.UNHEALTHY, note="WATCHDOG=trigger")
        if notice.stopping and slot.phase is Phase.RUNNING:
            timeout_ns = guarded.spec.stop.timeout_ns if guarded.spec else UNKILLABLE_PAUSE_NS
            slot = replace(slot, phase=Phase.STOPPING, ready=False, until_ns=now_ns + timeout_ns)
        return slot

    def _noted(self, index: int, slot: Slot, note: str, now_ns: int) -> Slot:
        """Its note, if one may be written now; else the newest one is kept until then."""
        if now_ns < self._noted_ns.get(index, 0):
            self._unwritten[index] = (slot.generation, note)
            self._loop.set_deadline(NOTES, self._noted_ns[index])
            return slot
        self._unwritten.pop(index, None)
        self._noted_ns[index] = now_ns + _NOTE_PAUSE_NS
        return replace(slot, note=note[:NOTE_MAX])

    def tick(self) -> None:
        """Look for what no event told."""
        if self.has_unread():
            self.again()

    def write_notes(self, now_ns: int) -> None:
        """Write the notes that came too soon after another one."""
        due = [index for index in self._unwritten if now_ns >= self._noted_ns.get(index, 0)]
        for index in due:
            generation, note = self._unwritten.pop(index)
            guarded = self._guard.at(index)
            if guarded is not None and guarded.slot.generation == generation:
                self._change(guarded, Notice(status=note), 0)
        if self._unwritten:
            self._loop.set_deadline(NOTES, min(self._noted_ns[index] for index in self._unwritten))


def _inode_at(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return 0
