"""The records of the state file: values to bytes and back, and every kind of damage named.

A record is changed in two steps: the copy that is not current is filled, then one 8-byte selector
makes it current. A writer that is killed in between leaves the old record; nothing leaves a mixture.

Invariants:
- the selector names a version and holds its complement, so that a flipped bit cannot move it;
- the current copy is the one of parity `version & 1`, and holds that same version;
- a copy's checksum covers its version and its body;
- when the selector names version v and copy v is bad, the older copy is *not* believed: it may hold
  an older generation, and believing it would allow a second birth.

Layout in bytes: `docs/state-file.md`, whose tables a test compares with the constants here.
"""

import struct
import zlib
from dataclasses import dataclass, field

from twinwatch.core.spec import RESTART_LIMIT_MAX
from twinwatch.core.values import (
    NO_EXIT,
    NOBODY,
    Desired,
    Ending,
    Exit,
    ExitKind,
    Health,
    HookState,
    Identity,
    Met,
    Phase,
    Role,
    Stage,
    label_of,
)

MAGIC = b"TWINWTCH"
LAYOUT = 2

RECORD_SIZE = 2048  # header and slots alike
SELECTOR_SIZE = 8
PING_AT = 64  # from the start of a slot: what its process last said, written without the lock
PING_SIZE = 32
PING_OFF = (1 << 64) - 1  # as a limit: no sign of life is due any more
COPY_AT = (128, 1088)
COPY_SIZE = 960

HEADER_AT = 0
SEQUENCE_AT = 2048  # number of changes so far
HEARTBEAT_AT = 3072  # one of HEARTBEAT_SIZE for each role with a slot
HEARTBEAT_SIZE = 64
JOURNAL_AT = 4096  # slot index of change n at entry n % JOURNAL_ENTRIES
JOURNAL_ENTRIES = 1024
RESERVES_AT = 8192  # one of RESERVES_SIZE for each role with a slot
RESERVES_SIZE = 512
RESERVES_MAX = 8
SLOTS_AT = 12288

NAME_MAX = 56
NOTE_MAX = 120
HANDLE_MAX = 16
SOURCE_MAX = 640

_SELECTOR = struct.Struct("<II")
_COPY = struct.Struct("<IIHxx")  # checksum, version, length of the body
_IDENTITY = struct.Struct("<IB3xQQ16s")
_EXIT = struct.Struct("<BBBBBB2xiQQ")
_SLOT = struct.Struct(f"<{NAME_MAX}sI10B2xQQQQ{_IDENTITY.size}sQQQII{_EXIT.size}s{NOTE_MAX}sH")
_HEADER = struct.Struct(f"<8sII16s16sQ{_IDENTITY.size}s32sI4xQQQBB2xIH")
_HEARTBEAT = struct.Struct("<QQQIIQ")
_RESERVES = struct.Struct("<IIQ")
_PING = struct.Struct("<QQQ")

IDENTITY_SIZE = _IDENTITY.size
IDENTITY_AT = _COPY.size + NAME_MAX + 4 + 12 + 32  # of a slot's process, from the start of a copy


