"""What a dead leader left: members of its group, and processes that hold its slot's token.

The token is a file of the worker instance, locked by every generation and inherited on
purpose: whoever still has the descriptor keeps the lock. So the kernel itself refuses a second
generation beside a process of the first, even one that left the group with `setsid`, even where the
state file was lost. A program that closes every descriptor escapes this, and only this.
"""

import errno
import os
from collections.abc import Callable, Iterator

from twinwatch.core.values import Identity
from twinwatch.linux import process
from twinwatch.linux.gate import COMM_HOOK
from twinwatch.linux.identity import ProcessGone, open_process, stat_fields
from twinwatch.linux.token import is_held

_GROUP_FIELD = 2  # field 5 of /proc/PID/stat, counted from field 3
_DEAD_STATES = frozenset({b"Z", b"X", b"x"})
_UNEXECUTED = (
    b"twinwatch-rsv",
    b"twinwatch-hook",
    b"twinwatch-a",
    b"twinwatch-b",
    b"twinwatch-ancho",
)  # 15 bytes at most
_VANISHED = frozenset({errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM})


def end_group(leader: Identity, pidfd: int, token: str) -> bool:
    """KILL what is left of the group that a dead, collected leader led. True: something is left.

    `pidfd` is -1 where this guard never had one: then members are found in `/proc`, and each is
    believed only if it also holds the token.
    """
    if pidfd >= 0:
        sent = process.send_group(pidfd, 9)
        if sent is False:
            return False
        if sent is True:
            return any(_living_members(leader.pid))
    return _end_members(leader, token)


def _living_members(group: int) -> Iterator[int]:
    for pid in _pids():
        fields = stat_fields(pid)
        if fields and int(fields[_GROUP_FIELD]) == group and fields[0] not in _DEAD_STATES:
            yield pid


def _end_members(leader: Identity, token: str) -> bool:
    try:
        os.close(open_process(leader))
    except ProcessGone:
        if stat_fields(leader.pid):
            return False  # the PID is somebody else's now: so the old group is empty
    found = False
    for pid in _living_members(leader.pid):
        found |= _end_holder(pid, token, lambda: True)
    return found


def end_token_holders(token: str, is_still_so: Callable[[], bool]) -> int:
    """KILL every process that has the token open; how many there were.

    `is_still_so` is asked when a holder is found and before it is signalled: a generation is recorded
    before it takes the token, so a slot that has not moved has no newer holder (R20).
    """
    return sum(_end_holder(pid, token, is_still_so) for pid in token_holders(token))


def end_if_held(token: str) -> bool:
    """KILL whoever holds a token that nobody has a right to any more. False: nobody does."""
    if not is_held(token):
        return False
    end_token_holders(token, lambda: True)
    return True


def token_holders(token: str) -> list[int]:
    return [pid for pid in _pids() if pid != os.getpid() and holds(pid, token)]


def _end_holder(pid: int, token: str, is_still_so: Callable[[], bool]) -> bool:
    """The pidfd is opened first, then the proof is looked at: so the proof is this process's (P6)."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return False
        raise
    try:
        return holds(pid, token) and is_still_so() and process.send(pidfd, 9)
    finally:
        os.close(pidfd)


def holds(pid: int, path: str) -> bool:
    """Whether a process has a file open, as far as this one may see."""
    try:
        return any(_link(f"/proc/{pid}/fd/{fd}") == path for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError as error:
        if error.errno in _VANISHED:
            return False
        raise


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno in _VANISHED:
            return ""
        raise


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def has_program(pid: int, generation_variable: bytes) -> bool:
    """Whether the process executed its worker's program: then its environment names its generation.

    Some programs hide that (`env -i`, a title written over it), and a set-user-ID one may not be read: but
    to execute is also to lose the name that a forked child has from its parent.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            if generation_variable in file.read():
                return True
    except (PermissionError, ProcessLookupError, FileNotFoundError) as error:
        return isinstance(error, PermissionError)
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in _DEAD_STATES and _comm(pid) not in (b"", *_UNEXECUTED)


def is_in_hook(pid: int) -> bool:
    """Whether a gated child was let through and waits for its `before_start` hook."""
    return _comm(pid) == COMM_HOOK.encode()


def _comm(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
            return file.read().rstrip(b"\n")
    except (ProcessLookupError, FileNotFoundError):
        return b""
