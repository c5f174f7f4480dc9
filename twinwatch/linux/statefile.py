"""The shared state file: read without a lock, changed one record at a time under the state lock.

Nothing is mapped: a file that somebody cuts short must be an error in one process, not a SIGBUS in
all. A change writes, in this order: its journal entry, the sequence, the copy that is not current, the
selector. A writer that is killed before the last of these changed nothing; readers of the journal
take the lock, so they never run ahead of a change (R03).
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from twinwatch.core import record
from twinwatch.core.record import Damage, Header, Heartbeat, Ping, Reserves, Slot
from twinwatch.core.values import WATCHER_ROLES, Desired, Identity, Role
from twinwatch.linux import draft
from twinwatch.linux.lock import StateLock

_READ_TRIES = 64
_LOST_VERSIONS = 1000  # more than a lost record can be ahead of what its holder knows
_JOURNAL_ENTRY = 4
STATE_NAME = "state"


class StateMoved(Exception):
    """The runtime directory was lost and a successor of this file is (to be) found at its path."""


@dataclass(frozen=True, slots=True)
class Read:
    """A record's value together with the version at which it was read."""

    slot: Slot
    version: int


class StateFile:
    """One open state file with its lock. Open it once in a process."""

    def __init__(self, directory: str, timeout_ns: int) -> None:
        """Open the state file in `directory`.

        Raises:
            FileNotFoundError: there is no pair here.
        """
        self.directory = directory
        self.path = f"{directory}/{STATE_NAME}"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._status = os.fstat(self._fd)
        self.lock = StateLock(self._fd, timeout_ns)
        self._header: tuple[int, Header] | None = None
        self._written: set[int] = {role.slot for role in WATCHER_ROLES}  # slots that were never free since

    def close(self) -> None:
        """Also drops the lock and the member byte: the last thing that a process does with its pair."""
        os.close(self._fd)

    def fileno(self) -> int:
        return self._fd

    def is_at_path(self) -> bool:
        """Whether the path still names the file that is open here."""
        try:
            at_path = os.stat(self.path, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return False
            raise
        return os.path.samestat(at_path, self._status)

    # ------------------------------------------------------------ reading

    def _version(self, at: int) -> bytes:
        return os.pread(self._fd, record.SELECTOR_SIZE, at)

    def _read(self, at: int) -> tuple[int, bytes]:
        """A record, read again while a writer is seen in the middle of it."""
        with suppress(Damage):
            return record.unpack_record(os.pread(self._fd, record.RECORD_SIZE, at))
        before = self._version(at)
        for _ in range(_READ_TRIES):
            data = os.pread(self._fd, record.RECORD_SIZE, at)
            try:
                return record.unpack_record(data)
            except Damage:
                after = self._version(at)
                if after == before:
                    raise
                before = after
        raise Damage("a writer that never ends")

    def header(self) -> Header:
        """Raises Damage."""
        if self._header is None or self._version(record.HEADER_AT) != record.pack_selector(self._header[0]):
            version, body = self._read(record.HEADER_AT)
            self._header = version, record.unpack_header(body)
        return self._header[1]

    def mended_header(self, tell: Callable[..., None] | None = None) -> Header:
        """The header; where it is damaged and this process knows that very version, written anew.

        Read as a whole: a version that this process knows already would hide the damage from it alone.
        """
        with suppress(Damage):
            return self._whole_header()
        with self.lock:
            try:
                return self._whole_header()
            except Damage as damage:
                if self._header is None or damage.version != self._header[0]:
                    raise
                version, header = self._header
                self._commit(record.HEADER_AT, record.pack_header(header), version)
                if tell is not None:
                    tell("repaired", slot="header", reason=damage.what)
        return self.header()

    def _whole_header(self) -> Header:
        version, body = self._read(record.HEADER_AT)
        if self._header is None or self._header[0] != version:
            self._header = version, record.unpack_header(body)
        return self._header[1]

    def rebuild_header(self, *, stopped: bool) -> bool:
        """Write a lost header from memory: no process is left that knows its version.

        `stopped`: the wish that is kept elsewhere says so. What was written after this process read the
        header last is lost, but for that wish. False: it can be read again.
        """
        if self._header is None:
            return False
        version, header = self._header
        with self.lock:
            with suppress(Damage):
                self._read(record.HEADER_AT)
                return False
            self.extend(header.slots)
            desired = Desired.STOP if stopped else header.desired
            body = record.pack_header(replace(header, desired=desired))
            self._commit(record.HEADER_AT, body, version + _LOST_VERSIONS)
        return True

    def read(self, index: int) -> Read:
        """Raises Damage. An index that no publication has reached yet reads as a free slot.

        Zeros where this process has read a record are damage: a free slot may be given to a newborn.
        """
        at = record.slot_at(index)
        try:
            version, body = self._read(at)
        except Damage as damage:
            if damage.what == "never written" and index not in self._written:
                return Read(Slot(), 0)
            raise
        self._written.add(index)
        return Read(record.unpack_slot(body), version)

    def slot(self, index: int) -> Slot:
        return self.read(index).slot

    def are_intact(self, first: int, versions: list[int]) -> list[bool]:
        """Whether neighbouring slots, from `first` on, are at these versions, and whole: one call for all.

        False says no more than that it has to be looked at by itself. One that was never written is intact.
        """
        size = record.RECORD_SIZE
        data = os.pread(self._fd, len(versions) * size, record.slot_at(first))
        return [_is_intact(data[n * size : (n + 1) * size], version) for n, version in enumerate(versions)]

    def is_intact(self, at: int) -> bool:
        """Whether a record and its selector are whole."""
        data = os.pread(self._fd, record.RECORD_SIZE, at)
        return _is_intact(data, None)

    def is_current(self, index: int, version: int) -> bool:
        """Whether a slot is still at a version: 8 bytes read, and all of it where these are damaged."""
        if version < 0:
            return False  # never read
        selector = self._version(record.slot_at(index))
        if version == 0 or not any(selector):
            return version == 0 and not any(selector)
        if record.is_selector(selector):
            return selector == record.pack_selector(version)
        with suppress(Damage):  # else a slot with a damaged selector could never be changed again
            return self._read(record.slot_at(index))[0] == version
        return False

    @property
    def header_version(self) -> int:
        """Of the header as it was read last."""
        return self._header[0] if self._header else 0

    def is_as_recorded(self, index: int, pid: int, version: int, header_version: int) -> bool:
        """Nothing has changed since a slot was written that names `pid`, under a header of that version.

        Versions alone are those of one file: nobody has written this PID into another one. Nothing is
        unpacked, since a forked child asks, and pays for every page with an object that it makes or looks at.
        """
        header = self._version(record.HEADER_AT)
        with suppress(Damage):
            found, body = self._read(record.slot_at(index))
            is_own = (found, record.pid_in(body)) == (version, pid)
            return is_own and header == record.pack_selector(header_version)
        return False

    def sequence(self) -> int:
        return int.from_bytes(os.pread(self._fd, 8, record.SEQUENCE_AT), "little")

    def changes(self, since: int) -> tuple[int, set[int] | None]:
        """Sequence now, and the slots changed after `since`; None: too many, look at all.

        Takes the lock: a change that is journalled is then also made, or never will be.
        """
        if self.sequence() == since:
            return since, set()
        with self.lock:  # R03: what is told was done, or never will be
            now = self.sequence()
            if not 0 <= now - since <= record.JOURNAL_ENTRIES:
                return now, None
            data = os.pread(self._fd, record.JOURNAL_ENTRIES * _JOURNAL_ENTRY, record.JOURNAL_AT)
        return now, {_entry(data, n) for n in range(since, now)}

    def journal_tail(self, count: int) -> list[int]:
        """Slot indices of the newest changes, oldest first; read without the lock."""
        now = self.sequence()
        data = os.pread(self._fd, record.JOURNAL_ENTRIES * _JOURNAL_ENTRY, record.JOURNAL_AT)
        return [_entry(data, n) for n in range(max(0, now - count), now)]

    def naming(self, identity: Identity, slots: int) -> int | None:
        """Index of the slot whose current record names this very process, if one does (R02)."""
        data = os.pread(self._fd, slots * record.RECORD_SIZE, record.SLOTS_AT)
        wanted = record.pack_identity(identity)
        at = data.find(wanted)
        while at >= 0:
            with suppress(Damage):
                if self.slot(index := at // record.RECORD_SIZE).identity == identity:
                    return index
            at = data.find(wanted, at + 1)
        return None

    # ------------------------------------------------------------ writing, under the lock

    def check_not_moved(self) -> None:
        if self.header().moved:  # R12
            raise StateMoved

    def write(self, index: int, slot: Slot, version: int) -> int:
        """Make `slot` the record that follows `version`; the new version. Call it under the lock.

        Raises:
            OSError: the file system refused; the old record stands.
        """
        sequence = self.sequence()
        entry = record.JOURNAL_AT + sequence % record.JOURNAL_ENTRIES * _JOURNAL_ENTRY
        # R03: told before it is done
        self._put(entry, index.to_bytes(_JOURNAL_ENTRY, "little"))
        self._put(record.SEQUENCE_AT, (sequence + 1).to_bytes(8, "little"))
        return self._commit(record.slot_at(index), record.pack_slot(slot), version)

    def write_header(self, header: Header) -> None:
        """Call it under the lock."""
        version, _ = self._read(record.HEADER_AT)
        self._commit(record.HEADER_AT, record.pack_header(header), version)

    def mend(self, index: int, known: Read, *, is_holder: bool = False) -> bool:
        """Write a damaged slot anew, if what is known is the very version that was damaged.

        The living holder of a role knows its slot even where no version is left to compare: nobody
        claims a role before its holder's death.

        Judged under the lock: without it a writer may be seen in the middle of a change. True: the slot
        can be read again.
        """
        with self.lock:
            try:
                self.read(index)  # R19: looked at again
            except Damage as damage:
                version = known.version
                if damage.version is None and is_holder:
                    version += _LOST_VERSIONS
                elif damage.version is None or damage.version != version:  # R19
                    return False
                self._commit(record.slot_at(index), record.pack_slot(known.slot), version)
        return True

    def mend_selector(self, at: int) -> bool:
        """Write a damaged selector anew: it names the copy that is believed. True: it was damaged.

        A record without its selector is as good as before, but the next damage to it would be its end.
        """
        if self._is_named(at):
            return False
        with self.lock:
            if self._is_named(at):
                return False
            version, _ = self._read(at)
            self._put(at, record.pack_selector(version))
        return True

    def _is_named(self, at: int) -> bool:
        """Whether the selector of a record is whole; also of one that was never written."""
        selector = self._version(at)
        return not any(selector) or (len(selector) == record.SELECTOR_SIZE and record.is_selector(selector))

    def _commit(self, at: int, body: bytes, version: int) -> int:
        version = record.next_version(version)
        self._put(at + record.COPY_AT[version & 1], record.pack_copy(version, body))
        self._put(at, record.pack_selector(version))  # R01: the old record stands until here
        return version

    def _put(self, at: int, data: bytes) -> None:
        if os.pwrite(self._fd, data, at) != len(data):
            raise OSError(errno.ENOSPC, "short write to the state file")

    def extend(self, slots: int) -> None:
        """Room for `slots` slots, allocated so that no later write can fail for want of space."""
        size = record.file_size(slots)
        if os.fstat(self._fd).st_size < size:
            os.posix_fallocate(self._fd, 0, size)

    # ------------------------------------------------------------ single-writer records, no lock
    # Where somebody cut the file short they say nothing; who reads the header finds the damage.

    def beat(self, role: Role, beat: Heartbeat) -> None:
        self._put(record.HEARTBEAT_AT + role.slot * record.HEARTBEAT_SIZE, record.pack_heartbeat(beat))

    def heartbeat(self, role: Role) -> Heartbeat:
        at = record.HEARTBEAT_AT + role.slot * record.HEARTBEAT_SIZE
        data = os.pread(self._fd, record.HEARTBEAT_SIZE, at)
        return record.unpack_heartbeat(data) if len(data) == record.HEARTBEAT_SIZE else Heartbeat()

    def put_ping(self, index: int, ping: Ping) -> None:
        self._put(record.slot_at(index) + record.PING_AT, record.pack_ping(ping))

    def ping(self, index: int) -> Ping:
        data = os.pread(self._fd, record.PING_SIZE, record.slot_at(index) + record.PING_AT)
        return record.unpack_ping(data) if len(data) == record.PING_SIZE else Ping()

    def list_reserves(self, role: Role, reserves: Reserves) -> None:
        self._put(record.RESERVES_AT + role.slot * record.RESERVES_SIZE, record.pack_reserves(reserves))

    def reserves(self, role: Role) -> Reserves:
        at = record.RESERVES_AT + role.slot * record.RESERVES_SIZE
        data = os.pread(self._fd, record.RESERVES_SIZE, at)
        return record.unpack_reserves(data) if len(data) == record.RESERVES_SIZE else Reserves()


def _is_intact(data: bytes, version: int | None) -> bool:
    """Whether a record and its selector are whole, and of this version (None: whichever)."""
    if version == 0 and len(data) == record.RECORD_SIZE and not any(data):
        return True
    try:
        found, _ = record.unpack_record(data)
    except Damage:
        return False
    return version in (None, found) and data.startswith(record.pack_selector(found))


def peek(directory: str) -> Header | None:
    """The header of the state file in `directory`; None: there is none, or it cannot be believed."""
    try:
        state = StateFile(directory, 0)
    except FileNotFoundError:
        return None
    try:
        return state.header()
    except Damage:
        return None
    finally:
        state.close()


def _entry(journal: bytes, number: int) -> int:
    at = number % record.JOURNAL_ENTRIES * _JOURNAL_ENTRY
    return int.from_bytes(journal[at : at + _JOURNAL_ENTRY], "little")


def create(directory: str, header: Header, slots: dict[int, Slot]) -> None:
    """Write a new state file and link it into place; an existing one is left alone.

    Raises:
        FileExistsError: somebody made one first.
    """
    path = f"{directory}/{STATE_NAME}"
    draft.sweep(path)
    made = draft.path_of(path)
    with suppress(FileNotFoundError):
        os.unlink(made)
    fd = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(fd, 0, record.file_size(header.slots))
        _put_new(fd, record.HEADER_AT, record.pack_header(header))
        for index, slot in slots.items():
            _put_new(fd, record.slot_at(index), record.pack_slot(slot))
        os.link(made, path)
    finally:
        os.close(fd)
        os.unlink(made)


def _put_new(fd: int, at: int, body: bytes) -> None:
    os.pwrite(fd, record.pack_copy(1, body), at + record.COPY_AT[1])
    os.pwrite(fd, record.pack_selector(1), at)


def move(state: StateFile) -> None:
    """Rebuild a lost runtime directory from the file that is still open (R12). Call it under its lock.

    The old file is marked before its successor gets its name: at no time are two files in force.
    A successor that is there already (another watcher was first) is left alone.
    """
    os.makedirs(state.directory, mode=0o700, exist_ok=True)
    made = draft.path_of(state.path)
    fd = os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        size = os.fstat(state.fileno()).st_size
        data = os.pread(state.fileno(), size, 0)
        os.posix_fallocate(fd, 0, size)
        os.pwrite(fd, data, 0)
        header = state.header()
        version = record.next_version(int.from_bytes(data[:4], "little"))
        successor = replace(header, moved=False)
        os.pwrite(fd, record.pack_copy(version, record.pack_header(successor)), record.COPY_AT[version & 1])
        os.pwrite(fd, record.pack_selector(version), 0)
        if not header.moved:
            state.write_header(replace(header, moved=True))  # R12: before its successor has a name
        with suppress(FileExistsError):
            os.link(made, state.path)
    finally:
        os.close(fd)
        os.unlink(made)
