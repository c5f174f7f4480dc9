"""The two primitives of the protocol: compare-and-write, and respawn.

Everything that starts anything calls `respawn`: watchers, reserves, `up`, and the anchor. Under the
lock there is a compare and a write and nothing else: the child was forked before, its gate is opened
after.
"""

from dataclasses import dataclass

from twinwatch.core import fence
from twinwatch.core.fence import Claim
from twinwatch.core.record import Slot
from twinwatch.core.values import Role
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.gate import Child, Let, Order
from twinwatch.linux.statefile import Read, StateFile, StateMoved


class Fenced(Exception):
    """Another process has this role now: leave at once, touch nothing."""


@dataclass(slots=True)
class Seat:
    """By what right a process acts: a role's holder, or a guest."""

    role: Role
    generation: int = 0
    config_generation: int = 0
    former: Slot | None = None  # what the slot said before this process took it over by itself
    _slot: Slot | None = None
    _version: int = 0

    def own(self, state: StateFile) -> Slot | None:
        """The holder's slot as it is now; None for a guest."""
        if self.role is Role.GUEST:
            return None
        if self._slot is None or not state.is_current(self.role.slot, self._version):
            read = state.read(self.role.slot)
            self._slot, self._version = read.slot, read.version
        return self._slot

    def mend(self, state: StateFile) -> bool:
        """Write the holder's damaged slot anew from memory. False: another version was damaged."""
        known = self._slot
        if known is None:
            return False
        return state.mend(self.role.slot, Read(known, self._version), is_holder=True)

    def check(self, state: StateFile) -> None:
        """Raises Fenced when the role has a newer holder (R08)."""
        own = self.own(state)
        if own is not None and own.generation != self.generation:  # R08
            raise Fenced

    def claim(self, generation: int) -> Claim:
        return Claim(generation, self.config_generation, self.role, self.generation)


def compare_and_write(state: StateFile, seat: Seat, index: int, seen: Read, slot: Slot) -> Read | None:
    """Write `slot` if it is still as it was seen. None: it is not; look again.

    Raises:
        Fenced, StateMoved, LockWedged.
    """
    with state.lock:
        state.check_not_moved()
        seat.check(state)
        if not state.is_current(index, seen.version):
            return None
        return Read(slot, state.write(index, slot, seen.version))


@dataclass(frozen=True, slots=True)
class Newborn:
    """What `respawn` is to record: the slot that its counters go on from, and its terms."""

    let: Let
    index: int
    seen: Read
    base: Slot
    until_ns: int = 0
    birth_hash: int = 0
    counts: bool = False


def respawn(state: StateFile, seat: Seat, child: Child, newborn: Newborn) -> Read | str:
    """Claim, record, open the gate. A text says why the claim was lost; the child is then as before.

    Raises:
        StateMoved, LockWedged; OSError: the file system refused the record, and the gate stays shut.
    """
    claim = seat.claim(newborn.seen.slot.generation)
    if not state.is_at_path():  # the child would not find its record there, and leave (R12)
        raise StateMoved
    with state.lock:
        state.check_not_moved()
        if not state.is_current(newborn.index, newborn.seen.version):  # R04
            return "the slot has moved on"
        lost = fence.objection(claim, state.header(), seat.own(state), newborn.base)
        if lost:
            return lost
        slot = fence.born(
            newborn.base,
            claim,
            child.identity,
            now_ns=monotonic_ns(),
            until_ns=newborn.until_ns,
            birth_hash=newborn.birth_hash,
            is_restart=newborn.counts,
        )
        version = state.write(newborn.index, slot, newborn.seen.version)
    order = Order(
        newborn.let,
        newborn.index,
        slot.generation,
        claim.config_generation,
        version,
        state.header_version,
    )
    child.let_through(order)
    return Read(slot, version)
