"""The state lock: one POSIX record lock, held for microseconds, that no stopped holder can keep.

Why a record lock: it is not inherited by a fork (R05), the kernel frees it at its holder's death even
while forked children live, and F_GETLK names the living holder. It lies on the state file itself, far
behind its end: a lock file of its own could be deleted, and then there would be two locks. Any `close`
of any descriptor of the file drops it: so a process that takes it has the file open once.

LOCK_BYTE is the lock. LOCK_BYTE + PID is the *member* byte: whoever may take the lock holds the member
byte of its own PID first and for life. So the kernel itself vouches that the holder of the lock is one
of the pair's own, and a waiter may end it when it stands still with the lock held (R06).
"""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable

from twinwatch.core.hints import Self
from twinwatch.linux import process
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import stat_fields

_FLOCK = struct.Struct("hhqqi4x")  # type, whence, start, length, pid
ELSEWHERE = -1
LOCK_BYTE = 1 << 62
_FIRST_PAUSE_NS = 20_000
_LAST_PAUSE_NS = 5_000_000
_PATIENCE = 3
_BUSY = frozenset({errno.EAGAIN, errno.EACCES})


class LockWedged(Exception):
    """The lock was not to be had in time: its holder neither moves nor dies."""

    def __init__(self, pid: int, state: str) -> None:
        super().__init__(f"state lock held by PID {pid} in state {state or '?'}")
        self.pid = pid
        self.state = state


class StateLock:
    """Use as a context manager. `fd`: of the state file; `timeout_ns`: how long a holder may stand still."""

    def __init__(self, fd: int, timeout_ns: int) -> None:
        self._fd = fd
        self._member_pid = 0
        self.timeout_ns = timeout_ns
        self.on_wait: Callable[[], None] = _nothing

    def __enter__(self) -> Self:
        if self._member_pid != os.getpid():
            self._join()
        if not self._try(LOCK_BYTE):
            self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, LOCK_BYTE)

    def _join(self) -> None:
        if not self._try(LOCK_BYTE + os.getpid()):
            raise LockWedged(self.holder(LOCK_BYTE + os.getpid()), "member byte taken")
        self._member_pid = os.getpid()

    def _try(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)  # R05
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True

    def holder(self, byte: int = LOCK_BYTE) -> int:
        """PID of who holds a byte, 0 for nobody (or for somebody in a PID namespace out of sight)."""
        return max(holder_of(self._fd, byte, 1), 0)

    def _wait(self) -> None:
        """Wait; end a holder that stands still for `timeout_ns` of this waiter's own on-time waiting.

        Only time in which this process was itself on time counts (P9): each pause counts as at most
        twice what it was meant to last. A holder that wants to run and gets no CPU does not stand still.

        Raises:
            LockWedged: the lock was not to be had in `_PATIENCE` times `timeout_ns`.
        """
        pause_ns, still_ns, waited_ns = _FIRST_PAUSE_NS, 0, 0
        seen: tuple[int, bytes] | None = None
        while True:
            before = monotonic_ns()
            time.sleep(pause_ns / 1e9)
            if self._try(LOCK_BYTE):
                return
            on_time = min(monotonic_ns() - before, 2 * pause_ns)
            pid = self.holder()
            state = _state(pid)
            now_seen = (pid, _progress(pid))
            still_ns = still_ns + on_time if pid and now_seen == seen and state != "R" else 0
            seen = now_seen
            waited_ns += on_time
            if still_ns >= self.timeout_ns:  # R06
                self._end_holder(pid)
                still_ns = 0
            if waited_ns >= _PATIENCE * self.timeout_ns:
                raise LockWedged(pid, state)
            self.on_wait()
            pause_ns = min(pause_ns * 3 // 2, _LAST_PAUSE_NS)

    def _end_holder(self, pid: int) -> None:
        """KILL the holder if it still holds the lock and is a member: never a stranger (P6)."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.EINVAL):
                return
            raise
        try:
            if self.holder() == pid and self.holder(LOCK_BYTE + pid) == pid:
                process.send(pidfd, 9)
        finally:
            os.close(pidfd)


def exclusive(start: int = 0, length: int = 0) -> bytes:
    """What `fcntl` takes for an exclusive lock of a range (by default: of the whole file)."""
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)


def holder_of(fd: int, start: int = 0, length: int = 0, *, command: int = fcntl.F_GETLK) -> int:
    """PID of who holds a record lock in this range of a file (by default: anywhere), 0 for nobody.

    ELSEWHERE: somebody in a PID namespace out of sight, or an open file (F_OFD_GETLK), which is nobody's
    alone. A lock of the calling process is not seen.
    """
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, command, exclusive(start, length)))
    if kind == fcntl.F_UNLCK:
        return 0
    return pid if pid > 0 else ELSEWHERE


def holder_at(path: str, command: int = fcntl.F_GETLK) -> int:
    """The same of the file at a path; 0 where there is none. Drops a lock of the calling process on it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    try:
        return holder_of(fd, command=command)
    finally:
        os.close(fd)


def _state(pid: int) -> str:
    fields = stat_fields(pid)
    return fields[0].decode() if fields else ""


def _progress(pid: int) -> bytes:
    """Something that changes whenever the process runs; empty where `/proc` does not show it."""
    for name in ("schedstat", "stat"):
        try:
            with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return b""


def _nothing() -> None:
    return
