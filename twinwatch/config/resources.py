"""`resources` and `cgroup`: what a worker may use, as somebody looks at it and as the kernel enforces it."""

from enum import StrEnum
from functools import partial

from twinwatch.config.fields import (
    DAY_NS,
    Fields,
    RefusedError,
    choice,
    duration,
    expected,
    flag,
    integer,
    percent,
    size_from,
)
from twinwatch.config.tree import Mapping, Node, Scalar
from twinwatch.config.workplace import Workplace
from twinwatch.core.checks import Action, Resources
from twinwatch.core.spec import Cgroup
from twinwatch.core.timing import MILLISECOND_NS

INTERVAL_MIN_NS = 100 * MILLISECOND_NS
COUNT_MAX = 2**31 - 1
STRIKES_MAX = 255

_LIMITS = ("memory", "cpu", "descriptors", "threads")
_count = integer(1, COUNT_MAX)


class _Measure(StrEnum):
    RSS = "rss"
    PSS = "pss"


def read_resources(place: Workplace, fields: Fields) -> Resources:
    """Limits, how they are looked at, and what follows."""
    usual = Resources()
    action, command = fields.get("action", partial(_action, place, fields), (usual.action, usual.command))
    resources = Resources(
        memory=fields.get("memory", size_from(1), usual.memory),
        cpu=fields.get("cpu", percent, usual.cpu),
        descriptors=fields.get("descriptors", _count, usual.descriptors),
        threads=fields.get("threads", _count, usual.threads),
        pss=fields.get("measure", choice(_Measure), _Measure.RSS) is _Measure.PSS,
        tree=fields.get("tree", flag, usual.tree),
        interval_ns=fields.get("interval", duration(INTERVAL_MIN_NS, DAY_NS), usual.interval_ns),
        strikes=fields.get("strikes", integer(1, STRIKES_MAX), usual.strikes),
        action=action,
        command=command,
    )
    _need_any(fields, _LIMITS)
    return resources


def read_cgroup(fields: Fields) -> Cgroup:
    """Limits that the kernel enforces; none of them: a cgroup of its own, so that nothing of it is missed."""
    usual = Cgroup()
    return Cgroup(
        memory_max=fields.get("memory", size_from(1), usual.memory_max),
        pids_max=fields.get("pids", _count, usual.pids_max),
        cpu=fields.get("cpu", percent, usual.cpu),
    )


def _need_any(fields: Fields, limits: tuple[str, ...]) -> None:
    if not fields.node.entries.keys() & set(limits):
        raise RefusedError(fields.node, f"needs one of {', '.join(limits)}", fields.node.label)


def _action(place: Workplace, outer: Fields, node: Node) -> tuple[Action, tuple[str, ...]]:
    if isinstance(node, Mapping):
        nothing: tuple[str, ...] = ()
        fields = Fields(node, outer.report)
        return Action.EXEC, fields.read(lambda fields: place.command(fields, Action.EXEC.value), nothing)
    if isinstance(node, Scalar) and node.text in {Action.RESTART, Action.ALERT}:
        return Action(node.text), ()
    raise expected("one of restart, alert, {exec: [PROGRAM, ...]}", node)
