"""Text with meaning, before it is known where it is shown; and how it looks in a pipe.

In a pipe: no colour, no boxes, columns aligned, an absent value is a dash.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from twinwatch.cli.human import NOTHING

_GAP = "  "


class Tone(Enum):
    """What a text says of its subject."""

    PLAIN = auto()
    STRONG = auto()
    FAINT = auto()
    GOOD = auto()
    DOUBTFUL = auto()
    BAD = auto()


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Line:
    """Cells one behind the other."""

    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are titles. Columns of `right` are numbers."""

    titles: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: frozenset[str] = frozenset()


Block = Line | Table


def line(text: str, tone: Tone = Tone.PLAIN) -> Line:
    """A line of one tone."""
    return Line((Cell(text, tone),))


def plain(blocks: Iterable[Block]) -> str:
    """Blocks as text, one newline behind each line."""
    lines = [text for block in blocks for text in _lines(block)]
    return "".join(f"{text}\n" for text in lines)


def _lines(block: Block) -> list[str]:
    if isinstance(block, Line):
        return ["".join(cell.text for cell in block.cells)]
    texts = [list(block.titles), *([cell.text or NOTHING for cell in row] for row in block.rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    flush_right = [title in block.right for title in block.titles]
    return [_aligned(row, widths, flush_right) for row in texts]


def _aligned(row: list[str], widths: list[int], flush_right: list[bool]) -> str:
    shape = zip(row, widths, flush_right, strict=True)
    return _GAP.join(
        text.rjust(width) if right else text.ljust(width) for text, width, right in shape
    ).rstrip()
