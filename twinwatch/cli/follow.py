"""Reading lines of a file that others append to, across rotation and truncation.

Rotation: the file is renamed to `.1` (`.1` to `.2` …) and a new one gets its name. It is seen by the
inode. The renamed file is read on, for a writer may still have it open; and files that came and went
between two steps are found among the renamed ones. A step is a function of the files, not of time.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 1 << 16
LINE_MAX = 1 << 20  # a longer line is cut in pieces
_KEPT_OPEN = 2  # the file of that name, and the one before it


@dataclass(slots=True)
class _Tail:
    """One open file, and how far it was read."""

    fd: int
    position: int = 0
    rest: bytes = b""  # the beginning of a line that has no end yet

    @property
    def key(self) -> tuple[int, int]:
        status = os.fstat(self.fd)
        return status.st_dev, status.st_ino

    def lines(self) -> Iterator[bytes]:
        """Lines that have become complete, without their newline."""
        if os.fstat(self.fd).st_size < self.position:  # it was cut short: it begins anew
            self.position, self.rest = 0, b""
        while data := os.pread(self.fd, BLOCK, self.position):
            self.position += len(data)
            *complete, self.rest = (self.rest + data).split(b"\n")
            yield from complete
            if len(self.rest) > LINE_MAX:
                yield self.rest
                self.rest = b""


class Follower:
    """Reads `path`, at first with its `backups` renamed predecessors, oldest first.

    `last`: of the file that is there at the beginning only that many lines; None: all.
    """

    def __init__(self, path: str, *, backups: int = 0, last: int | None = None) -> None:
        self._names = [path, *(f"{path}.{number}" for number in range(1, backups + 1))]
        self._tails: list[_Tail] = []
        self._open_newer()
        if last is not None and self._tails:
            self._tails[-1].position = start_of_last(self._tails[-1].fd, last)

    @property
    def is_open(self) -> bool:
        """Whether there is a file at all."""
        return bool(self._tails)

    def step(self) -> Iterator[bytes]:
        """Lines that were completed since the last step. To be read to its end."""
        self._open_newer()
        for tail in self._tails:
            yield from tail.lines()
        for tail in self._tails[:-_KEPT_OPEN]:
            os.close(tail.fd)
        del self._tails[:-_KEPT_OPEN]

    def rest(self) -> bytes:
        """What stands behind the last newline."""
        return self._tails[-1].rest if self._tails else b""

    def close(self) -> None:
        for tail in self._tails:
            os.close(tail.fd)
        self._tails.clear()

    def _open_newer(self) -> None:
        known = {tail.key for tail in self._tails}
        newer: list[_Tail] = []
        for name in self._names:
            tail = _open(name)
            if tail is None:
                continue  # not there yet, or just being renamed
            if tail.key in known:
                os.close(tail.fd)
                break
            known.add(tail.key)
            newer.append(tail)
        self._tails += reversed(newer)


def _open(path: str) -> _Tail | None:
    try:
        return _Tail(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY))
    except FileNotFoundError:
        return None


def start_of_last(fd: int, count: int) -> int:
    """Offset at which the last `count` lines of a file begin."""
    end = position = os.fstat(fd).st_size
    if count == 0:
        return end
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        block = os.pread(fd, size, position)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if position + at == end - 1:
                continue  # it ends the last line
            count -= 1
            if count == 0:
                return position + at + 1
    return 0
