"""Making a worker's heartbeat file: a new one for each generation, in place of the one before.

It is written, not only made long: a hole would need memory at the worker's first beat, and without any
the worker would end with SIGBUS. It is replaced, never cut short: what is left of a former generation and
still has the old one mapped beats on into nothing.
"""

import errno
import os
from contextlib import suppress

from twinwatch.core import beatfile
from twinwatch.linux import draft

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_ROOM = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EEXIST})


def make(path: str, uid: int = -1, gid: int = -1) -> bool:
    """An empty heartbeat file of `uid`. False: there is no room for it; the worker runs as well."""
    made = draft.path_of(path)
    try:
        fd = _create(made)
        try:
            os.write(fd, bytes(beatfile.SIZE))
            if os.geteuid() == 0:
                os.fchown(fd, uid, gid)
        finally:
            os.close(fd)
        os.rename(made, path)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(made)
        return False
    return True


def _create(made: str) -> int:
    try:
        return os.open(made, _FLAGS, 0o600)
    except FileExistsError:  # the draft of a dead process, whose PID this one has
        os.unlink(made)
        return os.open(made, _FLAGS, 0o600)
