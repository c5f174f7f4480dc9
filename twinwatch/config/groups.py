"""`groups`: which workers share a fate, and the order in which they start.

Invariants: a worker is in one group at most. Where a death takes others along, each member depends on the one
before it, so that they end and start in one order.
"""

import re
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from twinwatch.config.fields import Fields, RefusedError, choice, mapping, text, unknown
from twinwatch.config.policy import read_limit
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Node, Sequence
from twinwatch.core.spec import Group, Strategy, WorkerSpec

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.ASCII)
_ORDERED = frozenset({Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL})

Order = dict[tuple[str, str], Node]  # (worker, the one before it): where the group names the worker


@dataclass(frozen=True, slots=True)
class Groups:
    """All of them, and the dependencies that follow from their order."""

    specs: tuple[Group, ...]
    order: Order

    def bind(self, worker: WorkerSpec) -> WorkerSpec:
        """The worker, depending on the one before it in its group as well."""
        before = (other for name, other in self.order if name == worker.name)
        return replace(worker, depends_on=tuple(dict.fromkeys((*worker.depends_on, *before))))


def read_groups(names: tuple[str, ...], fields: Fields) -> Groups:
    """The groups among workers of these names."""
    reader = _Reader(names)
    found = fields.each(partial(reader.read, fields))
    return Groups(tuple(group for _, group in found if group is not None), reader.order)


class _Reader:
    """What one group must know of the others."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.order: Order = {}
        self._names = names
        self._owners: dict[str, str] = {}

    def read(self, outer: Fields, name: str, node: Node) -> Group | None:
        if not _NAME.fullmatch(name):
            message = f"{quoted(name)} cannot name a group: 1 to 40 of a-z 0-9 . _ -, a letter or digit first"
            raise RefusedError(node, message, node.label)
        return Fields(mapping(node), outer.report).read(partial(self._group, name), None)

    def _group(self, name: str, fields: Fields) -> Group:
        members = self._members(name, fields)
        strategy = fields.get("strategy", choice(Strategy), Strategy.ONE_FOR_ONE)
        limit = fields.section("limit", read_limit, None)
        if strategy in _ORDERED:
            for (before, _), (member, node) in pairwise(members):
                self.order[member, before] = node
        return Group(name, tuple(member for member, _ in members), strategy, limit)

    def _members(self, group: str, fields: Fields) -> tuple[tuple[str, Node], ...]:
        fields.require("workers", _not_empty, None)
        return fields.items("workers", partial(self._member, group))

    def _member(self, group: str, node: Node) -> tuple[str, Node]:
        name = text(node)
        if name not in self._names:
            raise RefusedError(node, unknown("worker", name, self._names))
        if name in self._owners:
            raise RefusedError(
                node, f"worker {quoted(name)} is in group {quoted(self._owners[name])} already"
            )
        self._owners[name] = group
        return name, node


def _not_empty(node: Node) -> None:
    if isinstance(node, Sequence) and not node.items:
        raise RefusedError(node, "is empty: a group has a worker at least")
