"""YAML text as a tree in which every value knows its line, its column and its path.

Decides what is YAML at all: syntax, keys given twice, keys and tags that cannot be meant, and how
much a file may unfold to. What the values mean is decided by those who read the tree.

YAML is composed, never constructed: no tag of a file creates an object, and the text as written is
kept, which is what tells `022` from 18 and `no` from false.

Invariants: the tree is finite and at most DEPTH_MAX deep, also where aliases repeat or contain
themselves; no text in it holds a NUL or half a surrogate pair.
"""

import re
from dataclasses import dataclass, field, replace
from enum import Enum

import yaml

from twinwatch.config.problem import Report, quoted

DEPTH_MAX = 32
NODES_MAX = 100_000  # after aliases are unfolded

_TAG = "tag:yaml.org,2002:"


class Kind(Enum):
    """What YAML 1.1 takes a scalar for."""

    TEXT = "str"
    INTEGER = "int"
    NUMBER = "float"
    BOOLEAN = "bool"
    NULL = "null"
    DATE = "timestamp"


_ALERT = re.compile(r"alerts(?:\[\d+\])?", re.ASCII)
_KINDS = {_TAG + kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Place:
    """Counted from 1, in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Node:
    """A value at `place`; `label` is the place of its key, or `place` where it has none."""

    path: str
    place: Place
    label: Place


@dataclass(frozen=True, slots=True)
class Scalar(Node):
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping(Node):
    entries: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broken(Node):
    """A value that was already reported; whoever meets it says nothing more."""


def parse(data: bytes, report: Report) -> Mapping:
    """The tree of a YAML document. Raises ConfigError if it is none."""
    root = _compose(_decode(data, report), report)
    start = _place(root.start_mark)
    try:
        tree = _Builder(report).build(root, "", start)
    except _TooLargeError:
        report.fail(start.line, start.column, f"unfolds to more than {NODES_MAX} values")
    if not isinstance(tree, Mapping):
        report.fail(start.line, start.column, "expected `key: value` lines at the top level")
    return tree


def merge(over: Mapping, under: Mapping) -> Mapping:
    """`over` with what only `under` has, key by key, at every depth; each value keeps its place."""
    entries = dict(over.entries)
    for key, value in under.entries.items():
        mine = entries.setdefault(key, value)
        if isinstance(mine, Mapping) and isinstance(value, Mapping) and mine is not value:
            entries[key] = merge(mine, value)
    return replace(over, entries=entries)


def _decode(data: bytes, report: Report) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _end_of(data[: error.start].decode("utf-8-sig", "replace"))
        report.fail(place.line, place.column, "is not UTF-8 text")


def _compose(text: str, report: Report) -> yaml.Node:
    try:
        loader = _BoundedLoader(text)
    except yaml.reader.ReaderError as error:
        place = _end_of(text[: error.position])
        report.fail(place.line, place.column, f"character {quoted(text[error.position])} is not allowed")
    try:
        root: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark or error.context_mark or loader.get_mark())
        report.fail(place.line, place.column, _syntax(error))
    except (ValueError, OverflowError):  # PyYAML lets them out: "\UFFFFFFFF", a version of 5000 digits
        place = _place(loader.get_mark())
        report.fail(place.line, place.column, "YAML syntax: a number here is out of range")
    if root is None:
        report.fail(1, 1, "the file is empty: it needs at least `pair: NAME`")
    return root


def _syntax(error: yaml.MarkedYAMLError) -> str:
    parts = ", ".join(part for part in (error.problem, error.context) if part)
    hint = " (indent with spaces)" if "'\\t'" in parts else ""
    return f"YAML syntax: {parts}{hint}"


def _end_of(text: str) -> Place:
    """Where the character after `text` stands."""
    lines = (text + "?").splitlines()
    return Place(len(lines), len(lines[-1]))


def _place(mark: yaml.Mark) -> Place:
    return Place(mark.line + 1, mark.column + 1)


class _TooLargeError(Exception):
    """The document unfolds to more than NODES_MAX values."""


class _BoundedLoader(yaml.SafeLoader):
    """PyYAML's composer recurses once per level: stop it before the interpreter does."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth == DEPTH_MAX:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {DEPTH_MAX} levels", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Unfolds one composed document."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._left = NODES_MAX
        self._open: set[int] = set()  # the nodes that we are inside of, by id

    def build(self, node: yaml.Node, path: str, label: Place | None) -> Node:
        self._left -= 1
        if self._left < 0:
            raise _TooLargeError
        place = _place(node.start_mark)
        here = Broken(path, place, label or place)
        if id(node) in self._open:
            return self._broken(here, "an alias cannot contain itself")
        self._open.add(id(node))
        try:
            return self._unfold(node, here)
        finally:
            self._open.discard(id(node))

    def _unfold(self, node: yaml.Node, here: Broken) -> Node:
        match node:
            case yaml.ScalarNode(tag=tag) if tag in _KINDS:
                return self._scalar(node, here)
            case yaml.SequenceNode(tag=tag, value=values) if tag == _TAG + "seq":
                items = (self.build(item, f"{here.path}[{i}]", None) for i, item in enumerate(values))
                return Sequence(here.path, here.place, here.label, tuple(items))
            case yaml.MappingNode(tag=tag) if tag == _TAG + "map":
                return self._mapping(node, here)
            case _:
                return self._broken(
                    here, f"the YAML tag {quoted(node.tag.replace(_TAG, '!!'))} is not used here"
                )

    def _scalar(self, node: yaml.ScalarNode, here: Broken) -> Node:
        complaint = _unusable(node.value)
        if complaint:
            return self._broken(here, complaint)
        return Scalar(here.path, here.place, here.label, _KINDS[node.tag], node.value)

    def _mapping(self, node: yaml.MappingNode, here: Broken) -> Node:
        entries: dict[str, Node] = {}
        for key_node, value_node in node.value:
            label = _place(key_node.start_mark)
            complaint = "" if _is_on(key_node, here.path) else _bad_key(key_node)
            if complaint:
                self._report.add(label.line, label.column, here.path, complaint)
                continue
            key = key_node.value
            path = _step(here.path, key)
            if key in entries:
                first = entries[key].label.line
                self._report.add(label.line, label.column, path, f"given twice, first on line {first}")
                continue
            entries[key] = self.build(value_node, path, label)
        return Mapping(here.path, here.place, here.label, entries)

    def _broken(self, here: Broken, message: str) -> Broken:
        self._report.add(here.place.line, here.place.column, here.path, message)
        return here


def _step(path: str, key: str) -> str:
    shown = key if key.isprintable() and key else quoted(key)
    return f"{path}.{shown}" if path else shown


def _is_on(node: yaml.Node, path: str) -> bool:
    """`on:` of an alert, which YAML 1.1 takes for a truth: the one key of ours that it does so to."""
    return isinstance(node, yaml.ScalarNode) and node.value == "on" and bool(_ALERT.fullmatch(path))


def _bad_key(node: yaml.Node) -> str:
    """Why a node cannot be a key; empty if it can."""
    if not isinstance(node, yaml.ScalarNode):
        return "a key must be a plain word"
    if node.tag == _TAG + "merge":
        return "the merge key `<<` is not used here: put what workers share under `defaults`"
    if node.tag != _TAG + "str":
        is_boolean = node.tag == _TAG + Kind.BOOLEAN.value
        reading = f"YAML reads it as {boolean(node.value)}; " if is_boolean else ""
        return f"the key {quoted(node.value)} is not text: {reading}quote it"
    return _unusable(node.value)


def _unusable(text: str) -> str:
    if "\0" in text:
        return "text cannot hold a NUL byte"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "text cannot hold half a surrogate pair"
    return ""


def boolean(text: str) -> str:
    """`true` or `false`: how YAML 1.1 reads a word such as `yes` or `off`."""
    return "true" if text.lower() in {"yes", "true", "on"} else "false"
