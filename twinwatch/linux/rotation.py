"""Cutting the head off a file that others append to, and finding that file without being led astray.

A cut is `fallocate` in whole blocks: a hole is punched, which may be repeated, and then taken out, which may
not be: `is_hole` tells whether it still is to be done. Who appends (O_APPEND) notices neither.

Workers may own the directory that they log to. So a path is walked step by step, and a symlink is followed
only if root or the caller placed it; a log is a regular file with one name.
"""

import ctypes
import errno
import os
import stat

BLOCK = 1 << 20  # of a copy
_SYMLINKS_MAX = 40
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_COLLAPSE_RANGE = 0x08
NOWHERE = (1 << 63) - 1
_NOT_SO = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_REGULAR = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Refused(Exception):
    """A file that is not rotated as it is; the message says why."""


# ---------------------------------------------------------------- the cut


def punch(fd: int, start: int, length: int) -> bool:
    """Free this range; the file keeps its size. False: this file system cannot."""
    return _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, length) == 0


def can_collapse(fd: int) -> bool:
    """Asked with one byte, which is no whole block, so that nobody does it."""
    return _fallocate(fd, _COLLAPSE_RANGE, 0, 1) == errno.EINVAL


def collapse(fd: int, length: int) -> bool:
    """Take the first `length` bytes out of the file. False: it cannot be done in this length."""
    return _fallocate(fd, _COLLAPSE_RANGE, 0, length) == 0


def _fallocate(fd: int, mode: int, start: int, length: int) -> int:
    """0, or what says that it cannot be done so."""
    call = ctypes.CDLL(None, use_errno=True).fallocate64
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    while call(fd, mode, start, length) != 0:
        number = ctypes.get_errno()
        if number in _NOT_SO:
            return number
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return 0


def first_data(fd: int, start: int = 0) -> int:
    """Offset of the first byte at or behind `start` that is in no hole; NOWHERE if there is none."""
    try:
        return os.lseek(fd, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return NOWHERE


def is_hole(fd: int, start: int, end: int) -> bool:
    return first_data(fd, start) >= end


def block_size(fd: int) -> int:
    return os.fstatvfs(fd).f_frsize or 4096


def holds(fd: int, start: int, end: int, backup: int) -> bool:
    """Whether `backup` has, byte by byte, what is left of this range; zeros are what a hole reads as."""
    if os.fstat(backup).st_size != end - start:
        return False
    block = block_size(fd)
    at = first_data(fd, start)
    while at < end:
        left, copied = os.pread(fd, block, at), os.pread(backup, block, at - start)
        if left != copied[: len(left)] and left.strip(b"\0"):
            return False
        at = first_data(fd, at + block)
    return True


# ---------------------------------------------------------------- finding files


def open_directory(path: str) -> int:
    """A descriptor of this directory.

    Raises:
        Refused: somebody else placed a symlink on the way.
        OSError: it cannot be opened.
    """
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        here = _walk(here, [part for part in path.split("/") if part], _SYMLINKS_MAX)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def _walk(here: int, parts: list[str], symlinks: int) -> int:
    """Takes `here` over, closes it, and returns the last one."""
    parts.reverse()
    while parts:
        there = os.open(parts.pop(), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        if not stat.S_ISLNK(os.fstat(there).st_mode):
            os.dup2(there, here, inheritable=False)
            os.close(there)
            continue
        symlinks -= 1
        target = _target(there, symlinks)
        parts += [part for part in reversed(target.split("/")) if part]
        if target.startswith("/"):
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            os.dup2(root, here, inheritable=False)
            os.close(root)
    return here


def _target(link: int, left: int) -> str:
    try:
        owner, target = os.fstat(link).st_uid, os.readlink("", dir_fd=link)
    finally:
        os.close(link)
    if owner not in (0, os.geteuid()):
        raise Refused(f"UID {owner} placed a symlink to {target} on its path")
    if left <= 0:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def open_regular(name: str, folder: int, flags: int = os.O_RDONLY) -> int:
    """Open a file of a directory, if it is a regular one that has no other name.

    Raises:
        Refused: it is something else.
        FileNotFoundError: there is none.
    """
    try:
        fd = os.open(name, flags | _REGULAR, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise Refused(f"{name} is not a regular file") from None
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return fd
    os.close(fd)
    raise Refused(f"{name} has another name, too" if stat.S_ISREG(status.st_mode) else f"{name} is no file")


def create_like(name: str, folder: int, model: int) -> int:
    """A new file with owner and mode of another one.

    Raises:
        FileExistsError: the name is taken.
    """
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _REGULAR, 0o600, dir_fd=folder)
    try:
        wanted, given = os.fstat(model), os.fstat(fd)
        if (wanted.st_uid, wanted.st_gid) != (given.st_uid, given.st_gid):
            os.fchown(fd, wanted.st_uid, wanted.st_gid)
        os.fchmod(fd, wanted.st_mode & 0o777)
    except OSError:  # any errno: raised again
        os.close(fd)
        raise
    return fd


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
