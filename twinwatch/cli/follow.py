"""Reading lines of a file that others append to, across rotation and truncation.

Rotation: the file is renamed to `.1` (`.1` to `.2` …) and a new one gets its name. It is seen by the
inode. The renamed file is read on, for a writer may still have it open; and files that came and went
between two steps are found among the renamed ones. A step is a function of the files, not of time.
"""

import os
from collections.abc import Callable, Iterator

BLOCK = 1 << 16
LINE_MAX = 1 << 20  # a longer line is cut in pieces
_KEPT_OPEN = 2  # the file of that name, and the one before it


class Tail:
    """One open file, and how far it was read. It closes the file."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.position = 0
        self.rest = b""  # the beginning of a line that has no end yet
        self.lost = 0  # bytes that were gone before they could be read

    @property
    def key(self) -> tuple[int, int]:
        status = os.fstat(self.fd)
        return status.st_dev, status.st_ino

    def lines(self) -> Iterator[bytes]:
        """Lines that have become complete, without their newline."""
        while data := self.block():
            *complete, self.rest = (self.rest + data).split(b"\n")
            yield from complete
            if len(self.rest) > LINE_MAX:
                yield self.rest
                self.rest = b""

    def block(self) -> bytes:
        """What comes next; nothing at the end."""
        if os.fstat(self.fd).st_size < self.position:  # it was cut short: it begins anew
            self.position, self.rest = 0, b""
        data = os.pread(self.fd, BLOCK, self.position)
        self.position += len(data)
        return data

    def seek(self, last: int | None) -> None:
        """Begin with that many last lines of what is there; None: with all of it."""
        if last is not None:
            self.position = start_of_last(self.fd, last)

    def close(self) -> None:
        os.close(self.fd)


class Follower:
    """Reads `path`, at first with its `backups` renamed predecessors, oldest first.

    `last`: of the file that is there at the beginning only that many lines; None: all. `tail` makes the
    reader of an open file.
    """

    def __init__(
        self, path: str, *, backups: int = 0, last: int | None = None, tail: Callable[[int], Tail] = Tail
    ) -> None:
        self._tail = tail
        self.lost = 0
        self._names = [path, *(f"{path}.{number}" for number in range(1, backups + 1))]
        self._tails: list[Tail] = []
        self._open_newer()
        if self._tails:
            self._tails[-1].seek(last)

    @property
    def is_open(self) -> bool:
        """Whether there is a file at all."""
        return bool(self._tails)

    def step(self) -> Iterator[bytes]:
        """Lines that were completed since the last step. To be read to its end."""
        was_open = self.is_open
        self._open_newer()
        if self.is_open and not was_open:
            self._tails[-1].seek(None)
        for tail in self._tails:
            yield from tail.lines()
            self.lost, tail.lost = self.lost + tail.lost, 0
        for tail in self._tails[:-_KEPT_OPEN]:
            tail.close()
        del self._tails[:-_KEPT_OPEN]

    def rest(self) -> bytes:
        """What stands behind the last newline."""
        return self._tails[-1].rest if self._tails else b""

    def close(self) -> None:
        for tail in self._tails:
            tail.close()
        self._tails.clear()

    def _open_newer(self) -> None:
        known = {tail.key for tail in self._tails}
        newer: list[Tail] = []
        for name in self._names:
            fd = _open(name)
            if fd is None:
                continue  # not there yet, or just being renamed
            tail = self._tail(fd)
            if tail.key in known:
                tail.close()
                break
            known.add(tail.key)
            newer.append(tail)
        self._tails += reversed(newer)


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return None


def start_of_last(fd: int, count: int) -> int:
    """Offset at which the last `count` lines of a file begin."""
    return line_start(fd, 0, count)[0]


def line_start(fd: int, first: int, count: int) -> tuple[int, int]:
    """Offset at which the last `count` lines behind `first` begin, and how many beginnings are missing."""
    end = position = os.fstat(fd).st_size
    if count == 0:
        return end, 0
    while position > first:
        size = min(BLOCK, position - first)
        position -= size
        block = os.pread(fd, size, position)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if position + at == end - 1:
                continue  # it ends the last line
            count -= 1
            if count == 0:
                return position + at + 1, 0
    return first, count
