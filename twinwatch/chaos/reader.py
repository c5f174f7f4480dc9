"""The pair as its state file shows it, opened for reading only: no lock is taken, nothing is written."""

import contextlib
import os
from dataclasses import dataclass

from twinwatch.core import record, values
from twinwatch.core.record import Damage, Heartbeat, Slot
from twinwatch.core.values import Identity, Phase, Role
from twinwatch.linux.identity import is_alive
from twinwatch.linux.paths import Paths

WATCHERS = {role: f"watcher {role.label}" for role in values.WATCHER_ROLES}
ANCHOR = "anchor"
RESERVE = "reserve"
Slots = dict[str, Slot]

_READ_TRIES = 64


class Lost(Exception):
    """Nothing can be read at the moment; the message says what is lost."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look: slots by label (`watcher a`, `web:1`), labels that cannot be believed, living reserves."""

    slots: Slots
    damaged: tuple[str, ...]
    reserves: dict[str, tuple[Identity, ...]]


class Reader:
    """The state file at the pair's path; one that was rebuilt is opened anew.

    Raises:
        FileNotFoundError: there is no pair.
    """

    def __init__(self, paths: Paths) -> None:
        self._path = f"{paths.runtime}/state"
        self._fd = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def close(self) -> None:
        os.close(self._fd)

    def is_at_path(self) -> bool:
        """Whether what is open is what the path names; a file that took its place is opened."""
        try:
            fd = self._open()
        except FileNotFoundError:
            return False
        os.close(self._fd)
        self._fd = fd
        return True

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def _body(self, at: int) -> bytes:
        """A record's current copy, read again while a writer is seen in the middle of it."""
        for _ in range(_READ_TRIES):
            with contextlib.suppress(Damage):
                return record.unpack_record(os.pread(self._fd, record.RECORD_SIZE, at))[1]
        return record.unpack_record(os.pread(self._fd, record.RECORD_SIZE, at))[1]

    def _is_named(self, at: int) -> bool:
        """Whether its selector is whole, or it was never written: it may be seen while it changes."""
        for _ in range(_READ_TRIES):
            selector = os.pread(self._fd, record.SELECTOR_SIZE, at)
            if not any(selector) or record.is_selector(selector):
                return True
        return False

    def version(self, at: int) -> int:
        """Of the record at an offset, as its selector says it."""
        return int.from_bytes(os.pread(self._fd, 4, at), "little")

    def header(self) -> record.Header:
        """Raises Damage."""
        return record.unpack_header(self._body(record.HEADER_AT))

    def slot(self, index: int) -> Slot:
        """Raises Damage."""
        try:
            return record.unpack_slot(self._body(record.slot_at(index)))
        except Damage as damage:
            if damage.what == "never written":
                return Slot()
            raise

    def look(self) -> Look:
        """Raises Lost."""
        if not self.is_at_path():
            raise Lost("the state file is not at its path")
        try:
            header = self.header()
        except Damage as damage:
            raise Lost(f"the header is damaged: {damage.what}") from None
        if header.moved:
            raise Lost("the state file is being rebuilt")
        slots: Slots = {}
        damaged = [] if self._is_named(record.HEADER_AT) else ["header (selector)"]
        named = {role.slot: name for role, name in WATCHERS.items()}
        for index in (*named, *range(values.FIRST_WORKER_SLOT, header.slots)):
            try:
                slot = self.slot(index)
            except Damage as damage:
                damaged.append(f"{named.get(index, f'slot {index}')} ({damage.what})")
                continue
            if not self._is_named(record.slot_at(index)):
                damaged.append(f"{named.get(index) or slot.label} (selector)")
            if index in named or slot.phase is not Phase.FREE:
                slots[named.get(index) or slot.label] = slot
        reserves = {
            name: self.reserves(role, slots[name].generation)
            for role, name in WATCHERS.items()
            if name in slots
        }
        return Look(slots, tuple(damaged), reserves)

    def indices(self) -> dict[str, int]:
        """Slot index of each label."""
        found = {name: role.slot for role, name in WATCHERS.items()}
        for index in range(values.FIRST_WORKER_SLOT, self.header().slots):
            if (slot := self.slot(index)).phase is not Phase.FREE:
                found[slot.label] = index
        return found

    def reserves(self, role: Role, generation: int) -> tuple[Identity, ...]:
        """Living reserves of this holder of the role."""
        at = record.RESERVES_AT + role.slot * record.RESERVES_SIZE
        listed = record.unpack_reserves(os.pread(self._fd, record.RESERVES_SIZE, at))
        return tuple(filter(is_alive, listed.identities)) if listed.generation == generation else ()

    def heartbeats(self) -> dict[str, Heartbeat]:
        """Of both watchers."""
        found = {}
        for role, name in WATCHERS.items():
            at = record.HEARTBEAT_AT + role.slot * record.HEARTBEAT_SIZE
            found[name] = record.unpack_heartbeat(os.pread(self._fd, record.HEARTBEAT_SIZE, at))
        return found

    def has_anchor(self) -> bool:
        """Whether a third guard lives that would bring an extinct pair back."""
        with contextlib.suppress(Damage):
            return is_alive(self.slot(Role.ANCHOR.slot).identity)
        return False


def runs(slot: Slot) -> bool:
    """The slot says so, and its process lives."""
    return slot.phase is Phase.RUNNING and is_alive(slot.identity)


def seen(slot: Slot) -> str:
    """The phase that a slot says, where its process bears it out."""
    is_gone = slot.phase in (Phase.RUNNING, Phase.STARTING) and not is_alive(slot.identity)
    return "dead" if is_gone else slot.phase.name.lower()
