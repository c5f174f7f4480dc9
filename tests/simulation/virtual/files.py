"""Files of the virtual kernel: one tree, and the two kinds of lock that a file can carry.

POSIX record locks belong to a process and go with *any* close of the file by it; `flock` belongs to an open
file description, which a fork shares. Both are as Linux has them, because the project depends on both.
"""

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DEVICE = 41
FOREVER = 1 << 63  # end of a record lock without a length
BLOCK = 4096
SHARED, EXCLUSIVE = "shared", "exclusive"


class Status(NamedTuple):
    """The fields of `os.stat_result` that anybody asks for."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_mtime_ns: int


@dataclass
class RecordLock:
    """Bytes [start, end) of a file, held by a process."""

    start: int
    end: int
    kind: str
    owner: Any


@dataclass(eq=False)
class Inode:
    """A file, directory, FIFO, socket or device."""

    number: int
    kind: int  # stat.S_IFREG ...
    mode: int = 0o600
    uid: int = 0
    links: int = 0
    mtime_ns: int = 0
    data: bytearray = field(default_factory=bytearray)
    allocated: int = 0
    entries: dict[str, "Inode"] = field(default_factory=dict)
    record_locks: list[RecordLock] = field(default_factory=list)
    flocks: dict[Any, str] = field(default_factory=dict)  # open file description -> kind
    socket: Any = None  # what is bound to it

    def status(self) -> Status:
        size = len(self.data)
        return Status(
            self.kind | self.mode, self.number, DEVICE, self.links, self.uid, 0, size, self.mtime_ns
        )


def error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


class Files:
    """The tree. Paths are absolute; there are no symbolic links."""

    def __init__(self) -> None:
        self._next = 100
        self.root = self.new(stat.S_IFDIR, 0o755)
        self.is_full = False
        for path in ("/dev", "/tmp", "/run", "/etc"):
            self.link_new(path, self.new(stat.S_IFDIR, 0o755))
        self.link_new("/dev/null", self.new(stat.S_IFCHR, 0o666))

    def new(self, kind: int, mode: int) -> Inode:
        self._next += 1
        return Inode(self._next, kind, mode)

    # ------------------------------------------------------------ names

    def find(self, path: str) -> Inode:
        """Raises FileNotFoundError, NotADirectoryError."""
        node = self.root
        for name in path.split("/"):
            if name in ("", "."):
                continue
            if node.kind != stat.S_IFDIR:
                raise error(errno.ENOTDIR, path)
            if name not in node.entries:
                raise error(errno.ENOENT, path)
            node = node.entries[name]
        return node

    def parent(self, path: str) -> tuple[Inode, str]:
        above, _, name = path.rstrip("/").rpartition("/")
        node = self.find(above or "/")
        if node.kind != stat.S_IFDIR:
            raise error(errno.ENOTDIR, path)
        return node, name

    def link_new(self, path: str, node: Inode) -> Inode:
        above, name = self.parent(path)
        if name in above.entries:
            raise error(errno.EEXIST, path)
        if self.is_full:
            raise error(errno.ENOSPC, path)
        above.entries[name] = node
        node.links += 1
        return node

    def link(self, source: str, path: str) -> None:
        self.link_new(path, self.find(source))

    def unlink(self, path: str) -> None:
        above, name = self.parent(path)
        node = self.find(path)
        if node.kind == stat.S_IFDIR:
            raise error(errno.EISDIR, path)
        del above.entries[name]
        node.links -= 1

    def rmdir(self, path: str) -> None:
        above, name = self.parent(path)
        node = self.find(path)
        if node.kind != stat.S_IFDIR:
            raise error(errno.ENOTDIR, path)
        if node.entries:
            raise error(errno.ENOTEMPTY, path)
        del above.entries[name]
        node.links -= 1

    def rename(self, source: str, path: str) -> None:
        node = self.find(source)
        above, name = self.parent(path)
        replaced = above.entries.get(name)
        if replaced is node:
            return
        if replaced is not None:
            replaced.links -= 1
        above.entries[name] = node
        old, old_name = self.parent(source)
        del old.entries[old_name]

    def forget(self, path: str) -> None:
        """Remove a whole tree, as something that cleans up does."""
        above, name = self.parent(path)
        node = above.entries.pop(name)
        _drop_links(node)

    # ------------------------------------------------------------ bytes

    def write_at(self, node: Inode, data: bytes, at: int, now_ns: int) -> int:
        end = at + len(data)
        if self.is_full and end > max(node.allocated, len(node.data)):
            raise error(errno.ENOSPC)
        if len(node.data) < at:
            node.data.extend(bytes(at - len(node.data)))
        node.data[at:end] = data
        node.allocated = max(node.allocated, end)
        node.mtime_ns = now_ns
        return len(data)

    def allocate(self, node: Inode, size: int) -> None:
        if self.is_full and size > node.allocated:
            raise error(errno.ENOSPC)
        node.allocated = max(node.allocated, size)
        if len(node.data) < size:
            node.data.extend(bytes(size - len(node.data)))


def _drop_links(node: Inode) -> None:
    node.links -= 1
    for child in node.entries.values():
        _drop_links(child)
    node.entries.clear()


# ---------------------------------------------------------------- record locks


def conflict(node: Inode, owner: object, start: int, end: int, kind: str) -> RecordLock | None:
    """Another process's lock that stands against `kind` on these bytes."""
    for lock in node.record_locks:
        overlaps = lock.start < end and start < lock.end
        if overlaps and lock.owner is not owner and EXCLUSIVE in (lock.kind, kind):
            return lock
    return None


def set_record_lock(node: Inode, owner: object, start: int, end: int, kind: str | None) -> None:
    """Put a lock in place of the owner's own on these bytes; None: free them. The caller looked for conflicts."""
    kept = []
    for lock in node.record_locks:
        if lock.owner is not owner or lock.end <= start or end <= lock.start:
            kept.append(lock)
            continue
        if lock.start < start:
            kept.append(RecordLock(lock.start, start, lock.kind, owner))
        if end < lock.end:
            kept.append(RecordLock(end, lock.end, lock.kind, owner))
    if kind is not None:
        kept.append(RecordLock(start, end, kind, owner))
    node.record_locks = kept


def drop_record_locks(node: Inode, owner: object) -> None:
    """What any close of any descriptor of the file does."""
    if node.record_locks:
        node.record_locks = [lock for lock in node.record_locks if lock.owner is not owner]


# ---------------------------------------------------------------- flock


def try_flock(node: Inode, description: object, kind: str | None) -> bool:
    """Take, change or free a `flock`. False: another open file description stands against it."""
    if kind is None:
        node.flocks.pop(description, None)
        return True
    others = [held for who, held in node.flocks.items() if who is not description]
    if any(EXCLUSIVE in (kind, held) for held in others):
        return False
    node.flocks[description] = kind
    return True
