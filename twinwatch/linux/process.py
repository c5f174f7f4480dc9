"""Signals and exit statuses, through pidfds alone.

A signal goes to a process whose pidfd is open and checked, or to the group that it leads; never to
a PID, never to 0 or -1. Death is a readable pidfd; an exit status is a further thing, which may be
lost (`None`), and is looked for in three places: the parent's `waitid`, `/proc/PID/stat` while the
process is a zombie, `PIDFD_GET_INFO` after it was reaped (Linux 6.15).
"""

import errno
import fcntl
import os
import select
import signal
import struct

from twinwatch.core.values import Identity
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, open_process, stat_fields

_PROCESS_GROUP = 1 << 2  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
_INFO = struct.Struct("=QQ11Ii2I")  # struct pidfd_info, 72 bytes
_INFO_EXIT = 1 << 3
_PIDFD_GET_INFO = 0xC000_FF0B | (_INFO.size << 16)
_START_FIELD = 19  # field 22 of /proc/PID/stat, counted from field 3
_EXIT_FIELD = 49  # field 52


def send(pidfd: int, number: int) -> bool:
    """Signal one process. False: it is gone.

    Raises:
        PermissionError: it runs as somebody whom this process may not signal.
    """
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def send_group(pidfd: int, number: int) -> bool | None:
    """Signal the group that the process leads (or led). False: the group is empty.

    None: this kernel has no group signal through a pidfd (before Linux 6.9).
    """
    try:
        signal.pidfd_send_signal(pidfd, number, None, _PROCESS_GROUP)
    except ProcessLookupError:
        return False
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS):
            return None
        raise
    return True


def child_status(pidfd: int, *, reap: bool) -> int | None:
    """Raw wait status of a dead child; it stays a zombie unless `reap`.

    None: not dead, or not a child of this process.
    """
    options = os.WEXITED | os.WNOHANG | (0 if reap else os.WNOWAIT)
    try:
        result = os.waitid(os.P_PIDFD, pidfd, options)
    except ChildProcessError:
        return None
    if result is None:
        return None
    return raw_status(result.si_code, result.si_status)


def raw_status(code: int, value: int) -> int:
    """A wait status as `waitpid` gives it, from what `waitid` gives."""
    if code == os.CLD_EXITED:
        return value << 8
    return value | (0x80 if code == os.CLD_DUMPED else 0)


def reap(pidfd: int) -> None:
    """Collect a dead child, if it is one of this process."""
    child_status(pidfd, reap=True)


def stranger_status(pidfd: int, identity: Identity) -> int | None:
    """Raw wait status of a dead process that is not a child of this one. None: not to be had (yet)."""
    fields = stat_fields(identity.pid)
    if fields and fields[0] == b"Z" and int(fields[_START_FIELD]) == identity.start_ticks:
        status = int(fields[_EXIT_FIELD])
        if status or _may_read(identity.pid):
            return status
    return _info_status(pidfd)


def _may_read(pid: int) -> bool:
    """Whether a 0 in the exit field is the status: `/proc` shows 0 to those who may not look."""
    try:
        return os.geteuid() in (0, os.stat(f"/proc/{pid}").st_uid)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return False
        raise


def _info_status(pidfd: int) -> int | None:
    buffer = bytearray(_INFO.pack(_INFO_EXIT, *[0] * 15))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ESRCH, errno.ENOSYS, errno.EREMOTE):
            return None
        raise
    fields = _INFO.unpack(buffer)
    return fields[13] if fields[0] & _INFO_EXIT else None


def wait_dead(pidfd: int, timeout_ms: int | None) -> bool:
    """Wait until the process is dead. False: the time is over."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_ms))


def end(identity: Identity, number: int = signal.SIGKILL) -> bool:
    """Signal a recorded process after its identity was checked. False: nothing to signal."""
    try:
        pidfd = open_process(identity)
    except (ProcessGone, IdentityUnknown):
        return False
    try:
        return send(pidfd, number)
    finally:
        os.close(pidfd)


def pause(milliseconds: int) -> None:
    """Sleep, where there is nothing that could be waited for."""
    select.poll().poll(milliseconds)
