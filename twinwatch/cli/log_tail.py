"""Reading a log on while it is rotated in place: every byte once, in its order.

What was read is counted from the first byte of the file, whatever has become of that byte since. The record
(`core/rotating.py`) says where the next one is: in the file, or in a backup. It is looked at before and after
each read: equal, and nothing was moved meanwhile; else what was read is thrown away. A backup never changes,
so once it is open it is read at leisure.
"""

import os
from contextlib import suppress
from dataclasses import dataclass

from twinwatch.cli import follow
from twinwatch.cli.follow import Tail
from twinwatch.cli.log_backups import Backup, backups_of
from twinwatch.core.rotating import Stage
from twinwatch.linux import rotation
from twinwatch.linux.rotation_record import load

_TRIES = 100  # against a rotation that comes between; the next step tries again


@dataclass(frozen=True, slots=True)
class _View:
    """Where bytes are: see `core.rotating.Record`."""

    sequence: int
    origin: int
    base: int
    start: int
    segments: tuple[int, ...] = ()
    has_head: bool = False


class LogTail(Tail):
    """`position` is counted from the first byte of this file; what was in files before it is below 0."""

    def __init__(self, fd: int, path: str, record_path: str) -> None:
        super().__init__(fd)
        self._path = path
        self._record_path = record_path
        self._backup: Backup | None = None
        self._is_torn = False  # the end of the line that was begun is lost
        self._view = _View(0, 0, 0, min(rotation.first_data(fd), os.fstat(fd).st_size))
        self._view = self._look()

    def _look(self) -> _View:
        """What is so; what was so at last, when the record is of another file by now."""
        record = load(self._record_path)
        if record is not None and (record.device, record.inode) == self.key:
            base = record.base
            if record.stage is Stage.COLLAPSE and not rotation.is_hole(self.fd, 0, record.hole):
                base = record.start
            has_head = record.stage is Stage.CUT
            self._view = _View(record.sequence, record.origin, base, record.start, record.segments, has_head)
        return self._view

    # ---------------------------------------------------------------- reading on

    def block(self) -> bytes:
        for _ in range(_TRIES):
            if self._is_torn:
                self._is_torn = False
                return b"\n"
            if self._backup is not None:
                if data := self._from_backup(self._backup):
                    return data
                continue
            view = self._look()
            if view.origin + self.position < view.start:
                self._enter_backup(view)
                continue
            data = os.pread(self.fd, follow.BLOCK, view.origin + self.position - view.base)
            size = os.fstat(self.fd).st_size  # before it is looked again: a collapse is no truncation
            if self._look() != view:
                continue
            if not data and self._is_truncated(view, size):
                continue
            self.position += len(data)
            return data
        return b""

    def _from_backup(self, backup: Backup) -> bytes:
        data = backup.read()
        self.position += len(data)
        if not data:
            self._leave_backup()
            self._skip_to(backup.end)  # nothing is skipped unless it is damaged
        return data

    def _enter_backup(self, view: _View) -> None:
        """Open the one that has the next byte; with none, go on behind what is lost."""
        offset, after = view.origin + self.position, view.start
        found: Backup | None = None
        for backup in self._backups(view):
            if found is None and offset >= backup.first and offset < backup.end:
                found = backup
                continue
            if backup.first > offset:
                after = min(after, backup.first)
            backup.close()
        if self._look() != view:
            if found is not None:
                found.close()
        elif found is None:
            self._skip_to(after)
        else:
            found.skip_to(offset)
            self._backup = found

    def _backups(self, view: _View) -> list[Backup]:
        with suppress(FileNotFoundError):
            return list(backups_of(self._path, view.start, view.segments, has_head=view.has_head))
        return []

    def _skip_to(self, offset: int) -> None:
        position = offset - self._view.origin
        if position > self.position:
            self.lost += position - self.position
            self.position = position
            self._is_torn = bool(self.rest)

    def _leave_backup(self) -> None:
        if self._backup is not None:
            self._backup.close()
            self._backup = None

    def _is_truncated(self, view: _View, size: int) -> bool:
        """It was cut short by somebody: it begins anew. True if there is something to read."""
        if view.base + size >= view.origin + self.position:
            return False
        self.position, self.rest = view.start - view.origin, b""
        return view.base + size > view.start

    # ---------------------------------------------------------------- where to begin

    def seek(self, last: int | None) -> None:
        for _ in range(_TRIES):
            view = self._look()
            offset = self._first(view) if last is None else self._start_of_last(view, last)
            if self._look() == view:
                self.position = offset - view.origin
                return

    def _first(self, view: _View) -> int:
        first = view.start
        for backup in self._backups(view):
            first = min(first, backup.first)
            backup.close()
        return first

    def _start_of_last(self, view: _View, count: int) -> int:
        physical, missing = follow.line_start(self.fd, view.start - view.base, count)
        offset = view.base + physical
        for backup in self._backups(view):
            if missing and backup.end == offset:
                offset, missing = backup.start_of_last(missing)
            backup.close()
        return offset

    def close(self) -> None:
        self._leave_backup()
        super().close()
