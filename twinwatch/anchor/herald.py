"""What the anchor tells its init: by sd_notify where there is a socket, by a newline on a descriptor.

Theory: `Type=notify` of systemd; notification-fd of s6, pipefd of dinit. READY is said once, WATCHDOG only
while it is true, and a status only when it has changed.
"""

import os
from contextlib import suppress

from twinwatch.client.notify import notify
from twinwatch.core.timing import MICROSECOND_NS

_EXTEND_NS_MIN = 5_000_000_000


class Herald:
    """`ready_fd`: gets one newline, and is closed; -1: none."""

    def __init__(self, ready_fd: int) -> None:
        self._ready_fd = ready_fd
        self._status = ""
        self._is_ready = False

    @staticmethod
    def period_ns() -> int:
        """How often WATCHDOG=1 is expected, halved; 0: not at all."""
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return 0
        limit = os.environ.get("WATCHDOG_USEC", "")
        return int(limit) * MICROSECOND_NS // 2 if limit.isdecimal() else 0

    def ready(self) -> None:
        """Said once; what init had no room for is said again."""
        if self._ready_fd >= 0:
            with suppress(OSError):  # any errno: nobody reads, or it was never open
                os.write(self._ready_fd, b"\n")
                os.close(self._ready_fd)
            self._ready_fd = -1
        self._is_ready = self._is_ready or _say("READY=1")

    def status(self, text: str) -> None:
        if text != self._status and _say(f"STATUS={text}"):
            self._status = text

    def reloading(self, now_ns: int) -> None:
        _say("RELOADING=1", f"MONOTONIC_USEC={now_ns // MICROSECOND_NS}")
        self._is_ready = False

    def stopping(self) -> None:
        _say("STOPPING=1")

    def extend(self, ns: int) -> None:
        """Ask for so much more time from now on."""
        _say(f"EXTEND_TIMEOUT_USEC={max(ns, _EXTEND_NS_MIN) // MICROSECOND_NS}")

    def fresh(self) -> None:
        _say("WATCHDOG=1")


def _say(*lines: str) -> bool:
    """Without waiting: an init that does not read must not make the guard late."""
    return notify(*lines, wait_s=0)
