"""What an internal worker has of its pair: configuration, slots, event log, its own heartbeat.

It acts as a guest: it has wishes about slots and holds no role, so the compare under the state lock
decides whether what it saw still is so. It can be killed at any moment.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

from twinwatch.client.heartbeat import Heartbeat
from twinwatch.config import snapshot
from twinwatch.core.record import Damage, Slot
from twinwatch.core.spec import PairSpec, WorkerSpec
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import WATCHER_ROLES, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat, compare_and_write
from twinwatch.linux.events import EventLog
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import WAKE_SIGNAL
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile, StateMoved

_OPEN_PAUSE_MS = 100
_CHANGE_TRIES = 16
_GUEST = Seat(Role.GUEST)


class Room:
    """Use it as a context manager: it catches SIGTERM (`is_ending`) and SIGUSR1 (a wait returns early)."""

    def __init__(self, paths: Paths, name: str) -> None:
        self.paths = paths
        self.is_ending = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(WAKE_SIGNAL, lambda _number, _frame: None)
        self._heartbeat = Heartbeat()
        self.events = EventLog(paths.events, paths.pair, name)
        self.spec = PairSpec(paths.pair)
        self.state = self._open()
        self.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self.events.close()
        self.state.close()
        self._heartbeat.close()

    def _end(self, _number: int, _frame: object) -> None:
        self.is_ending = True

    def _open(self) -> StateFile:
        """The state file at its path; a lost one is put back by the watchers, and waited for."""
        while True:
            try:
                return StateFile(self.paths.runtime, 2 * SECOND_NS)
            except FileNotFoundError:
                if self.is_ending:
                    raise SystemExit(0) from None
                self.beat()
                process.pause(_OPEN_PAUSE_MS)

    # ------------------------------------------------------------ what is so

    def refresh(self) -> bool:
        """Take a new configuration or a rebuilt state file over. True: the configuration has changed."""
        if not self.state.is_at_path():
            self.state.close()
            self.state = self._open()
        try:
            generation = self.state.header().config_generation
            if generation == self.spec.generation:
                return False
            self.spec = snapshot.read(self.paths.snapshots, generation)
        except (Damage, snapshot.SnapshotError, FileNotFoundError):
            return False  # the watchers mend it; this service looks again
        return True

    def workers(self) -> Iterator[tuple[int, WorkerSpec, int]]:
        """(slot index, worker, instance) of the user's workers."""
        specs = {worker.name: worker for worker in self.spec.workers if not worker.service}
        for index, name, instance in self.spec.places:
            if name in specs:
                yield index, specs[name], instance

    def slot(self, index: int) -> Slot | None:
        """None: it is damaged."""
        try:
            return self.state.slot(index)
        except Damage:
            return None

    # ------------------------------------------------------------ what it does

    def beat(self) -> None:
        self._heartbeat.beat()

    def tell(self, event: str, **details: object) -> None:
        """One line in the event log."""
        self.events.follow_path()
        self.events.write(event, None, **details)

    def change(self, index: int, to: Callable[[Slot], Slot | None]) -> Slot | None:
        """Write what `to` makes of the slot, if it makes something, and wake the watchers.

        None: nothing was written, because `to` left it alone, or the file is damaged, moving or wedged.
        """
        for _ in range(_CHANGE_TRIES):
            try:
                read = self.state.read(index)
                wanted = to(read.slot)
                if wanted is None or wanted == read.slot:
                    return None
                if compare_and_write(self.state, _GUEST, index, read, wanted):
                    self._wake_watchers()
                    return wanted
            except (Damage, StateMoved, LockWedged):
                return None
        return None

    def _wake_watchers(self) -> None:
        for role in WATCHER_ROLES:
            with suppress(Damage):
                process.end(self.state.slot(role.slot).identity, WAKE_SIGNAL)

    def wait(self, timeout_ns: int, *fds: int) -> list[int]:
        """Those of `fds` that are readable; earlier than after `timeout_ns` at a signal."""
        poll = select.poll()
        for fd in (self._wake_read, *fds):
            poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(max(0, timeout_ns) / MILLISECOND_NS)]
        if self._wake_read in ready:
            ready.remove(self._wake_read)
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        return ready
