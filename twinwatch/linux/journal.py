"""Reading the event log across rotation, and across the reader's own death: each whole line once.

What is kept is how far each file was read. A file is known by its first line, which holds a time in
nanoseconds: a name is handed on at a rotation, and an inode is used again. A renamed file is read on,
because a writer may have it open for another moment.
"""

import os
from binascii import crc32
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from twinwatch.linux.events import KEPT

READ_MAX = 1 << 20  # bytes in one step; what is longer and has no newline is skipped
POSITIONS_MAX = 2 * (KEPT + 1)  # files remembered
_HEAD = 4096


class Mark(Enum):
    """What a line says of where to begin: with the life in which a start is, or with what came anew in it."""

    NONE = "none"
    LIFE = "life"
    OVER = "over"
    ANEW = "anew"
    START = "start"


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

    def begin(self, mark_of: Callable[[bytes], Mark]) -> None:
        """Pass over what stands before the beginning of the last start; over all, if there is no start."""
        since: dict[str, int] | None = None
        before: dict[str, int] | None = None
        while piece := self._next():
            at = piece.start
            for line in piece.lines:
                mark = mark_of(line)
                if mark is Mark.OVER:
                    since = None
                elif mark is Mark.ANEW or (mark is Mark.LIFE and since is None):
                    since = self.positions | {piece.file: at}
                elif mark is Mark.START:
                    before = self.positions | {piece.file: at} if since is None else since
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
