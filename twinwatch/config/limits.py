"""`rlimits`: the names that this kernel knows, and their values."""

import resource

from twinwatch.config.fields import Fields, RefusedError, expected, integer, size, unknown
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Kind, Mapping, Node, Scalar

_PREFIX = "RLIMIT_"
_RESOURCES = {
    name.removeprefix(_PREFIX).lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith(_PREFIX)
}
_IN_BYTES = frozenset({"as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack"})
_UNLIMITED = -1
_count = integer(0, 2**63 - 1)


def read_rlimits(fields: Fields) -> tuple[tuple[int, int, int], ...]:
    """(resource, soft, hard) for each limit given, by resource; -1 is infinity."""
    limits = fields.each(lambda name, node: _limit(name, node, fields))
    return tuple(sorted(limit for _, limit in limits))


def _limit(name: str, node: Node, fields: Fields) -> tuple[int, int, int]:
    if name not in _RESOURCES:
        raise RefusedError(node, unknown("limit", name, _RESOURCES), node.label)
    if not isinstance(node, Mapping):
        value = _value(name, node)
        return _RESOURCES[name], value, value
    soft, hard = Fields(node, fields.report).read(lambda pair: _soft_and_hard(name, pair), (0, 0))
    return _RESOURCES[name], soft, hard


def _soft_and_hard(name: str, pair: Fields) -> tuple[int, int]:
    soft = pair.require("soft", lambda node: _value(name, node), 0)
    hard = pair.require("hard", lambda node: _value(name, node), _UNLIMITED)
    if hard != _UNLIMITED and not 0 <= soft <= hard:
        raise RefusedError(pair.at("soft"), "the soft limit is above the hard one")
    return soft, hard


def _value(name: str, node: Node) -> int:
    if isinstance(node, Scalar) and node.text == "unlimited":
        return _UNLIMITED
    if name in _IN_BYTES:
        return size(node)
    if isinstance(node, Scalar) and node.kind is Kind.INTEGER:
        return _count(node)
    raise expected(f"a whole number or `unlimited` for {quoted(name)}", node)
