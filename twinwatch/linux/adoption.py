"""Which process a daemonising worker left as its main one, and whether that is to be believed.

A PID that somebody names (MAINPID, a PID file) proves nothing. The process is believed if it holds the slot's
token, which every process of a generation inherits, or is in the session of who named it.
"""

import os

from twinwatch.core.values import Identity
from twinwatch.linux import remains
from twinwatch.linux.identity import ProcessGone, identify, is_dead, open_pid, stat_fields

_SESSION_FIELD = 3  # field 6 of /proc/PID/stat, counted from field 3
_PID_FILE_MAX = 32


def main_process(pid: int, token: str, session: int = 0) -> Identity | None:
    """The identity of a worker's new main process; None: it is gone, or not of this worker."""
    try:
        pidfd = open_pid(pid)
    except ProcessGone:
        return None
    try:
        identity = identify(pid, pidfd)
        fields = stat_fields(pid)
        is_kin = bool(session and fields and int(fields[_SESSION_FIELD]) == session)
        believed = is_kin or remains.holds(pid, token)
        return identity if believed and not is_dead(pidfd) else None
    finally:
        os.close(pidfd)


def read_pid_file(path: str) -> int:
    """The PID that a file names; 0: it names none (yet)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # any errno: what cannot be read names nobody
        return 0
    try:
        words = os.read(fd, _PID_FILE_MAX).split()
    except OSError:  # any errno: likewise
        return 0
    finally:
        os.close(fd)
    return int(words[0]) if words and words[0].isdigit() else 0
