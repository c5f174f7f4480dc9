"""Backups of a rotated log, found in the order of their bytes.

Who looks from the newest to the oldest misses none, for a backup only ever gets a higher number. Seen twice
is the same inode. Which bytes a backup has follows from the record's lengths; a backup that somebody removed
is missed by its length.
"""

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from twinwatch.core.rotating import GZ, head_name, numbered

_LENGTH = 4  # bytes at the end of a gzip file: the length of what is in it, modulo 2 ** 32
_MODULO = 1 << 32
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
BLOCK = 1 << 16


@dataclass(slots=True)
class Backup:
    """Bytes `first` to `end` of the log, open."""

    file: IO[bytes] | gzip.GzipFile  # what is in it
    raw: IO[bytes]  # what is to be closed
    length: int
    is_packed: bool
    first: int = 0
    end: int = 0

    def read(self) -> bytes:
        """The next bytes; nothing at the end, or where it is damaged."""
        try:
            return self.file.read(BLOCK)
        except _DAMAGE:
            return b""

    def skip_to(self, offset: int) -> None:
        try:
            self.file.seek(offset - self.first)
        except _DAMAGE:
            return

    def start_of_last(self, count: int) -> tuple[int, int]:
        """Offset at which its last `count` lines begin, and how many beginnings are missing.

        Its last line goes on in the next backup, so each line end in it is a beginning.
        """
        left = sum(data.count(b"\n") for data in iter(self.read, b"")) - count
        if left < 0:
            return self.first, -left
        self.skip_to(at := self.first)
        for data in iter(self.read, b""):
            here = data.count(b"\n")
            if left < here:
                return at + _newline(data, left) + 1, 0
            left -= here
            at += len(data)
        return at, 0  # it was damaged meanwhile

    def close(self) -> None:
        self.file.close()
        self.raw.close()


def _newline(data: bytes, number: int) -> int:
    """Where the newline with this number is, counted from 0."""
    at = -1
    for _ in range(number + 1):
        at = data.index(b"\n", at + 1)
    return at


def backups_of(path: str, start: int, segments: tuple[int, ...], *, has_head: bool) -> Iterator[Backup]:
    """Newest first. `segments`: their lengths; the newest ends at `start`. The caller closes each.

    `has_head`: the newest may not have its number yet.
    """
    left = list(segments)
    for backup in _opened(path, has_head=has_head):
        lengths = [length % _MODULO if backup.is_packed else length for length in left]
        if backup.length not in lengths:
            backup.close()
            continue
        missing = lengths.index(backup.length)
        backup.end = start - sum(left[:missing])
        backup.first = start = backup.end - left[missing]
        del left[: missing + 1]
        yield backup


def _opened(path: str, *, has_head: bool) -> Iterator[Backup]:
    folder, name = os.path.split(path)
    seen: set[int] = set()
    head = [(head_name(name),)] if has_head else []
    for entries in (*head, *_names(folder, name)):
        backup = next(filter(None, (_open(os.path.join(folder, entry)) for entry in entries)), None)
        if backup is None:
            continue
        inode = os.fstat(backup.raw.fileno()).st_ino
        if inode in seen:
            backup.close()
            continue
        seen.add(inode)
        yield backup


def _names(folder: str, name: str) -> Iterator[tuple[str, ...]]:
    """For each number what may be there: plain before compressed, as the one replaces the other."""
    oldest = max(numbered(name, os.listdir(folder)), default=0)
    for number in range(1, oldest + 2):
        yield f"{name}.{number}", f"{name}.{number}{GZ}"


def _open(path: str) -> Backup | None:
    try:
        raw = open(path, "rb", opener=_opener)  # noqa: SIM115 - the caller closes it
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        return None
    size = os.fstat(raw.fileno()).st_size
    if not path.endswith(GZ):
        return Backup(raw, raw, size, is_packed=False)
    length = int.from_bytes(os.pread(raw.fileno(), _LENGTH, max(0, size - _LENGTH)), "little")
    return Backup(gzip.GzipFile(fileobj=raw), raw, length, is_packed=True)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
