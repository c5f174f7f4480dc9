"""Is this still the process that was recorded? Answered by every means that both sides have.

A pidfs file handle (Linux 6.14) names one process of this boot and turns stale with it; the inode of
a pidfd (6.9) is never used twice in a boot; the start time (field 22 of `/proc/PID/stat`) tells most
reused PIDs apart where the kernel has neither. A means that fails with EPERM or ENOSYS is *absent*,
never proof of death. Prior art: systemd's `PidRef`.
"""

import ctypes
import errno
import os
import select

from twinwatch.core.values import Identity

_libc = ctypes.CDLL(None, use_errno=True)
_AT_EMPTY_PATH = 0x1000
_HANDLE_BYTES = 16
_STAT_BYTES = 4096  # more than `/proc/PID/stat` ever has
_MEANS_ABSENT = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.EOVERFLOW}
)
_GONE = frozenset({errno.ESRCH, errno.EINVAL})


class ProcessGone(Exception):
    """The recorded process does not exist any more."""


class IdentityUnknown(Exception):
    """No means can tell whether a living process is the recorded one: it must not be touched."""


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("bytes", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("handle", ctypes.c_ubyte * _HANDLE_BYTES),
    )


_handle_type = 0  # as `name_to_handle_at` gave it last: the same for every pidfd


def _handle_of(pidfd: int) -> bytes:
    global _handle_type  # noqa: PLW0603 - a property of the kernel, learned once
    handle = _FileHandle(_HANDLE_BYTES, 0)
    mount = ctypes.c_int()
    if _libc.name_to_handle_at(pidfd, b"", ctypes.byref(handle), ctypes.byref(mount), _AT_EMPTY_PATH) != 0:
        return b""
    _handle_type = handle.type
    return bytes(handle.handle[: handle.bytes])


def _open_handle(handle: bytes) -> int | None:
    """A pidfd, or None where this kernel or sandbox has no such handles.

    Raises:
        ProcessGone: the handle is stale.
    """
    own = os.pidfd_open(os.getpid())
    try:
        if _handle_type == 0 and not _handle_of(own):
            return None
        wanted = _FileHandle(len(handle), _handle_type, (ctypes.c_ubyte * _HANDLE_BYTES)(*handle))
        pidfd: int = _libc.open_by_handle_at(own, ctypes.byref(wanted), os.O_CLOEXEC)
    finally:
        os.close(own)
    if pidfd >= 0:
        return pidfd
    number = ctypes.get_errno()
    if number in (errno.ESTALE, errno.ESRCH):
        raise ProcessGone
    if number in _MEANS_ABSENT:
        return None
    raise OSError(number, os.strerror(number))


def _inode_of(pidfd: int) -> int:
    """Inode of the process, 0 where pidfds have no file system of their own (before Linux 6.9)."""
    return os.fstat(pidfd).st_ino if _has_pidfs() else 0


_pidfs: bool | None = None


def _has_pidfs() -> bool:
    """Whether two processes have two inodes here: before, all pidfds shared the anonymous inode."""
    global _pidfs  # noqa: PLW0603 - a property of the kernel, learned once
    if _pidfs is None:
        own, anonymous = os.pidfd_open(os.getpid()), os.eventfd(0)
        try:
            _pidfs = os.fstat(own).st_dev != os.fstat(anonymous).st_dev
        finally:
            os.close(own)
            os.close(anonymous)
    return _pidfs


def start_ticks(pid: int) -> int:
    """Start time in clock ticks since boot, 0 where `/proc` does not show it."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else 0


def stat_fields(pid: int) -> list[bytes]:
    """Fields 3 and up of `/proc/PID/stat`; empty where the process is not to be seen."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, _STAT_BYTES).rpartition(b")")[2].split()
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def is_stopped(pid: int) -> bool:
    """Whether a process is held by a stop signal or a debugger."""
    return stat_fields(pid)[:1] in ([b"T"], [b"t"])


def identify(pid: int, pidfd: int) -> Identity:
    """All that the kernel tells about the process behind `pidfd`, whose PID is `pid`."""
    return Identity(pid, start_ticks(pid), _inode_of(pidfd), _handle_of(pidfd))


def identify_self() -> Identity:
    own = os.pidfd_open(os.getpid())
    try:
        return identify(os.getpid(), own)
    finally:
        os.close(own)


def open_process(identity: Identity) -> int:
    """A pidfd of the recorded process, which may be a zombie.

    Raises:
        ProcessGone: it does not exist any more, or its PID belongs to another process now.
        IdentityUnknown: a process has this PID and no means can tell whose it is.
    """
    pidfd = _open_handle(identity.handle) if identity.handle else None
    if pidfd is None:
        pidfd = open_pid(identity.pid)
        vouched = False
    else:
        vouched = True
    try:
        _check(identity, pidfd, vouched=vouched)
    except BaseException:
        os.close(pidfd)
        raise
    return pidfd


def open_pid(pid: int) -> int:
    """A pidfd of whatever process has this PID now. Raises ProcessGone."""
    if pid <= 0:
        raise ProcessGone
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in _GONE:
            raise ProcessGone from None
        raise


def _check(identity: Identity, pidfd: int, *, vouched: bool) -> None:
    """Every means that both the record and this reader have must agree, and one must exist."""
    inode = _inode_of(pidfd)
    if identity.inode and inode:
        if identity.inode != inode:
            raise ProcessGone
        vouched = True
    ticks = start_ticks(identity.pid)
    if identity.start_ticks and ticks:
        if identity.start_ticks != ticks:
            raise ProcessGone
        vouched = True
    if not vouched:
        if is_dead(pidfd):
            raise ProcessGone
        raise IdentityUnknown(identity.pid)


def is_dead(pidfd: int) -> bool:
    """The only proof of death there is: a readable pidfd."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def is_alive(identity: Identity) -> bool:
    """Whether the recorded process lives now. A process that cannot be told apart counts as alive."""
    if not identity:
        return False
    try:
        pidfd = open_process(identity)
    except ProcessGone:
        return False
    except IdentityUnknown:
        return True
    try:
        return not is_dead(pidfd)
    finally:
        os.close(pidfd)