class Damage(Exception):
    """A record that cannot be believed; `what` names the damage, `version` what its selector says."""

    def __init__(self, what: str, version: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.version = version


@dataclass(frozen=True, slots=True)
class Slot:
    """One role, or one worker instance. Times are CLOCK_MONOTONIC nanoseconds of this boot."""

    name: str = ""
    instance: int = 0
    phase: Phase = Phase.FREE
    desired: Desired = Desired.STOP
    owner: Role = Role.NONE  # which role gave birth to this generation
    ending: Ending = Ending.NONE  # why this generation is being ended
    killed: bool = False  # KILL was sent to this generation
    ready: bool = False
    health: Health = Health.UNKNOWN
    signed_off: bool = False  # its process said that it is done: its end is no failure
    hook: HookState = HookState.NONE
    met: Met = Met.NOTHING
    generation: int = 0
    owner_generation: int = 0
    config_generation: int = 0
    birth_hash: int = 0
    identity: Identity = NOBODY
    born_ns: int = 0
    until_ns: int = 0  # BACKOFF: birth is due; STOPPING: KILL; STARTING: it must run; RUNNING: be ready
    end_generation: int = 0  # generations up to this one are to be ended
    failures: int = 0  # deaths in a row
    restarts: int = 0
    exit: Exit = NO_EXIT
    note: str = ""  # what it says of itself, or why it was convicted
    births_ns: tuple[int, ...] = ()  # the newest ones, for restart limits and spacing

    @property
    def is_over(self) -> bool:
        """The end of the current generation is recorded (or there never was one)."""
        return self.exit.generation == self.generation

    @property
    def label(self) -> str:
        return label_of(self.name, self.instance)


@dataclass(frozen=True, slots=True)
class Header:
    """What is true of the whole pair."""

    pair: str
    pair_id: bytes  # 16 random bytes, new with every new state file
    boot_id: bytes  # 16
    namespace_inode: int  # of the PID namespace
    namespace_init: Identity  # its PID 1: the inode alone is recycled
    owner_uid: int
    source: str
    source_device: int
    source_inode: int
    config_generation: int
    desired: Desired = Desired.STOP
    moved: bool = False  # the runtime directory was lost: this file has a successor at its path
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A watcher's sign of life: written by it alone, without the lock."""

    generation: int = 0
    sequence: int = 0
    at_ns: int = 0
    handling: int = 0  # 1 + index of the slot in hand, 0: none
    config_generation: int = 0
    notify_inode: int = 0  # of the notify socket that it reads


@dataclass(frozen=True, slots=True)
class Ping:
    """The newest WATCHDOG=1 of a worker: written by whichever watcher read it, without the lock."""

    generation: int = 0
    at_ns: int = 0
    limit_ns: int = 0  # WATCHDOG_USEC of its own, PING_OFF, or 0: none was said


@dataclass(frozen=True, slots=True)
class Reserves:
    """The reserves of a role's current holder: written by it alone, without the lock."""

    generation: int = 0
    identities: tuple[Identity, ...] = field(default=())


def slot_at(index: int) -> int:
    """Offset of a slot's record."""
    return SLOTS_AT + index * RECORD_SIZE


def file_size(slots: int) -> int:
    return slot_at(slots)


# ---------------------------------------------------------------- two copies and a selector


def next_version(version: int) -> int:
    """Wraps from odd to even, past 0 (never written): the copy to fill is never the current one."""
    return (version + 1) & 0xFFFFFFFF or 2


def is_selector(data: bytes) -> bool:
    """Whether a selector is whole."""
    version, complement = _SELECTOR.unpack(data)
    return bool(version ^ complement == 0xFFFFFFFF)


def pack_selector(version: int) -> bytes:
    return _SELECTOR.pack(version, version ^ 0xFFFFFFFF)


def pack_copy(version: int, body: bytes) -> bytes:
    """One copy, ready to be written at `COPY_AT[version & 1]` of its record."""
    if len(body) > COPY_SIZE - _COPY.size:
        raise ValueError(f"record body of {len(body)} bytes")
    head = _COPY.pack(0, version, len(body))[4:]
    return struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + head + body


def _copy_body(record: bytes, parity: int) -> tuple[int, bytes] | None:
    """(version, body) of one copy, or None where its checksum is wrong."""
    at = COPY_AT[parity]
    checksum, version, length = _COPY.unpack_from(record, at)
    if length > COPY_SIZE - _COPY.size:
        return None
    body = record[at + _COPY.size : at + _COPY.size + length]
    if zlib.crc32(body, zlib.crc32(record[at + 4 : at + _COPY.size])) != checksum:
        return None
    return version, body


def unpack_record(record: bytes) -> tuple[int, bytes]:
    """Version and body of a record's current copy.

    Raises:
        Damage: the record is short, was never written, or its current copy is not what it should be.
    """
    if len(record) < RECORD_SIZE:
        raise Damage("cut short")
    version, complement = _SELECTOR.unpack_from(record, 0)
    if version ^ complement != 0xFFFFFFFF:
        if version == complement == 0:
            raise Damage("never written")
        return _newest_copy(record)
    copy = _copy_body(record, version & 1)
    if copy is None:
        raise Damage("checksum of the current copy", version)
    if copy[0] != version:
        raise Damage("version of the current copy", version)
    return copy


def _newest_copy(record: bytes) -> tuple[int, bytes]:
    """With a damaged selector the newest whole copy is safe to believe.

    If it was never made current, its writer died before it opened a gate: the birth that it
    records comes to nothing, and its process says so by its death.
    """
    copies = [copy for parity in (0, 1) if (copy := _copy_body(record, parity))]
    if not copies:
        raise Damage("selector and both copies")
    return max(copies)


# ---------------------------------------------------------------- values


def pack_identity(identity: Identity) -> bytes:
    return _IDENTITY.pack(
        identity.pid, len(identity.handle), identity.start_ticks, identity.inode, identity.handle
    )


def unpack_identity(data: bytes) -> Identity:
    pid, length, start_ticks, inode, handle = _IDENTITY.unpack(data)
    if length > HANDLE_MAX:
        raise Damage("identity")
    return Identity(pid, start_ticks, inode, handle[:length])


def _pack_exit(end: Exit) -> bytes:
    return _EXIT.pack(
        end.kind, end.signal, end.core, end.oom, end.stage, end.ending, end.code, end.generation, end.at_ns
    )


def _unpack_exit(data: bytes) -> Exit:
    kind, signal, core, oom, stage, ending, code, generation, at_ns = _EXIT.unpack(data)
    return Exit(
        ExitKind(kind), generation, code, signal, bool(core), bool(oom), Stage(stage), Ending(ending), at_ns
    )


def pack_slot(slot: Slot) -> bytes:
    births = slot.births_ns[-RESTART_LIMIT_MAX:]
    return _SLOT.pack(
        slot.name.encode(),
        slot.instance,
        slot.phase,
        slot.desired,
        slot.owner,
        slot.ending,
        slot.killed,
        slot.ready,
        slot.health,
        slot.signed_off,
        slot.hook,
        slot.met,
        slot.generation,
        slot.owner_generation,
        slot.config_generation,
        slot.birth_hash,
        pack_identity(slot.identity),
        slot.born_ns,
        slot.until_ns,
        slot.end_generation,
        slot.failures,
        slot.restarts,
        _pack_exit(slot.exit),
        _cut(slot.note),
        len(births),
    ) + struct.pack(f"<{len(births)}Q", *births)


def _cut(note: str) -> bytes:
    """At most NOTE_MAX bytes, cut between two characters."""
    return note.encode()[:NOTE_MAX].decode(errors="ignore").encode()


def pid_in(body: bytes) -> int:
    """PID of a slot's process, and nothing else of the slot."""
    at = IDENTITY_AT - _COPY.size
    return int.from_bytes(body[at : at + 4], "little")


def unpack_slot(body: bytes) -> Slot:
    """Raises Damage for values that no writer of this layout writes."""
    try:
        fields = _SLOT.unpack_from(body)
        count = fields[-1]
        births = struct.unpack_from(f"<{count}Q", body, _SLOT.size)
        return Slot(
            name=fields[0].rstrip(b"\0").decode(),
            instance=fields[1],
            phase=Phase(fields[2]),
            desired=Desired(fields[3]),
            owner=Role(fields[4]),
            ending=Ending(fields[5]),
            killed=bool(fields[6]),
            ready=bool(fields[7]),
            health=Health(fields[8]),
            signed_off=bool(fields[9]),
            hook=HookState(fields[10]),
            met=Met(fields[11]),
            generation=fields[12],
            owner_generation=fields[13],
            config_generation=fields[14],
            birth_hash=fields[15],
            identity=unpack_identity(fields[16]),
            born_ns=fields[17],
            until_ns=fields[18],
            end_generation=fields[19],
            failures=fields[20],
            restarts=fields[21],
            exit=_unpack_exit(fields[22]),
            note=fields[23].rstrip(b"\0").decode(),
            births_ns=births,
        )
    except (ValueError, struct.error) as error:
        raise Damage(f"slot: {error}") from error


def pack_header(header: Header) -> bytes:
    source = header.source.encode()
    if len(source) > SOURCE_MAX:
        raise ValueError(f"path of the configuration is longer than {SOURCE_MAX} bytes")
    return (
        _HEADER.pack(
            MAGIC,
            LAYOUT,
            0,
            header.pair_id,
            header.boot_id,
            header.namespace_inode,
            pack_identity(header.namespace_init),
            header.pair.encode(),
            header.owner_uid,
            header.source_device,
            header.source_inode,
            header.config_generation,
            header.desired,
            header.moved,
            header.slots,
            len(source),
        )
        + source
    )


def unpack_header(body: bytes) -> Header:
    """Raises Damage for a foreign magic or layout."""
    try:
        fields = _HEADER.unpack_from(body)
        if fields[0] != MAGIC:
            raise Damage("magic")
        if fields[1] != LAYOUT:
            raise Damage(f"layout version {fields[1]} where this code writes {LAYOUT}")
        return Header(
            pair_id=fields[3],
            boot_id=fields[4],
            namespace_inode=fields[5],
            namespace_init=unpack_identity(fields[6]),
            pair=fields[7].rstrip(b"\0").decode(),
            owner_uid=fields[8],
            source_device=fields[9],
            source_inode=fields[10],
            config_generation=fields[11],
            desired=Desired(fields[12]),
            moved=bool(fields[13]),
            slots=fields[14],
            source=body[_HEADER.size : _HEADER.size + fields[15]].decode(),
        )
    except (ValueError, struct.error) as error:
        raise Damage(f"header: {error}") from error


def pack_heartbeat(beat: Heartbeat) -> bytes:
    return _HEARTBEAT.pack(
        beat.generation,
        beat.sequence,
        beat.at_ns,
        beat.handling,
        beat.config_generation & 0xFFFFFFFF,
        beat.notify_inode,
    )


def unpack_heartbeat(data: bytes) -> Heartbeat:
    return Heartbeat(*_HEARTBEAT.unpack_from(data))


def pack_reserves(reserves: Reserves) -> bytes:
    body = b"".join(map(pack_identity, reserves.identities[:RESERVES_MAX]))
    head = _RESERVES.pack(0, len(body) // IDENTITY_SIZE, reserves.generation)[4:]
    return struct.pack("<I", zlib.crc32(head + body)) + head + body


def unpack_reserves(data: bytes) -> Reserves:
    """Never raises: a table that is being written, or is damaged, is empty (it only informs)."""
    checksum, count, generation = _RESERVES.unpack_from(data)
    end = _RESERVES.size + min(count, RESERVES_MAX) * IDENTITY_SIZE
    if zlib.crc32(data[4:end]) != checksum:
        return Reserves()
    pieces = range(_RESERVES.size, end, IDENTITY_SIZE)
    return Reserves(generation, tuple(unpack_identity(data[at : at + IDENTITY_SIZE]) for at in pieces))


def pack_ping(ping: Ping) -> bytes:
    return _PING.pack(ping.generation, ping.at_ns, ping.limit_ns)


def unpack_ping(data: bytes) -> Ping:
    return Ping(*_PING.unpack_from(data))
