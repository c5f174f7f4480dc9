"""How blocks look on a terminal: the one place that meets `rich`."""

import time
from collections.abc import Callable, Iterable
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from twinwatch.cli.human import NOTHING
from twinwatch.cli.table import Block, Line, Table, Tone

_STYLES = {
    Tone.PLAIN: "",
    Tone.STRONG: "bold",
    Tone.FAINT: "dim",
    Tone.GOOD: "green",
    Tone.DOUBTFUL: "yellow",
    Tone.BAD: "bold red",
}
_WIDTH_UNSEEN = 200  # of a pipe that was asked to be treated as a terminal


def console(stream: TextIO, *, is_colored: bool) -> Console:
    """A console that takes its stream for a terminal."""
    width = None if stream.isatty() else _WIDTH_UNSEEN
    return Console(
        file=stream, force_terminal=True, no_color=not is_colored, highlight=False, markup=False, width=width
    )


def show(to: Console, blocks: Iterable[Block]) -> None:
    """Print blocks."""
    for block in blocks:
        to.print(_renderable(block))


def refresh(to: Console, look: Callable[[], Iterable[Block]], interval_s: float) -> None:
    """Look again and again on one screen, until Ctrl-C."""
    with Live(console=to, screen=True, auto_refresh=False) as live:
        while True:
            live.update(Group(*map(_renderable, look())), refresh=True)
            time.sleep(interval_s)


def _renderable(block: Block) -> RenderableType:
    return _line(block) if isinstance(block, Line) else _table(block)


def _line(line: Line) -> Text:
    return Text.assemble(*((cell.text, _STYLES[cell.tone]) for cell in line.cells))


def _table(table: Table) -> RichTable:
    """Columns in which no row has a value are left out: a terminal is narrow."""
    shown = [at for at in range(len(table.titles)) if any(row[at].text != NOTHING for row in table.rows)]
    painted = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for at in shown:
        title, may_wrap = table.titles[at], at == shown[-1]
        painted.add_column(
            title,
            justify="right" if title in table.right else "left",
            no_wrap=not may_wrap,
            overflow="fold" if may_wrap else "ellipsis",
        )
    for row in table.rows:
        painted.add_row(*(Text(row[at].text, style=_STYLES[row[at].tone]) for at in shown))
    return painted
