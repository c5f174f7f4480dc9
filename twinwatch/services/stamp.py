"""Puts the time before each line that a worker prints: `python stamp.py [LOG]`, the lines on standard input.

Standard input is a FIFO that the worker holds open for reading, too: so neither the end of this process nor
a pause of it is a SIGPIPE. The worker waits only while the pipe is full. All lines of one read get one time
and are appended with one write. A line is held until its end comes, at most LINE_MAX of it.

Told to end (SIGTERM), it takes what is in the pipe first. Killed, it loses what it had read and not written
yet. A full disk costs lines, which are counted, and never makes the worker wait.
"""

import os
import select
import signal
import sys

READ = 1 << 16
LINE_MAX = 1 << 20
DRAIN_MAX = 1 << 20  # all that the pipe can hold
_LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Stamper:
    """What was read goes in, what is to be appended comes out."""

    def __init__(self) -> None:
        self._held: list[bytes] = []  # of a line that has no end yet
        self._size = 0
        self._is_begun = False  # a part of it is in the log already

    def take(self, data: bytes, now: str) -> bytes:
        *complete, rest = data.split(b"\n")
        stamp = now.encode() + b" "
        lines = []
        for line in complete:
            lines.append(self._stamp(stamp) + self._release() + line + b"\n")
            self._is_begun = False
        self._held.append(rest)
        self._size += len(rest)
        if self._size >= LINE_MAX:
            lines.append(self._stamp(stamp) + self._release())
            self._is_begun = True
        return b"".join(lines)

    def end(self, now: str) -> bytes:
        """What is held, as a line of its own."""
        if not self._size:
            return b"\n" if self._is_begun else b""
        return self._stamp(now.encode() + b" ") + self._release() + b"\n"

    def _stamp(self, stamp: bytes) -> bytes:
        return b"" if self._is_begun else stamp

    def _release(self) -> bytes:
        held = b"".join(self._held)
        self._held.clear()
        self._size = 0
        return held


class Output:
    """The log. What cannot be written is counted, and told when it can be again."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lost = 0

    def write(self, data: bytes, now: str) -> None:
        if self._lost:
            note = b"%s twinwatch: %d bytes could not be written\n" % (now.encode(), self._lost)
            if self._append(note) < len(note):
                self._lost += len(data)
                return
            self._lost = 0
        self._lost += len(data) - self._append(data)

    def _append(self, data: bytes) -> int:
        """How many bytes were written."""
        done = 0
        while done < len(data):
            try:
                done += os.write(self._fd, memoryview(data)[done:])
            except OSError:  # any errno: the worker must not wait for a disk
                break
        return done


def serve(source: int, output: Output, wake: int, is_ending: "list[bool]") -> None:
    """Until `is_ending` has an entry and nothing is left to read, or until the end of a pipe."""
    stamper = Stamper()
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(wake, select.POLLIN)
    drained = 0
    while drained < DRAIN_MAX:
        ready = dict(poll.poll(0 if is_ending else None))
        if source in ready:
            data = os.read(source, READ)
            if not data:
                break
            now = wall_text()
            output.write(stamper.take(data, now), now)
            drained += len(data) if is_ending else 0
        elif is_ending:
            break
    now = wall_text()
    output.write(stamper.end(now), now)


def main(arguments: list[str]) -> None:
    is_ending: list[bool] = []
    wake, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda _number, _frame: is_ending.append(True))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # the pair's own wake-up: nothing to look at here
    log = os.open(arguments[0], _LOG_FLAGS, 0o640) if arguments else 1
    serve(0, Output(log), wake, is_ending)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(os.path.dirname(here)), *(path for path in sys.path if path != here)]

from twinwatch.linux.clock import wall_text  # noqa: E402 - a program and a module

if __name__ == "__main__":
    main(sys.argv[1:])
