"""A watchdog device (`/dev/watchdog`): the machine is reset where nobody feeds it.

It is armed by the first feeding and disarmed by the magic close: `V` before the last close. An anchor that is
killed leaves it armed; its successor goes on with the feeding, so the device's own timeout has to be longer
than a start of the anchor takes.

Source: Documentation/watchdog/watchdog-api.rst of the Linux kernel.
"""

import errno
import os

_BUSY = frozenset({errno.EBUSY, errno.EAGAIN})


class Device:
    """Opened at the first feeding. It may be the predecessor's still: then the next feeding tries again."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self.trouble = ""

    def feed(self) -> None:
        try:
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            os.write(self._fd, b"\0")
            self.trouble = ""
        except OSError as error:  # any errno: told, and tried again
            self.trouble = error.strerror or str(error)
            if error.errno not in _BUSY:
                self._close()

    def disarm(self) -> None:
        """The orderly end: no reset follows."""
        if self._fd < 0:
            return
        try:
            os.write(self._fd, b"V")
        except OSError as error:  # any errno: told
            self.trouble = error.strerror or str(error)
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
