"""A command that the anchor runs as a child, for what takes long: `reload`, `down`.

The anchor's loop goes on meanwhile; its reaper tells how the command ended.
"""

import os
import signal
import sys

_NOT_PASSED = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"})


def twinwatch(*words: str) -> list[str]:
    """A command of this program, run by this interpreter."""
    return [sys.executable, "-P", "-m", "twinwatch", *words]


class Errand:
    """Started when it is made. Its input is empty, its output is the anchor's.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(self, argv: list[str]) -> None:
        environ = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED}
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.pid = os.posix_spawnp(
                argv[0],
                argv,
                environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, 2, 1)],
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
        finally:
            os.close(null)

    def kill(self) -> None:
        """It is a child that nobody has collected yet: the PID is its own."""
        pidfd = os.pidfd_open(self.pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)
