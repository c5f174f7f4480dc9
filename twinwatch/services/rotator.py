"""Rotates one log: copy, announce, cut. `core/rotating.py` decides, `linux/rotation.py` cuts.

Invariant: killed at any instruction, `settle` of the next process brings it to the same end: the backups, the
oldest first, and what is left of the file are, joined, what the worker wrote, byte for byte.
"""

import os
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from twinwatch.core import rotating
from twinwatch.core.rotating import Record, Sight, Stage, Step
from twinwatch.core.spec import Rotate
from twinwatch.linux import rotation, rotation_record

_SYNC_EVERY = 64 << 20  # of a copy: no single sync takes long
_GZIP_HEADER = 31  # for zlib: a gzip file, the largest window


class Rotator:
    """One log, opened for one piece of work. `pulse` is called often, and may raise to give the work up.

    Raises:
        Refused: the log, its directory or a backup is not what may be touched.
        OSError: something of it cannot be opened, read or written now.
    """

    def __init__(self, path: str, record_path: str, pulse: Callable[[], None] = lambda: None) -> None:
        self._name = os.path.basename(path)
        self._record_path = record_path
        self._pulse = pulse
        self._compared = -1  # sequence of the record whose copy needs no comparison: it was made just now
        self._fd = -1
        self._folder = rotation.open_directory(os.path.dirname(path))
        try:
            with suppress(FileNotFoundError):
                self._fd = rotation.open_regular(self._name, self._folder, os.O_RDWR)
            self.record = rotation_record.load(record_path) or self._first_record(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, _error: object, _trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for fd in (self._fd, self._folder):
            if fd >= 0:
                os.close(fd)
        self._fd = self._folder = -1

    def _first_record(self, path: str) -> Record:
        if self._fd < 0:
            return Record(path, 0, 0)
        status = os.fstat(self._fd)
        return Record(
            path, status.st_dev, status.st_ino, start=min(rotation.first_data(self._fd), status.st_size)
        )

    # ---------------------------------------------------------------- what was begun is completed

    def settle(self) -> None:
        """Bring what the record announces to its end."""
        while (step := rotating.next_step(self.record, self._look())) is not Step.NOTHING:
            self._take(step)
        self._mend_hole()

    def tidy(self) -> None:
        """Remove what a killed process left; not while a compression goes on."""
        self._remove(rotating.draft_name(self._name))
        self._drop_doubled()

    def _drop_doubled(self) -> None:
        for name in rotating.doubled(self._backups()):
            self._remove(name)

    def _take(self, step: Step) -> None:
        record = self.record
        match step:
            case Step.DROP_HEAD:
                self._remove(rotating.head_name(self._name))
            case Step.NAME_HEAD:
                self._name_head()
            case Step.UNCUT:
                self._save(rotating.uncut(record))
            case Step.PUNCH:
                self._punch()
            case Step.COLLAPSE:
                collapsed = rotation.collapse(self._fd, record.hole)
                os.fsync(self._fd)
                self._save(rotating.settled(record, collapsed=collapsed))
            case Step.SETTLE:
                self._save(rotating.settled(record, collapsed=True))
            case Step.RENEW:
                self._renew()

    def _look(self) -> Sight:
        """What the record's stage asks for, no more."""
        record = self.record
        has_head = self._inode(rotating.head_name(self._name)) is not None
        if not self._is_same():
            return Sight(is_same=False, has_head=has_head)
        if record.stage is Stage.REST:
            return Sight(is_same=True, has_head=has_head)
        size = os.fstat(self._fd).st_size
        is_hole = record.hole < size and rotation.is_hole(self._fd, 0, record.hole)
        is_copied = record.stage is Stage.CUT and (self._compared == record.sequence or self._is_copied())
        return Sight(is_same=True, has_head=has_head, is_hole=is_hole, is_copied=is_copied)

    def _is_same(self) -> bool:
        """A log that is not there is waited for: its record stays."""
        if self._fd < 0:
            return self.record.stage is Stage.REST
        status = os.fstat(self._fd)
        return (status.st_dev, status.st_ino) == (self.record.device, self.record.inode)

    def _is_copied(self) -> bool:
        """The newest backup, found by its inode, is compared with what is to be cut."""
        record = self.record
        for name in (rotating.head_name(self._name), f"{self._name}.1"):
            if self._inode(name) != record.head:
                continue
            backup = rotation.open_regular(name, self._folder)
            try:
                return rotation.holds(self._fd, record.hole - record.segments[0], record.hole, backup)
            finally:
                os.close(backup)
        return False

    def _punch(self) -> None:
        if not rotation.punch(self._fd, 0, self.record.hole):
            raise rotation.Refused("its file system has no holes")
        if rotation.can_collapse(self._fd):
            self._save(rotating.collapsing(self.record))
        else:
            self._save(rotating.settled(self.record, collapsed=False))

    def _name_head(self) -> None:
        self._drop_doubled()
        for old, new in rotating.renames(self._name, self._backups()):
            self._rename(old, new)
        self._rename(rotating.head_name(self._name), f"{self._name}.1")
        os.fsync(self._folder)

    def _renew(self) -> None:
        if self._fd < 0:
            self._save(rotating.renewed(self.record, 0, 0))
            return
        status = os.fstat(self._fd)
        self._save(rotating.renewed(self.record, status.st_dev, status.st_ino))

    def _mend_hole(self) -> None:
        """Somebody truncated the log, or put another file with the same inode number in its place."""
        hole = self.record.hole
        if self._fd < 0 or not hole:
            return
        if os.fstat(self._fd).st_size <= hole or os.pread(self._fd, 1, 0) not in (b"", b"\0"):
            self._save(rotating.emptied(self.record))

    # ---------------------------------------------------------------- a rotation

    def check(self, rotate: Rotate, now_ns: int) -> bool:
        """Whether it is due; the time of its first byte is kept."""
        if self._fd < 0:
            return False
        size = os.fstat(self._fd).st_size
        if rotate.age_ns and (dated := rotating.dated(self.record, size, now_ns)) != self.record:
            self._save(dated)
        return rotating.is_due(rotate, self.record, size, now_ns)

    def rotate(self, keep: int, now_ns: int) -> bool:
        """False: there is no whole block that could be taken."""
        block = rotation.block_size(self._fd)
        length = rotating.head_length(self.record, os.fstat(self._fd).st_size, block)
        if length <= 0:
            return False
        inode = self._copy(length)
        os.fsync(self._folder)
        self._save(rotating.cutting(self.record, length, inode, now_ns, keep))
        self._compared = self.record.sequence
        self.settle()
        return True

    def _copy(self, length: int) -> int:
        """The head's inode; complete and durable. A copy that fails leaves nothing behind."""
        name = rotating.head_name(self._name)
        head = rotation.create_like(name, self._folder, self._fd)
        try:
            self._copy_into(head, length)
            return os.fstat(head).st_ino
        except BaseException:
            self._remove(name)
            raise
        finally:
            os.close(head)

    def _copy_into(self, head: int, length: int) -> None:
        if not rotation.punch(head, 0, 1):
            raise rotation.Refused("its file system has no holes")
        at, unsynced = self.record.hole, 0
        end = at + length
        while at < end:
            data = os.pread(self._fd, min(rotation.BLOCK, end - at), at)
            if not data:
                raise rotation.Refused("it was truncated while it was copied")
            rotation.write_all(head, data)
            at += len(data)
            unsynced += len(data)
            if unsynced >= _SYNC_EVERY:
                os.fdatasync(head)
                unsynced = 0
            self._pulse()
        os.fsync(head)

    def prune(self, keep: int) -> None:
        for name in rotating.surplus(self._backups(), keep):
            self._remove(name)

    # ---------------------------------------------------------------- compression

    def compression(self) -> Generator[None, None, bool]:
        """Compress the oldest plain backup, piece by piece; gives False if there was none.

        It may be left at any piece. Rotations may come in between: the backup is found by its inode.
        """
        name = rotating.to_compress(self._backups())
        if not name:
            return False
        draft = rotating.draft_name(self._name)
        self._remove(draft)
        plain = rotation.open_regular(name, self._folder)
        try:
            packed = rotation.create_like(draft, self._folder, plain)
            try:
                yield from _pack(plain, packed)
                os.fsync(packed)
            finally:
                os.close(packed)
            self._replace(os.fstat(plain).st_ino, draft)
        finally:
            os.close(plain)
            self._remove(draft)
        return True

    def _replace(self, inode: int, draft: str) -> None:
        for names in self._backups().values():
            if self._inode(names[0]) == inode:
                self._rename(draft, names[0] + rotating.GZ)
                os.fsync(self._folder)
                self._remove(names[0])

    # ---------------------------------------------------------------- names and the record

    def _backups(self) -> dict[int, list[str]]:
        return rotating.numbered(self._name, os.listdir(self._folder))

    def _inode(self, name: str) -> int | None:
        try:
            return os.stat(name, dir_fd=self._folder, follow_symlinks=False).st_ino
        except FileNotFoundError:
            return None

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._folder)

    def _save(self, record: Record) -> None:
        rotation_record.save(self._record_path, record)
        self.record = record


def _pack(plain: int, packed: int) -> Iterator[None]:
    """One gzip file with nothing but the bytes in it."""
    packer = zlib.compressobj(wbits=_GZIP_HEADER)
    at = 0
    while data := os.pread(plain, rotation.BLOCK, at):
        at += len(data)
        rotation.write_all(packed, packer.compress(data))
        yield
    rotation.write_all(packed, packer.flush())
