"""There is one anchor of a pair at most: it holds a record lock in the state directory for life."""

import errno
import fcntl
import os

from twinwatch.linux.lock import ELSEWHERE, holder_at, holder_of
from twinwatch.linux.paths import Paths


class Taken(Exception):
    """Another anchor holds the lock."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"PID {pid}" if pid != ELSEWHERE else "in another PID namespace")
        self.pid = pid


def hold(paths: Paths) -> int:
    """Take the lock and keep it: the descriptor, never to be closed.

    Raises:
        Taken: another process has it.
    """
    fd = os.open(paths.anchor_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        pid = holder_of(fd)
        os.close(fd)
        raise Taken(pid) from None
    return fd


def holder(paths: Paths) -> int:
    """PID of the living anchor, 0 while there is none, ELSEWHERE if it is in another PID namespace.

    The kernel vouches for it: the lock goes with its holder. Not to be asked by the anchor itself.
    """
    return holder_at(paths.anchor_lock)
