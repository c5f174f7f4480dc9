"""One command at a time changes a pair as a whole; one that is stopped in the middle blocks nobody.

A `filelock` on a file outside both directories of the pair. While it is held, Ctrl-Z waits: the
terminal's stop signal is ignored. A holder that was stopped all the same (`kill -STOP`) is ended after
it was seen stopped for a while: everything that such a command does can be done again (R18).
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from twinwatch.control.errors import ControlError
from twinwatch.linux import process, remains
from twinwatch.linux.identity import stat_fields
from twinwatch.linux.paths import Paths, make_private

_POLL_S = 0.05
_STOPPED_POLLS = 40  # 2 s of this process's own polling
_STOPPED = frozenset({b"T", b"t"})


@contextmanager
def exclusive(paths: Paths, progress: Callable[[str], None], timeout_s: float) -> Iterator[None]:
    """Hold the pair's operator lock.

    Raises:
        ControlError: another command held it for `timeout_s`.
        PathError: the directory for it is not the caller's.
    """
    make_private(paths.state_base, shared=True)
    lock = FileLock(paths.operator_lock, mode=0o600, fallback_to_soft=False)
    _acquire(lock, paths, progress, timeout_s)
    on_stop = signal.getsignal(signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, on_stop)
        lock.release()


def _acquire(lock: FileLock, paths: Paths, progress: Callable[[str], None], timeout_s: float) -> None:
    stopped, said = 0, False
    for _ in range(max(1, int(timeout_s / _POLL_S))):
        try:
            lock.acquire(timeout=_POLL_S, poll_interval=_POLL_S)
        except Timeout:
            holders = _holders(paths.operator_lock)
            still = [pid for pid in holders if (stat_fields(pid) or [b""])[0] in _STOPPED]
            stopped = stopped + 1 if still else 0
            if stopped >= _STOPPED_POLLS:  # R18
                _end_stopped(still, paths.operator_lock)
                stopped = 0
            if holders and not said:
                said = True
                progress(f"another twinwatch command is at work on this pair (PID {holders[0]}): waiting")
        else:
            return
    raise ControlError("another twinwatch command is at work on this pair: try again when it has ended")


def _holders(path: str) -> list[int]:
    """Who holds the lock: by the kernel's list, and only who has the file open (the list may be stale)."""
    with open("/proc/locks", encoding="ascii") as file:
        inode = str(os.stat(path).st_ino)
        listed = {int(fields[4]) for line in file if _is_flock_of(fields := line.split(), inode)}
    return [pid for pid in remains.token_holders(path) if pid in listed]


def _is_flock_of(fields: list[str], inode: str) -> bool:
    """A line is `N: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END`."""
    return fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode


def _end_stopped(pids: list[int], path: str) -> None:
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            still_stopped = (stat_fields(pid) or [b""])[0] in _STOPPED
            if still_stopped and pid in _holders(path):
                process.send(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
