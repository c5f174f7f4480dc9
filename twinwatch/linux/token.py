"""A worker instance's token: a lock that each of its processes inherits, and that can be asked for untouched.

An *open file description* lock (F_OFD_SETLK, Linux 3.15) belongs to the open file, so whoever inherits the
descriptor keeps it, as with `flock`. Unlike `flock` it can be asked for without being taken: a guard that
probed by taking it for a moment, and was stopped in that moment, kept every newborn out (R31).
"""

import errno
import fcntl
import os
import time

from twinwatch.linux.lock import exclusive, holder_at

_FD_MIN = 64  # out of the way of programs that use 3, 4, 5 …
_TRIES = 50
_PAUSE_S = 0.002
_BUSY = frozenset({errno.EAGAIN, errno.EACCES})


def take(path: str) -> None:
    """Lock the token for this process and all that inherits its descriptor.

    What was told to end may hold it for another moment, so try for one.

    Raises:
        OSError: EBUSY: a process of another generation holds it.
    """
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fd = fcntl.fcntl(opened, fcntl.F_DUPFD, _FD_MIN)
        os.close(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EMFILE):
            raise
        fd = opened
        os.set_inheritable(fd, True)  # noqa: FBT003 - the standard library's own
    for _ in range(_TRIES):
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, exclusive())
        except OSError as error:
            if error.errno not in _BUSY:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
    raise OSError(errno.EBUSY, "token held")


def is_held(path: str) -> bool:
    """Whether a process of some generation still holds the token. Asked, and not tried (R31)."""
    return holder_at(path, fcntl.F_OFD_GETLK) != 0  # R31
