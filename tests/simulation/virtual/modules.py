"""The other modules that meet the kernel: `fcntl`, `select`, `signal`, `time`, and what is only a stub."""

# ruff: noqa: ARG002 - arguments are those of the real calls

import ctypes
import errno
import fcntl
import os
import resource
import select
import signal
import struct
import time
from typing import Any

from virtual import files
from virtual.calls import replayed
from virtual.files import EXCLUSIVE, FOREVER, SHARED, error
from virtual.kernel import Kernel
from virtual.process import Process
from virtual.things import Description, EpollSet, OpenFile, PidFd, PipeEnd

_FLOCK = struct.Struct("hhqqi4x")
_INFO = struct.Struct("=QQ11Ii2I")
_INFO_EXIT = 1 << 3
_GET_INFO = 0xFF0B
_FIONREAD = 0x541B
_GROUP = 1 << 2


def pass_constants(target: object, module: Any) -> None:
    """Give `target` the module's constants and exceptions, never a call."""
    for name in dir(module):
        value = getattr(module, name)
        is_error = isinstance(value, type) and issubclass(value, BaseException)
        if is_error or isinstance(value, int):
            setattr(target, name, value)


class VirtualFcntl:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        pass_constants(self, fcntl)

    def lockf(self, fd: int, command: int, length: int = 0, start: int = 0) -> None:
        what = self.kernel.what(fd)
        end = start + length if length else FOREVER
        kind = None if command & fcntl.LOCK_UN else SHARED if command & fcntl.LOCK_SH else EXCLUSIVE
        self.kernel.point("lockf", kind, start)
        assert isinstance(what, OpenFile) and (kind is None or command & fcntl.LOCK_NB)
        current = self.kernel.current
        if kind and files.conflict(what.node, current, start, end, kind):
            raise error(errno.EAGAIN)
        files.set_record_lock(what.node, current, start, end, kind)

    def flock(self, fd: int, command: int) -> None:
        what = self.kernel.what(fd)
        kind = None if command & fcntl.LOCK_UN else SHARED if command & fcntl.LOCK_SH else EXCLUSIVE
        self.kernel.point("flock", kind)
        assert isinstance(what, OpenFile) and (kind is None or command & fcntl.LOCK_NB)
        if not files.try_flock(what.node, what, kind):
            raise error(errno.EAGAIN)

    def fcntl(self, fd: int, command: int, argument: Any = 0) -> Any:
        what = self.kernel.what(fd)
        if command == fcntl.F_DUPFD:
            return self.kernel.install(what, cloexec=False, low=argument)
        if command == fcntl.F_SETPIPE_SZ:
            return argument
        if command in (fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK):
            self.kernel.point("ofd lock", command)
            return self._lock_of_open_file(what, command, argument)
        if command == fcntl.F_GETLK:
            self.kernel.point("getlk")
            return self._who_locks(what, argument)
        raise error(errno.EINVAL)

    def _lock_of_open_file(self, what: Any, command: int, asked: bytes) -> bytes:
        """Of the whole file, and exclusive: no other one is used."""
        assert _FLOCK.unpack(asked) == (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        if command == fcntl.F_OFD_SETLK:
            if not files.try_flock(what.node, what, EXCLUSIVE):  # no file is locked in both ways
                raise error(errno.EAGAIN)
            return asked
        is_free = all(who is what for who in what.node.flocks)
        return _FLOCK.pack(
            fcntl.F_UNLCK if is_free else fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0 if is_free else -1
        )

    def _who_locks(self, what: Any, asked: bytes) -> bytes:
        kind, whence, start, length, _ = _FLOCK.unpack(asked)
        wanted = SHARED if kind == fcntl.F_RDLCK else EXCLUSIVE
        end = start + length if length else FOREVER
        lock = files.conflict(what.node, self.kernel.current, start, end, wanted)
        if lock is None:
            return _FLOCK.pack(fcntl.F_UNLCK, whence, start, length, 0)
        held = fcntl.F_RDLCK if lock.kind == SHARED else fcntl.F_WRLCK
        size = 0 if lock.end == FOREVER else lock.end - lock.start
        return _FLOCK.pack(held, whence, lock.start, size, lock.owner.pid)

    def ioctl(self, fd: int, request: int, argument: Any) -> Any:
        what = self.kernel.what(fd)
        if request == _FIONREAD and isinstance(what, PipeEnd):
            self.kernel.point("fionread")
            return len(what.pipe.data).to_bytes(4, "little")
        if request & 0xFFFF == _GET_INFO and isinstance(what, PidFd):
            return self._process_info(what.process, argument)
        raise error(errno.ENOTTY)

    def _process_info(self, process: Process, buffer: bytearray) -> int:
        self.kernel.point("pidfd info")
        if not self.kernel.means.info:
            raise error(errno.ENOTTY)
        fields = [0] * 16
        if process.is_collected:
            fields[0], fields[13] = _INFO_EXIT, process.status or 0
        buffer[:] = _INFO.pack(*fields)
        return 0


# ---------------------------------------------------------------- select


def _number(thing: Any) -> int:
    return thing if isinstance(thing, int) else thing.fileno()


class _Poll:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._wanted: dict[int, int] = {}

    def register(self, thing: Any, events: int = select.POLLIN) -> None:
        self._wanted[_number(thing)] = events

    def unregister(self, thing: Any) -> None:
        del self._wanted[_number(thing)]

    def poll(self, timeout_ms: float | None = None) -> list[tuple[int, int]]:
        kernel = self._kernel
        kernel.point("poll", *self._wanted)
        fds = kernel.current.fds
        if timeout_ms == 0:
            return self._ready(fds)
        deadline = None if timeout_ms is None or timeout_ms < 0 else kernel.now_ns + int(timeout_ms * 1e6)
        return kernel.wait(lambda: self._ready(fds), deadline) or []  # type: ignore[return-value]

    def _ready(self, fds: dict[int, tuple[Description, bool]]) -> list[tuple[int, int]]:
        found = []
        for fd, wanted in self._wanted.items():
            entry = fds.get(fd)
            mask = entry[0].mask() & (wanted | 8 | 16) if entry else 32
            if mask:
                found.append((fd, mask))
        return found


class _Epoll:
    """Its object is shared by a fork, its descriptor is each process's own."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._fd = kernel.install(EpollSet())

    def _set(self) -> EpollSet:
        what = self._kernel.what(self._fd)
        if not isinstance(what, EpollSet):
            raise error(errno.EBADF)
        return what

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        entry = self._kernel.current.fds.get(self._fd)
        if entry and isinstance(entry[0], EpollSet):
            self._kernel.close(self._kernel.current, self._fd)

    def register(self, fd: int, events: int) -> None:
        key = (fd, self._kernel.what(fd))
        watched = self._set().watched
        if key in watched:
            raise error(errno.EEXIST)
        watched[key] = events

    def modify(self, fd: int, events: int) -> None:
        key = (fd, self._kernel.what(fd))
        watched = self._set().watched
        if key not in watched:
            raise error(errno.ENOENT)
        watched[key] = events

    def unregister(self, fd: int) -> None:
        key = (fd, self._kernel.what(fd))
        if self._set().watched.pop(key, None) is None:
            raise error(errno.ENOENT)

    def poll(self, timeout_s: float = -1) -> list[tuple[int, int]]:
        kernel = self._kernel
        kernel.point("epoll")
        what = self._set()
        if timeout_s == 0:
            return what.ready()
        deadline = None if timeout_s < 0 else kernel.now_ns + int(timeout_s * 1e9)
        return kernel.wait(what.ready, deadline) or []  # type: ignore[return-value]


class VirtualSelect:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        pass_constants(self, select)

    def poll(self) -> _Poll:
        return _Poll(self.kernel)

    def epoll(self) -> _Epoll:
        failed = self.kernel.point("epoll_create")
        if isinstance(failed, int):
            raise error(failed)
        return _Epoll(self.kernel)


# ---------------------------------------------------------------- signal


class VirtualSignal:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        pass_constants(self, signal)
        self.valid_signals = signal.valid_signals

    def signal(self, number: int, handler: Any) -> Any:
        process = self.kernel.current
        before = process.handlers.get(number, signal.SIG_DFL)
        process.handlers[number] = handler
        return before

    def getsignal(self, number: int) -> Any:
        return self.kernel.current.handlers.get(number, signal.SIG_DFL)

    def set_wakeup_fd(self, fd: int, *, warn_on_full_buffer: bool = True) -> int:
        process = self.kernel.current
        before, process.wakeup_fd = process.wakeup_fd, fd
        return before

    @replayed
    def pthread_sigmask(self, how: int, numbers: Any) -> set[int]:
        process = self.kernel.current
        before, given = set(process.mask), {int(number) for number in numbers} - {9, 19}
        if how == signal.SIG_BLOCK:
            process.mask |= given
        elif how == signal.SIG_UNBLOCK:
            process.mask -= given
        else:
            process.mask = given
        self.kernel.deliver_pending(process)
        self.kernel.point("sigmask")
        return before

    def pidfd_send_signal(self, pidfd: int, number: int, _info: None = None, flags: int = 0) -> None:
        self.kernel.point("pidfd_send_signal", int(number), flags)
        what = self.kernel.what(pidfd)
        if not isinstance(what, PidFd):
            raise error(errno.EBADF)
        if flags & _GROUP:
            self._send_group(what.process, number)
        else:
            self.kernel.send(self.kernel.current, what.process, int(number))

    def _send_group(self, leader: Process, number: int) -> None:
        if not self.kernel.means.group_signal:
            raise error(errno.EINVAL)
        members = [one for one in self.kernel.processes.values() if (one.leader or one) is leader]
        if not members:
            raise error(errno.ESRCH)
        for member in members:
            self.kernel.send(self.kernel.current, member, int(number))


# ---------------------------------------------------------------- time and the rest


class VirtualTime:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.strftime, self.gmtime = time.strftime, time.gmtime

    def monotonic_ns(self) -> int:
        return self.kernel.now_ns

    def time_ns(self) -> int:
        return 1_700_000_000_000_000_000 + self.kernel.now_ns

    def sleep(self, seconds: float) -> None:
        self.kernel.point("sleep")
        self.kernel.wait(lambda: False, self.kernel.now_ns + int(seconds * 1e9))


class VirtualGc:
    """One interpreter runs all processes: none of them may steer its collector."""

    def collect(self) -> int:
        return 0

    freeze = enable = disable = collect


class VirtualResource:
    def __init__(self) -> None:
        pass_constants(self, resource)

    def getrlimit(self, _kind: int) -> tuple[int, int]:
        return 1024, 4096

    def setrlimit(self, _kind: int, _limits: tuple[int, int]) -> None:
        return None


class VirtualCtypes:
    """`ctypes` itself is only memory; what a library call left as its errno is the kernel's to say."""

    def __init__(self, libc: "VirtualLibc") -> None:
        self._libc = libc
        for name in ("Structure", "byref", "c_int", "c_uint", "c_ubyte", "c_long"):
            setattr(self, name, getattr(ctypes, name))

    def get_errno(self) -> int:
        return self._libc.errno

    def CDLL(self, _name: None, *, use_errno: bool) -> "VirtualLibc":  # noqa: N802
        return self._libc


class VirtualLibc:
    """The four calls that Python has no name for."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.errno = 0

    def name_to_handle_at(self, pidfd: int, _path: bytes, handle: Any, _mount: Any, _flags: int) -> int:
        what = self.kernel.what(pidfd)
        if not isinstance(what, PidFd) or not what.process.handle:
            self.errno = errno.EOPNOTSUPP
            return -1
        into, data = handle._obj, what.process.handle
        into.bytes, into.type = len(data), 0xF1
        into.handle[: len(data)] = list(data)
        return 0

    def open_by_handle_at(self, _fd: int, handle: Any, _flags: int) -> int:
        self.kernel.point("open_by_handle")
        wanted = bytes(handle._obj.handle[: handle._obj.bytes])
        for process in self.kernel.processes.values():
            if process.handle == wanted:
                return self.kernel.install(PidFd(process=process))
        self.errno = errno.ESTALE
        return -1

    def prctl(self, option: int, value: int, *_: int) -> int:
        if option == 36:
            self.kernel.current.is_subreaper = bool(value)
        return 0

    def statfs(self, _path: bytes, buffer: Any) -> int:
        buffer._obj[0] = 0x01021994
        return 0
