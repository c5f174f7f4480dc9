"""Reading a mapping of the tree key by key, and the readers of single values.

A reader takes a node and returns a value or raises `RefusedError`. `Fields` catches that, reports it
and goes on with a stand-in, so one run finds every problem. The keys that were asked for *are* the
schema: what is left over is unknown, and is told with the nearest known key.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

from twinwatch.config.problem import Report, quoted
from twinwatch.config.tree import Broken, Kind, Mapping, Node, Place, Scalar, Sequence, boolean
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

DAY_NS = 24 * 3600 * SECOND_NS
DURATION_MAX_NS = 365 * DAY_NS
SIZE_MAX = 2**63 - 1
PERCENT_MIN, PERCENT_MAX = 1, 100_000

_UNITS_NS = {
    "d": DAY_NS,
    "h": 3600 * SECOND_NS,
    "m": 60 * SECOND_NS,
    "s": SECOND_NS,
    "ms": MILLISECOND_NS,
}
_DECIMAL = r"\d{1,12}(?:\.\d{1,9})?"
_DURATION = re.compile("".join(rf"(?:({_DECIMAL}){unit}(?![a-z]))?" for unit in _UNITS_NS), re.ASCII)
_UNITS_BYTES = {"": 1, "B": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("iB", 1024), ("B", 1000))
}
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)([A-Za-z]*)", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,18})", re.ASCII)
_PERCENT = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)%", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)


class RefusedError(Exception):
    """One value that cannot be used, and where it is."""

    def __init__(self, node: Node, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.node = node
        self.message = message
        self.place = place or node.place


class Fields:
    """One mapping while it is read."""

    def __init__(self, node: Mapping, report: Report) -> None:
        self.node = node
        self.report = report
        self._known: list[str] = []

    def get(self, key: str, read: Callable[[Node], T], default: T) -> T:
        """The key's value; `default` where it is absent or was refused."""
        self._known.append(key)
        node = self.node.entries.get(key)
        if node is not None and not isinstance(node, Broken):
            with self.refusals():
                return read(node)
        return default

    def require(self, key: str, read: Callable[[Node], T], stand_in: T) -> T:
        """Like `get`, but absence is a problem."""
        if key not in self.node.entries:
            self.refuse(RefusedError(self.node, f"the key {quoted(key)} is missing", self.node.label))
        return self.get(key, read, stand_in)

    def section(self, key: str, read: Callable[["Fields"], T], default: T, short: str = "") -> T:
        """A mapping with keys of its own; anything else is the value of its key `short`, if there is one."""
        inner = self.get(key, lambda node: long_form(node, short) if short else mapping(node), None)
        return default if inner is None else Fields(inner, self.report).read(read, default)

    def items(self, key: str, read: Callable[[Node], T]) -> tuple[T, ...]:
        """A list, each item read by itself; those that were refused are left out."""
        found: list[T] = []
        nothing: tuple[Node, ...] = ()
        for node in self.get(key, sequence, nothing):
            if not isinstance(node, Broken):
                with self.refusals():
                    found.append(read(node))
        return tuple(found)

    def each(self, read: Callable[[str, Node], T]) -> tuple[tuple[str, T], ...]:
        """The entries of a mapping whose keys are the user's to choose."""
        self._known += self.node.entries
        found: list[tuple[str, T]] = []
        for key, node in self.node.entries.items():
            if not isinstance(node, Broken):
                with self.refusals():
                    found.append((key, read(key, node)))
        return tuple(found)

    def read(self, read: Callable[["Fields"], T], default: T) -> T:
        """The whole mapping; then what nobody asked for is refused.

        `read` asks for all its keys before it refuses anything by itself.
        """
        value = default
        with self.refusals():
            value = read(self)
        for key, node in self.node.entries.items():
            if key not in self._known:
                self.refuse(RefusedError(node, unknown("key", key, self._known), node.label))
        return value

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """What is refused inside is reported, and the reading goes on behind it."""
        try:
            yield
        except RefusedError as error:
            self.refuse(error)

    def refuse(self, error: RefusedError) -> None:
        self.report.add(error.place.line, error.place.column, error.node.path, error.message)

    def at(self, *keys: str) -> Node:
        """The node of the first of these keys that is given, else the mapping: where to complain."""
        return next((self.node.entries[key] for key in keys if key in self.node.entries), self.node)

    def known(self) -> Mapping:
        """The mapping without what nobody asked for."""
        entries = {key: node for key, node in self.node.entries.items() if key in self._known}
        return Mapping(self.node.path, self.node.place, self.node.label, entries)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """`unknown key 'comand': did you mean 'command'?`."""
    names = sorted(set(known))
    nearest = difflib.get_close_matches(name, names, n=1)
    if nearest:
        return f"unknown {what} {quoted(name)}: did you mean {quoted(nearest[0])}?"
    return f"unknown {what} {quoted(name)}; known: {', '.join(names) or 'none'}"


