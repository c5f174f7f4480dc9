"""A command that the anchor runs as a child, for what takes long: `reload`, `down`, a question to systemd.

The anchor's loop goes on meanwhile; its reaper tells how the command ended.
"""

import os
import signal
import sys

_OUTPUT_MAX = 65536
_NOT_PASSED = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"})


def twinwatch(*words: str) -> list[str]:
    """A command of this program, run by this interpreter."""
    return [sys.executable, "-P", "-m", "twinwatch", *words]


class Errand:
    """Started when it is made. Its input is empty, its output is the anchor's unless it is `asked` for.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(self, argv: list[str], *, asked: bool = False) -> None:
        self._output = -1
        null, write = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), 2
        if asked:
            self._output, write = os.pipe2(os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, write, 1)]
        environ = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED}
        try:
            self.pid = os.posix_spawnp(
                argv[0],
                argv,
                environ,
                file_actions=actions,
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
        except OSError:  # any errno: passed on
            if asked:
                os.close(self._output)
            raise
        finally:
            os.close(null)
            if asked:
                os.close(write)

    def take_output(self) -> str:
        """What it has printed. Call it once, when it has ended."""
        if self._output < 0:
            return ""
        try:
            return os.read(self._output, _OUTPUT_MAX).decode("utf-8", "replace")
        finally:
            os.close(self._output)
            self._output = -1

    def kill(self) -> None:
        """It is a child that nobody has collected yet: the PID is its own."""
        pidfd = os.pidfd_open(self.pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)
