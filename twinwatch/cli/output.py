"""Where results go: stdout, as a terminal or a pipe wants them. Remarks go to stderr."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

from twinwatch.cli.table import Block, line, plain


@dataclass(frozen=True, slots=True)
class Output:
    """`is_rich`: tables and colours as a terminal has them; `is_colored`: with colours."""

    stream: TextIO
    is_rich: bool = False
    is_colored: bool = False

    def show(self, blocks: Iterable[Block]) -> None:
        if not self.is_rich:
            self.stream.write(plain(blocks))
            return
        from twinwatch.cli import paint

        paint.show(paint.console(self.stream, is_colored=self.is_colored), blocks)

    def line(self, text: str) -> None:
        self.show([line(text)])

    def json(self, document: object) -> None:
        """One line in a pipe, readable on a terminal."""
        indent = 2 if self.stream.isatty() else None
        self.stream.write(json.dumps(document, indent=indent) + "\n")

    def raw(self, data: bytes) -> None:
        """What somebody else wrote, byte by byte."""
        self.stream.flush()
        self.stream.buffer.write(data)

    def flush(self) -> None:
        self.stream.flush()

    def refresh(self, look: Callable[[], Iterable[Block]], interval_s: float) -> None:
        """Look again and again until Ctrl-C: on one screen, or in a pipe one block below the other."""
        if self.is_rich and self.stream.isatty():
            from twinwatch.cli import paint

            paint.refresh(paint.console(self.stream, is_colored=self.is_colored), look, interval_s)
        while True:
            self.show([*look(), line("")])
            self.flush()
            time.sleep(interval_s)


def remark(text: str) -> None:
    """A line for people. An operation does not end because nobody reads of its progress."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # any errno: nobody is left to read it
        return


def for_terminal(color: str, stream: TextIO, environ: Mapping[str, str]) -> Output:
    """`--color always` outweighs NO_COLOR; NO_COLOR leaves a terminal its tables."""
    if color == "always":
        return Output(stream, is_rich=True, is_colored=True)
    is_rich = color == "auto" and stream.isatty() and environ.get("TERM", "dumb") != "dumb"
    return Output(stream, is_rich=is_rich, is_colored=is_rich and not environ.get("NO_COLOR"))