def expected(what: str, node: Node) -> RefusedError:
    """`expected WHAT, found …` for a node of the wrong kind."""
    return RefusedError(node, f"expected {what}, found {_described(node)}")


def _described(node: Node) -> str:
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(kind=Kind.NULL):
            return "nothing"
        case Scalar(kind=Kind.TEXT, text=text):
            return f"the text {quoted(text)}"
        case Scalar(kind=Kind.BOOLEAN, text=text):
            return f"`{text}`, which YAML reads as {boolean(text)}"
        case Scalar(text=text):
            return f"`{text[:60]}`"
        case _:
            return "something else"


def mapping(node: Node) -> Mapping:
    """A mapping, its keys not yet read."""
    if not isinstance(node, Mapping):
        raise expected("a mapping", node)
    return node


def long_form(node: Node, short: str) -> Mapping:
    """`VALUE` as `{short: VALUE}`, so that there is one way to read it."""
    return node if isinstance(node, Mapping) else Mapping(node.path, node.place, node.label, {short: node})


def sequence(node: Node) -> tuple[Node, ...]:
    """A list, its items not yet read."""
    if not isinstance(node, Sequence):
        raise expected("a list", node)
    return node.items


def text(node: Node) -> str:
    """A text; what YAML reads as a number, a truth or a date must be quoted."""
    match node:
        case Scalar(kind=Kind.TEXT, text=value):
            return value
        case Scalar(kind=Kind.INTEGER | Kind.NUMBER | Kind.BOOLEAN | Kind.DATE, text=value):
            raise RefusedError(node, f'expected a text, found {_described(node)}: quote it, "{value[:60]}"')
        case _:
            raise expected("a text", node)


def full_text(node: Node) -> str:
    """A text that is not empty."""
    value = text(node)
    if not value:
        raise RefusedError(node, "must not be empty")
    return value


def flag(node: Node) -> bool:
    """`true` or `false`, in any of YAML's words for it."""
    if not isinstance(node, Scalar) or node.kind is not Kind.BOOLEAN:
        raise expected("true or false", node)
    return boolean(node.text) == "true"


def integer(low: int, high: int) -> Callable[[Node], int]:
    """A whole number in plain decimal: what YAML 1.1 makes of 010 and 1:30 is never meant."""

    def read(node: Node) -> int:
        if not isinstance(node, Scalar) or node.kind is not Kind.INTEGER:
            raise expected("a whole number", node)
        if not _INTEGER.fullmatch(node.text):
            raise expected("a whole number in plain decimal digits", node)
        return _within(node, int(node.text), low, high)

    return read


def number(low: float, high: float) -> Callable[[Node], float]:
    """A number in plain decimal; infinities and NaN are never meant."""

    def read(node: Node) -> float:
        if not isinstance(node, Scalar) or node.kind not in {Kind.INTEGER, Kind.NUMBER}:
            raise expected("a number", node)
        if not _NUMBER.fullmatch(node.text):
            raise expected("a number in plain decimal digits", node)
        return _within(node, float(node.text), low, high)

    return read


