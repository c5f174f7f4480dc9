"""How the holder of a role keeps its right to it, be it a watcher or the anchor.

It beats, and looks whether it still is what it believes to be: holder of its role, of a file that is still at
its path. A lost file is rebuilt (R12), a header that nobody can mend is written anew from memory.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from twinwatch.config import snapshot
from twinwatch.core.record import HEADER_AT, Damage, Header, Heartbeat, Slot, slot_at
from twinwatch.core.spec import PairSpec
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import Desired, Phase
from twinwatch.linux import process, wishes
from twinwatch.linux.birth import Fenced, compare_and_write
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile, move
from twinwatch.watch.pair import Pair

_OPEN_TRIES = 50
_OPEN_PAUSE_MS = 20
_DAMAGE_TICKS = 3
_DAMAGE_NS = 1500 * MILLISECOND_NS  # at most: the twin was woken and has looked
_DAMAGE_PAUSE_MS = 20


class Tenure:
    """`on_reopen` is called when the pair's state file has become another one."""

    def __init__(self, pair: Pair, on_reopen: Callable[[], None]) -> None:
        self._pair = pair
        self._on_reopen = on_reopen
        self._beat = Heartbeat(pair.seat.generation)
        self._damaged_ns = 0  # since when the header cannot be believed
        self._keep_lock(pair.state)

    def _keep_lock(self, state: StateFile) -> None:
        state.lock.timeout_ns = self._pair.spec.watch.patience_ns
        state.lock.on_wait = self.beat_if_due

    def take(self) -> Slot:
        """Say in the slot that this process watches now; what it said before.

        Raises:
            Fenced: it names another process.
        """
        state, seat = self._pair.state, self._pair.seat
        seat.check(state)
        old = seat.own(state)
        if old is None or old.identity.pid != os.getpid():
            raise Fenced
        self.write_own(Phase.RUNNING)
        return old

    def write_own(self, phase: Phase) -> None:
        state, seat = self._pair.state, self._pair.seat
        while True:
            read = state.read(seat.role.slot)
            slot = replace(read.slot, phase=phase, config_generation=seat.config_generation, ready=True)
            if compare_and_write(state, seat, seat.role.slot, read, slot):
                return

    def leave(self, reason: str) -> None:
        """The orderly end: the slot says so."""
        own = self._pair.seat.own(self._pair.state)
        self.write_own(Phase.STOPPED)
        if own is not None:
            self._pair.tell_change(own, replace(own, phase=Phase.STOPPED), reason)
        self._pair.flush()

    def adopt(self, header: Header) -> bool:
        """Take the published configuration over. False: it cannot be read, and the old one stays."""
        pair = self._pair
        try:
            pair.spec = snapshot.read(pair.paths.snapshots, header.config_generation)
        except (snapshot.SnapshotError, FileNotFoundError) as error:
            pair.tell("configuration-unreadable", reason=str(error), generation=header.config_generation)
            return False
        pair.seat.config_generation = pair.spec.generation
        pair.state.lock.timeout_ns = pair.spec.watch.patience_ns
        return True

    # ------------------------------------------------------------ the heartbeat

    def beat(self, now_ns: int, *, handling: int = 0) -> None:
        """`handling`: 1 + index of a slot that a watcher crashed on, 0: none."""
        self._beat = replace(
            self._beat,
            sequence=self._beat.sequence + 1,
            at_ns=now_ns,
            handling=handling,
            config_generation=self._pair.seat.config_generation,
            notify_inode=self._pair.notify.inode if self._pair.notify else 0,
        )
        self._pair.state.beat(self._pair.seat.role, self._beat)

    def beat_if_due(self) -> None:
        """While the lock is waited for: a wait is not a hang."""
        now_ns = monotonic_ns()
        if now_ns - self._beat.at_ns >= self._pair.spec.watch.interval_ns:
            self.beat(now_ns, handling=self._beat.handling)

    # ------------------------------------------------------------ damage

    def header(self) -> Header:
        """Repaired from memory where it was damaged."""
        header = self._pair.state.mended_header(self._pair.tell)
        self._damaged_ns = 0
        return header

    def bear_damage(self, damage: Damage) -> bool:
        """The header cannot be believed. The twin may know its very version; after some time, rebuild it.

        True: this is the first that was seen of it.
        """
        now_ns = monotonic_ns()
        is_new = not self._damaged_ns
        if is_new:
            self._damaged_ns = now_ns
            self._pair.tell("damaged", slot="header", reason=damage.what)
        elif now_ns - self._damaged_ns > min(_DAMAGE_TICKS * self._pair.spec.watch.interval_ns, _DAMAGE_NS):
            self._damaged_ns = 0
            stopped = wishes.read(self._pair.paths).pair is Desired.STOP
            if self._pair.state.rebuild_header(stopped=stopped):
                self._pair.tell("rebuilt", slot="header", reason="from memory: nobody knew its version")
        self._pair.flush()
        process.pause(_DAMAGE_PAUSE_MS)
        self.beat_if_due()
        return is_new

    def mend_own_slot(self) -> None:
        """Nobody knows this role's record better than its holder."""
        seat, state = self._pair.seat, self._pair.state
        for label, at in ((seat.role.label, slot_at(seat.role.slot)), ("header", HEADER_AT)):
            if state.is_intact(at):
                continue
            if at != HEADER_AT:
                self._mend_record()
            if state.mend_selector(at):
                self._pair.tell("repaired", slot=label, reason="selector")
        own = seat.own(state)
        if own is not None and own.phase is Phase.STARTING:  # its newest copy was damaged as well
            self.write_own(Phase.RUNNING)
            self._pair.tell("repaired", slot=seat.role.label, reason="went back to its former version")

    def _mend_record(self) -> None:
        seat, state = self._pair.seat, self._pair.state
        try:
            state.read(seat.role.slot)
        except Damage as damage:
            if not seat.mend(state):
                raise
            self._pair.tell("repaired", slot=seat.role.label, reason=damage.what)

    # ------------------------------------------------------------ a lost runtime directory

    def recover_path(self) -> None:
        """The runtime directory was deleted or replaced (R12)."""
        state = self._pair.state
        if self._is_overtaken():
            with suppress(FileNotFoundError):  # the directory is lost once more
                os.unlink(state.path)
        if not os.path.exists(state.path):
            with state.lock:
                move(state)
            self._pair.tell("runtime-directory-rebuilt", path=state.directory)
        self.reopen()

    def _is_overtaken(self) -> bool:
        """The file at the path is an older copy of this pair's: the directory was lost twice in a row."""
        state = self._pair.state
        if state.header().moved:
            return False
        try:
            other = StateFile(state.directory, state.lock.timeout_ns)
        except FileNotFoundError:
            return False
        try:
            is_same_pair = other.header().pair_id == state.header().pair_id
            return is_same_pair and other.sequence() < state.sequence()
        except Damage:
            return True  # whatever it is, it is no state file
        finally:
            other.close()

    def reopen(self) -> None:
        """Go on with the file that is at the path now, if it is this pair's."""
        old = self._pair.state
        pair_id = old.header().pair_id
        _, state = open_pair(self._pair.paths)
        if state.header().pair_id != pair_id:
            raise Fenced
        self._keep_lock(state)
        self._pair.state = state
        old.close()
        self._on_reopen()


def open_pair(paths: Paths) -> tuple[PairSpec, StateFile]:
    """The configuration in force and the state file at its path; a moving file is waited for.

    Raises:
        Fenced: there is none.
    """
    for _ in range(_OPEN_TRIES):
        with suppress(FileNotFoundError):
            state = StateFile(paths.runtime, 2 * SECOND_NS)
            header = state.header()
            if not header.moved:
                return snapshot.read(paths.snapshots, header.config_generation), state
            state.close()
        process.pause(_OPEN_PAUSE_MS)
    raise Fenced
