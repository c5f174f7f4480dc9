"""Whether a SIGKILL was the kernel's, for want of memory.

`oom_kill` in `/proc/vmstat` counts every process that the kernel killed, in memory cgroups too. A worker
that died of a KILL that twinwatch did not send, in a moment in which the counter grew, is put down as
out of memory. Two kills in one moment, one of them by hand, cannot be told apart.
"""

import errno
import os

_KEY = b"\noom_kill "
_SIZE = 1 << 15


class OomCounter:
    """Remembers the count of the last look."""

    def __init__(self) -> None:
        self._seen = _count()

    def look(self) -> bool:
        """Whether the kernel has killed for want of memory since the last look."""
        before, self._seen = self._seen, _count()
        return self._seen > before


def _count() -> int:
    """0 where the kernel does not say (before Linux 4.13)."""
    try:
        fd = os.open("/proc/vmstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EMFILE, errno.ENFILE):
            return 0
        raise
    try:
        _, found, rest = os.read(fd, _SIZE).partition(_KEY)
    finally:
        os.close(fd)
    return int(rest.split(b"\n", 1)[0]) if found else 0