N = TypeVar("N", int, float)


def _within(node: Node, value: N, low: N, high: N) -> N:
    if not low <= value <= high:
        raise RefusedError(node, f"must be {low} to {high}, found {value}")
    return value


def duration(low_ns: int = 0, high_ns: int = DURATION_MAX_NS) -> Callable[[Node], int]:
    """`500ms`, `2s`, `1h30m`, `1.5s` as nanoseconds; a bare 0 needs no unit, all else does."""

    def read(node: Node) -> int:
        value_ns = _duration_ns(node)
        if not low_ns <= value_ns <= high_ns:
            limits = f"{show_duration(low_ns)} to {show_duration(high_ns)}"
            raise RefusedError(node, f"must be {limits}, found {show_duration(value_ns)}")
        return value_ns

    return read


def _duration_ns(node: Node) -> int:
    if not isinstance(node, Scalar) or node.kind not in {Kind.TEXT, Kind.INTEGER, Kind.NUMBER}:
        raise expected("a duration such as 500ms, 2s or 1h30m", node)
    if node.text == "0":
        return 0
    if _NUMBER.fullmatch(node.text):
        raise RefusedError(node, f"a duration needs a unit: say {node.text}s")
    match = _DURATION.fullmatch(node.text)
    if match is None or not node.text:
        raise expected("a duration such as 500ms, 2s or 1h30m", node)
    return sum(_scaled(part, unit) for part, unit in zip(match.groups("0"), _UNITS_NS.values(), strict=True))


def show_duration(value_ns: int) -> str:
    """The shortest way to write a duration exactly, to the millisecond: `90s`, `1m`, `1500ms`."""
    units = (unit for unit, size in _UNITS_NS.items() if value_ns % size == 0 and value_ns >= size)
    unit = next(units, "ms")
    return f"{value_ns / _UNITS_NS[unit]:g}{unit}" if value_ns else "0s"


def size(node: Node) -> int:
    """`64MiB`, `1GB`, `1000`: bytes."""
    if not isinstance(node, Scalar) or node.kind not in {Kind.TEXT, Kind.INTEGER}:
        raise expected("a size such as 64MiB, 1GB or 1000", node)
    match = _SIZE.fullmatch(node.text)
    if match is None or match[2] not in _UNITS_BYTES:
        raise expected("a size such as 64MiB, 1GB or 1000", node)
    return _within(node, _scaled(match[1], _UNITS_BYTES[match[2]]), 0, SIZE_MAX)


def size_from(low: int) -> Callable[[Node], int]:
    """A size of at least `low` bytes."""

    def read(node: Node) -> int:
        value = size(node)
        if value < low:
            raise RefusedError(node, f"must be at least {low} bytes, found {value}")
        return value

    return read


def percent(node: Node) -> float:
    """`90%`, `150%`: percent of one core."""
    match = _PERCENT.fullmatch(node.text) if isinstance(node, Scalar) else None
    if match is None:
        raise expected("percent of one core, such as 90% or 150%", node)
    value = float(match[1])
    if not PERCENT_MIN <= value <= PERCENT_MAX:
        raise RefusedError(node, f"must be {PERCENT_MIN}% to {PERCENT_MAX}%, found {match[0]}")
    return value


def _scaled(decimal: str, unit: int) -> int:
    """`1.5` times a unit in exact integers."""
    whole, _, fraction = decimal.partition(".")
    return int(whole) * unit + int(fraction.ljust(9, "0")) * unit // 10**9


def choice(options: type[E]) -> Callable[[Node], E]:
    """One of the words of an enum."""
    words = ", ".join(options)

    def read(node: Node) -> E:
        if isinstance(node, Scalar) and node.text in list(options):
            return options(node.text)
        raise expected(f"one of {words}", node)

    return read
