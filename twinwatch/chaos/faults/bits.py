"""One flipped bit in the state file, as a broken disk has it: past every lock, by pwrite."""

import os
import random
import time
from dataclasses import dataclass

from twinwatch.chaos.fault import Blow, Fault, Strike
from twinwatch.chaos.reader import Look, Reader
from twinwatch.chaos.scene import Scene
from twinwatch.core import record
from twinwatch.core.values import WATCHER_ROLES

_BODY_AT, _BODY_BITS_OF = 12, 200  # of a copy: where every record has something


@dataclass(frozen=True, slots=True)
class Spot:
    """Where bits flip: what it is called, and offsets of the bytes, one bit of each."""

    name: str
    offsets: tuple[int, ...]


def spot(reader: Reader, records: dict[str, int], chance: random.Random) -> Spot:
    """`records`: offsets by name. Heartbeats, journal and lists of reserves are struck as well."""
    if chance.random() < 0.25:
        return _unrecorded(chance)
    name = chance.choice(sorted(records))
    at = records[name]
    current = at + record.COPY_AT[reader.version(at) & 1]
    body = _BODY_AT + chance.randrange(_BODY_BITS_OF)
    match chance.choice(("selector", "checksum", "version", "body", "both copies")):
        case "selector":
            return Spot(f"{name}: selector", (at + chance.randrange(record.SELECTOR_SIZE),))
        case "checksum":
            return Spot(f"{name}: checksum", (current + chance.randrange(4),))
        case "version":
            return Spot(f"{name}: version", (current + 4 + chance.randrange(4),))
        case "body":
            return Spot(f"{name}: body", (current + body,))
        case _:
            return Spot(f"{name}: both copies", tuple(at + copy + body for copy in record.COPY_AT))


def _unrecorded(chance: random.Random) -> Spot:
    role = chance.choice(WATCHER_ROLES)
    match chance.choice(("heartbeat", "journal", "reserves")):
        case "heartbeat":
            at = record.HEARTBEAT_AT + role.slot * record.HEARTBEAT_SIZE
            return Spot(f"heartbeat of {role.label}", (at + chance.randrange(48),))
        case "journal":
            return Spot("journal", (record.JOURNAL_AT + chance.randrange(4 * record.JOURNAL_ENTRIES),))
        case _:
            at = record.RESERVES_AT + role.slot * record.RESERVES_SIZE
            return Spot(f"reserves of {role.label}", (at + chance.randrange(96),))


def flip_bits(scene: Scene, strike: Strike, look: Look) -> Blow:
    """Repaired from what a living watcher remembers; nothing is born, ended or doubled for it."""
    chance = strike.chance()
    records = {"header": record.HEADER_AT}
    records |= {name: record.slot_at(at) for name, at in scene.reader.indices().items() if name in look.slots}
    where = spot(scene.reader, records, chance)
    began = time.monotonic()
    fd = os.open(f"{scene.paths.runtime}/state", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        for at in where.offsets:
            byte = os.pread(fd, 1, at)[0]
            os.pwrite(fd, bytes([byte ^ 1 << chance.randrange(8)]), at)
    finally:
        os.close(fd)
    return Blow(
        (where.name.partition(":")[0],),
        began,
        detail={"flipped": where.name, "offsets": list(where.offsets)},
        settles=True,
    )


FAULTS = (Fault("flip-bits", "flip a bit of the state file", flip_bits),)
