"""A hook that is run and waited for by a gated child, before it becomes its worker's program.

The hook has a process group of its own in the child's session, and holds the slot's token like all that a
generation starts. When its time is over the group is ended; when the child is killed, what it left is ended
with it.
"""

import errno
import os
import signal
from collections.abc import Mapping

from twinwatch.core.timing import MILLISECOND_NS
from twinwatch.core.values import HOOK_EXIT
from twinwatch.linux import process, program
from twinwatch.linux.gate import IGNORED_SIGNALS


class HookFailed(Exception):
    """`number`: ETIMEDOUT, or HOOK_EXIT + its exit code (128 + the signal that ended it)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the hook ended with {number}")
        self.number = number


def run(command: tuple[str, ...], environ: Mapping[str, str], timeout_ns: int) -> None:
    """Run a command to its end.

    Raises:
        HookFailed: it did not end with 0 in time.
        OSError: it cannot be executed.
    """
    pidfd = os.pidfd_open(_spawn(command, environ))
    try:
        in_time = process.wait_dead(pidfd, timeout_ns // MILLISECOND_NS)
        if not in_time:
            if process.send_group(pidfd, signal.SIGKILL) is None:
                process.send(pidfd, signal.SIGKILL)
            process.wait_dead(pidfd, None)
        status = process.child_status(pidfd, reap=True)
    finally:
        os.close(pidfd)
    if not in_time:
        raise HookFailed(errno.ETIMEDOUT)
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise HookFailed(HOOK_EXIT + (code if code >= 0 else 128 - code))


def _spawn(command: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """Its program is searched where the worker's is: on the PATH that both get."""

    def spawn(path: str) -> int:
        return os.posix_spawn(path, command, environ, setpgroup=0, setsigdef=IGNORED_SIGNALS)

    return program.start(command[0], environ, spawn)
