"""When a log is rotated, where its bytes are then, and what its backups are called.

Every byte that a worker ever wrote to a log has an *offset*, counted from the first. A rotation takes the
file's head away in three moves: it is copied to a backup; its blocks become a hole in the file; and where
the file system can, the hole is taken out, so that the file begins with what follows.

Invariants, at every instant:
- bytes before `start` are in backups, those from `start` on in the file, at `offset - base`;
- the record says so before it happens, and a move that may already have been made is made only if the
  file shows that it was not: a hole is what tells, for two pieces of a log may well be equal;
- a backup only ever gets a higher number, the oldest first. So whoever looks from the newest to the oldest
  misses none, and their order is right in the middle of a renumbering too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from twinwatch.core.spec import Rotate

GZ = ".gz"
_DIGITS = frozenset("0123456789")


class Stage(StrEnum):
    """What the record announces. CUT: the head, now in a backup, leaves. COLLAPSE: its hole leaves, too."""

    REST = "rest"
    CUT = "cut"
    COLLAPSE = "collapse"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one log file.

    `origin`: offset of the first byte that was ever in this file. `segments`: lengths of the backups, newest
    first. `head`: inode of the newest. `since_ns`: wall-clock time of the last rotation or of the first byte
    that was seen; 0: there was none.
    """

    path: str
    device: int
    inode: int
    origin: int = 0
    base: int = 0
    start: int = 0
    segments: tuple[int, ...] = ()
    head: int = 0
    since_ns: int = 0
    sequence: int = 0
    stage: Stage = Stage.REST

    @property
    def hole(self) -> int:
        """So many bytes at the beginning of the file are no part of the log (any more)."""
        return self.start - self.base


# ---------------------------------------------------------------- when, and how much


def is_due(rotate: Rotate, record: Record, size: int, now_ns: int) -> bool:
    """`size` of the file; `now_ns` by the wall clock."""
    held = size - record.hole
    if held <= 0:
        return False
    if rotate.size and held >= rotate.size:
        return True
    return bool(rotate.age_ns and record.since_ns) and now_ns - record.since_ns >= rotate.age_ns


def head_length(record: Record, size: int, block: int) -> int:
    """How much can be taken: whole blocks, but never all of the file, which no file system collapses."""
    return max(0, (size - 1) // block * block - record.hole)


def dated(record: Record, size: int, now_ns: int) -> Record:
    """With the time of its first byte; a clock that was set back begins anew."""
    if size <= record.hole or 0 < record.since_ns <= now_ns:
        return record
    return replace(record, since_ns=now_ns)


# ---------------------------------------------------------------- what the record says, step by step


def renewed(record: Record, device: int, inode: int) -> Record:
    """Another file has the log's name now: what is in it follows on the backups."""
    if (device, inode) == (record.device, record.inode):
        return record
    fresh = replace(_next(record, Stage.REST), device=device, inode=inode)
    return replace(fresh, origin=record.start, base=record.start, head=0, since_ns=0)


def emptied(record: Record) -> Record:
    """Somebody truncated the file: it has no hole any more."""
    return replace(_next(record, Stage.REST), base=record.start)


def cutting(record: Record, length: int, head: int, now_ns: int, keep: int) -> Record:
    """The copy is complete and durable: from here on the bytes are the backup's."""
    return replace(
        _next(record, Stage.CUT),
        start=record.start + length,
        segments=(length, *record.segments)[: keep + 1],
        head=head,
        since_ns=now_ns,
    )


def uncut(record: Record) -> Record:
    """The backup is lost while the bytes are still in the file: they are the file's again."""
    rested = _next(record, Stage.REST)
    return replace(rested, start=record.start - record.segments[0], segments=record.segments[1:], head=0)


def collapsing(record: Record) -> Record:
    return _next(record, Stage.COLLAPSE)


def settled(record: Record, *, collapsed: bool) -> Record:
    return replace(_next(record, Stage.REST), base=record.start if collapsed else record.base)


def _next(record: Record, stage: Stage) -> Record:
    return replace(record, stage=stage, sequence=record.sequence + 1)


class Step(StrEnum):
    """What is to be done next about a record, until nothing is."""

    NOTHING = "nothing"
    DROP_HEAD = "drop-head"  # a copy that was not completed
    NAME_HEAD = "name-head"  # the copy gets number 1
    UNCUT = "uncut"
    PUNCH = "punch"  # may be repeated
    COLLAPSE = "collapse"  # may not
    SETTLE = "settle"  # it was collapsed
    RENEW = "renew"


@dataclass(frozen=True, slots=True)
class Sight:
    """What the files show.

    `is_hole`: the file begins with a hole, up to `start`. `is_copied`: the newest backup is there and holds,
    byte by byte, what the file still has of it.
    """

    is_same: bool
    has_head: bool = False
    is_hole: bool = False
    is_copied: bool = False


def next_step(record: Record, sight: Sight) -> Step:
    match record.stage:
        case Stage.REST:
            if sight.has_head:
                return Step.DROP_HEAD
            return Step.NOTHING if sight.is_same else Step.RENEW
        case Stage.CUT:
            return _step_of_cut(sight)
        case Stage.COLLAPSE:
            if not sight.is_same:
                return Step.RENEW
            return Step.COLLAPSE if sight.is_hole else Step.SETTLE


def _step_of_cut(sight: Sight) -> Step:
    if sight.is_same and not (sight.is_hole or sight.is_copied):
        return Step.UNCUT
    if sight.has_head:
        return Step.NAME_HEAD
    if not sight.is_same:
        return Step.RENEW
    return Step.PUNCH


# ---------------------------------------------------------------- names


def head_name(name: str) -> str:
    """The backup while it is made."""
    return f".{name}.head"


def draft_name(name: str) -> str:
    """A backup while it is compressed."""
    return f".{name}{GZ}"


def numbered(name: str, entries: Iterable[str]) -> dict[int, list[str]]:
    """Backups among the names of a directory: number -> plain name, compressed name, or both."""
    found: dict[int, list[str]] = {}
    for entry in sorted(entries):
        number = entry.removeprefix(f"{name}.").removesuffix(GZ)
        if entry.startswith(f"{name}.") and is_number(number):
            found.setdefault(int(number), []).append(entry)
    return found


def is_number(text: str) -> bool:
    return set(text) <= _DIGITS and 0 < len(text) < 10 and text[0] != "0"


def doubled(backups: dict[int, list[str]]) -> list[str]:
    """Plain backups beside their complete compressed ones."""
    return [names[0] for names in backups.values() if len(names) > 1]


def renames(name: str, backups: dict[int, list[str]]) -> list[tuple[str, str]]:
    """What frees number 1, the oldest first: all up to the first free number go one up."""
    free = 1
    while free in backups:
        free += 1
    return [
        (entry, f"{name}.{number + 1}{GZ if entry.endswith(GZ) else ''}")
        for number in range(free - 1, 0, -1)
        for entry in backups[number]
    ]


def surplus(backups: dict[int, list[str]], keep: int) -> list[str]:
    """The oldest first."""
    kept = sorted(backups)[:keep]
    return [entry for number in sorted(set(backups) - set(kept), reverse=True) for entry in backups[number]]


def to_compress(backups: dict[int, list[str]]) -> str:
    """The oldest plain backup; the newest stays plain for whoever reads it on. Empty: none."""
    for number in sorted(backups, reverse=True)[:-1]:
        if len(backups[number]) == 1 and not backups[number][0].endswith(GZ):
            return backups[number][0]
    return ""
