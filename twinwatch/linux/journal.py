"""Reading the event log across rotation, and across the reader's own death: each whole line once.

What is kept is how far each file was read. A file is known by its first line, which holds a time in
nanoseconds: a name is handed on at a rotation, and an inode is used again. A renamed file is read on,
because a writer may have it open for another moment.
"""

import os
from binascii import crc32
from collections.abc import Callable
from dataclasses import dataclass

from twinwatch.linux.events import KEPT

READ_MAX = 1 << 20  # bytes in one step; what is longer and has no newline is skipped
POSITIONS_MAX = 2 * (KEPT + 1)  # files remembered
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class _Piece:
    """Whole lines of one file, which begin at `start`."""

    file: str
    start: int
    end: int
    lines: list[bytes]


class Journal:
    """`positions` maps a file to how far it was read. A file that is not in there was not read at all."""

    def __init__(self, path: str, positions: dict[str, int]) -> None:
        self._names = (*(f"{path}.{number}" for number in range(KEPT, 0, -1)), path)  # oldest first
        self.positions = dict(positions)

    def begin(self, is_start: Callable[[bytes], bool]) -> None:
        """Pass over what stands before the last line that is a start; over all, if none is."""
        before: dict[str, int] | None = None
        while piece := self._next():
            at = piece.start
            for line in piece.lines:
                if is_start(line):
                    before = self.positions | {piece.file: at}
                at += len(line) + 1
            self._pass(piece)
        self.positions = self.positions if before is None else before

    def step(self) -> list[bytes]:
        """The next lines, of the oldest file that has some; none: that was all for now."""
        piece = self._next()
        if piece is None:
            return []
        self._pass(piece)
        return piece.lines

    def _pass(self, piece: _Piece) -> None:
        self.positions[piece.file] = piece.end
        while len(self.positions) > POSITIONS_MAX:
            del self.positions[next(iter(self.positions))]

    def _next(self) -> _Piece | None:
        for name in self._names:
            try:
                fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue  # not there yet, or just being renamed
            try:
                piece = self._read(fd)
            finally:
                os.close(fd)
            if piece is not None:
                return piece
        return None

    def _read(self, fd: int) -> _Piece | None:
        head, is_whole, _ = os.pread(fd, _HEAD, 0).partition(b"\n")
        if not is_whole and len(head) < _HEAD:
            return None  # it may still be being written
        file = f"{crc32(head):08x}"
        start = self.positions.get(file, 0)
        data = os.pread(fd, READ_MAX, start)
        size = data.rfind(b"\n") + 1
        if size:
            return _Piece(file, start, start + size, data[: size - 1].split(b"\n"))
        if len(data) == READ_MAX:
            return _Piece(file, start, start + len(data), [b""])
        return None
