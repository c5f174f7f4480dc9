"""The anchor, as a watcher sees it: nothing depends on it, but somebody should know that it died.

Its init brings it back; the watchers only tell. Whoever records its death first tells it (`anchor-lost`).
"""

import os
from dataclasses import replace

from twinwatch.core import exits
from twinwatch.core.record import Damage, Slot
from twinwatch.core.values import Phase, Role
from twinwatch.linux import process
from twinwatch.linux.birth import compare_and_write
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, is_dead, open_process
from twinwatch.linux.loop import Loop
from twinwatch.linux.statefile import Read
from twinwatch.watch.pair import Pair

ANCHOR = "anchor"
_INDEX = Role.ANCHOR.slot
_WATCHED = frozenset({Phase.STARTING, Phase.RUNNING})


class Anchored:
    """Holds at most one pidfd: of the anchor that its slot names."""

    def __init__(self, pair: Pair, loop: Loop) -> None:
        self._pair = pair
        self._loop = loop
        self._read = Read(Slot(), -1)
        self._pidfd = -1

    def look(self) -> None:
        """Read its slot; a new generation is a new process to watch."""
        if not self._pair.state.is_current(_INDEX, self._read.version):
            self._read_slot()
        slot = self._read.slot
        is_watched = slot.phase in _WATCHED and not slot.is_over
        if not is_watched:
            self._drop()
        elif self._pidfd < 0:
            self._meet(slot)

    def _read_slot(self) -> None:
        try:
            read = self._pair.state.read(_INDEX)
        except Damage:  # its holder mends it
            return
        if read.slot.generation != self._read.slot.generation:
            self._drop()
        self._read = read

    def _meet(self, slot: Slot) -> None:
        try:
            self._pidfd = open_process(slot.identity)
        except IdentityUnknown:
            return
        except ProcessGone:
            self._record(None)
        else:
            self._loop.add(self._pidfd, (ANCHOR, 0))

    def _drop(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def died(self) -> None:
        """Its pidfd was readable; it may have a successor by now (R21)."""
        if self._pidfd < 0 or not is_dead(self._pidfd):  # R21
            return
        status = process.stranger_status(self._pidfd, self._read.slot.identity)
        self._drop()
        self._record(status)

    def _record(self, status: int | None) -> None:
        old = self._read.slot
        end = exits.decode(status, (0,), old.generation, monotonic_ns())
        slot = replace(old, phase=Phase.STOPPED, ready=False, exit=end)
        read = compare_and_write(self._pair.state, self._pair.seat, _INDEX, self._read, slot)
        if read is None:
            self._read = Read(Slot(), -1)  # its successor, or its own last word, was faster
            return
        self._read = read
        self._pair.tell_change(old, slot, "its init has to bring it back")
        self._pair.tell(
            "anchor-lost", slot=Role.ANCHOR.label, pid=old.identity.pid, generation=old.generation
        )
