"""A block of lines in /etc/inittab, which belongs to somebody else: put in, replaced, taken out.

Invariants: what stands around the block is kept byte by byte, also a missing newline at the end; taking the
block out of a text that it was put into gives the text from before. An id is never one that another line has.
"""

import hashlib
import re
from collections.abc import Iterator

from twinwatch.anchor.inits.recipe import Block, Unfit

PATH = "/etc/inittab"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_TRIES = 1000


def insert(text: str, block: Block) -> str:
    """The inittab with this block, in the place of one that is there."""
    rest, _ = _split(text, block)
    drawn = draw(block, rest)
    if block.at_top:
        return drawn + rest
    if rest and not rest.endswith("\n"):
        return f"{rest}\n{drawn.removesuffix(chr(10))}"
    return rest + drawn


def remove(text: str, block: Block) -> str:
    """The inittab without this block."""
    return _split(text, block)[0]


def holds(text: str, block: Block) -> bool:
    return _split(text, block)[1]


def draw(block: Block, rest: str) -> str:
    """The block, with an id that no line of `rest` has."""
    free = next((name for name in ids(block.pair) if name not in taken(rest)), None)
    if free is None:
        raise Unfit(f"{block.path} has no id left for pair {block.pair}")
    first, last = _marks(block)
    return "".join(
        f"{line}\n" for line in (first, *(line.replace("{id}", free) for line in block.lines), last)
    )


def ids(pair: str) -> Iterator[str]:
    """Ids for a pair, of four characters, the same ones each time."""
    for attempt in range(_ID_TRIES):
        number = int.from_bytes(hashlib.sha256(f"{pair} {attempt}".encode()).digest()[:8], "big")
        digits = []
        for _ in range(3):
            number, digit = divmod(number, len(_LETTERS))
            digits.append(_LETTERS[digit])
        yield "t" + "".join(digits)


def taken(text: str) -> frozenset[str]:
    lines = (line.strip() for line in text.splitlines())
    return frozenset(line.partition(":")[0] for line in lines if line and not line.startswith("#"))


def _marks(block: Block) -> tuple[str, str]:
    name = f"twinwatch anchor install: pair {block.pair}, init {block.init}"
    return f"# >>> {name}", f"# <<< {name}"


def _split(text: str, block: Block) -> tuple[str, bool]:
    """The text without the block, and whether there was one."""
    first, last = map(re.escape, _marks(block))
    opened = len(re.findall(f"^{first}$", text, re.MULTILINE))
    found = list(re.finditer(f"^{first}\n(?:.*\n)*?{last}(?:\n|\\Z)", text, re.MULTILINE))
    if len(found) != opened or opened > 1 or len(re.findall(f"^{last}$", text, re.MULTILINE)) != opened:
        raise Unfit(
            f"{block.path}: the lines of pair {block.pair} are not as they were written: remove them by hand"
        )
    if not found:
        return text, False
    before, after = text[: found[0].start()], text[found[0].end() :]
    if not found[0][0].endswith("\n"):
        before = before.removesuffix("\n")
    return before + after, True
