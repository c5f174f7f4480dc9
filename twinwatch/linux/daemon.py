"""What a process must not have of whoever started it: a terminal, a directory, an output of somebody's."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_CHILD_SUBREAPER = 36


def detach(log: str) -> None:
    """Input from nowhere, output to nowhere, errors to `log`; in `/`, with the usual umask."""
    os.chdir("/")
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(errors, 2)
    os.close(null)
    os.close(errors)


def become_subreaper() -> None:
    """Orphans among its descendants become children of this process, not of init. No fork inherits that.

    Raises:
        OSError: the kernel refuses (it never does since Linux 3.4).
    """
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "PR_SET_CHILD_SUBREAPER")
