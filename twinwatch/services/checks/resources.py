"""How much a worker uses: what psutil sees of its process, or of the tree under it.

What may not be looked at is unknown (None), and so is everything of a process that is gone. A process is its
PID and its start, so that a new one with an old PID begins anew.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psutil

from twinwatch.core.checks import Resources
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import Identity
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import stat_fields

KEPT_NS = 500 * MILLISECOND_NS  # so long one look at all processes serves every worker

_PARENT, _START = 1, 19  # fields 4 and 22 of /proc/PID/stat, counted from field 3

Process = tuple[int, int]  # PID and start


class Families:
    """Who is whose child, of all processes."""

    def __init__(self) -> None:
        self._children: dict[int, list[Process]] = {}
        self._seen_ns = -KEPT_NS
        self.newest = 0  # start of the youngest process when they were looked at

    def tree(self, root: Process) -> list[Process]:
        now_ns = monotonic_ns()
        if now_ns - self._seen_ns >= KEPT_NS:
            self._children = _look_at_all()
            self._seen_ns = now_ns
            self.newest = max((start for born in self._children.values() for _, start in born), default=0)
        found = [root]
        for pid, start in found:  # it grows meanwhile
            found += [child for child in self._children.get(pid, ()) if child[1] >= start]
        return found


def _look_at_all() -> dict[int, list[Process]]:
    children: dict[int, list[Process]] = {}
    for pid in psutil.pids():
        fields = stat_fields(pid)
        if fields:
            children.setdefault(int(fields[_PARENT]), []).append((pid, int(fields[_START])))
    return children


@dataclass(slots=True)
class Usage:
    """At one look. `cpu_s`: what each process has used in its life."""

    at_ns: int = 0
    newest: int = 0  # start of the youngest process of all
    memory: int | None = None
    descriptors: int | None = None
    threads: int | None = None
    cpu_s: dict[Process, float] | None = None


@dataclass(slots=True)
class _Sum:
    """Of a number over several processes; unknown when one of them may not be looked at."""

    is_known: bool = True
    value: int = 0

    def result(self) -> int | None:
        return self.value if self.is_known else None


@dataclass(slots=True)
class _Sums:
    memory: _Sum = field(default_factory=_Sum)
    descriptors: _Sum = field(default_factory=_Sum)
    threads: _Sum = field(default_factory=_Sum)
    cpu_s: dict[Process, float] = field(default_factory=dict)
    is_cpu_known: bool = True


def measure(limits: Resources, identity: Identity, families: Families) -> Usage:
    """What a worker's process, and its descendants if they count, use now."""
    root = identity.pid, _start(identity.pid)
    if not root[1] or (identity.start_ticks and root[1] != identity.start_ticks):
        return Usage()
    at_ns, sums = monotonic_ns(), _Sums()
    for one in families.tree(root) if limits.tree else [root]:
        _add(sums, one, limits)
    if _start(root[0]) != root[1]:
        return Usage()  # it ended meanwhile
    return Usage(
        at_ns,
        families.newest,
        sums.memory.result(),
        sums.descriptors.result(),
        sums.threads.result(),
        sums.cpu_s if sums.is_cpu_known else None,
    )


def _start(pid: int) -> int:
    fields = stat_fields(pid)
    return int(fields[_START]) if fields and fields[0] not in (b"Z", b"X") else 0


def _add(sums: _Sums, one: Process, limits: Resources) -> None:
    """A child that is gone uses nothing."""
    try:
        process = psutil.Process(one[0])
        with process.oneshot():
            _add_counts(sums, process, limits)
            _add_cpu(sums, one, process, limits)
    except psutil.NoSuchProcess:
        return


def _add_counts(sums: _Sums, process: psutil.Process, limits: Resources) -> None:
    wanted: tuple[tuple[int, _Sum, Callable[[], int]], ...] = (
        (limits.memory, sums.memory, lambda: _memory(process, limits)),
        (limits.descriptors, sums.descriptors, process.num_fds),
        (limits.threads, sums.threads, process.num_threads),
    )
    for limit, total, look in wanted:
        if limit:
            try:
                total.value += look()
            except psutil.AccessDenied:
                total.is_known = False


def _memory(process: psutil.Process, limits: Resources) -> int:
    return int(process.memory_full_info().pss if limits.pss else process.memory_info().rss)


def _add_cpu(sums: _Sums, one: Process, process: psutil.Process, limits: Resources) -> None:
    if limits.cpu:
        try:
            times = process.cpu_times()
        except psutil.AccessDenied:
            sums.is_cpu_known = False
        else:
            sums.cpu_s[one] = times.user + times.system


def cpu_percent(before: Usage, now: Usage) -> float | None:
    """Of one core, between two looks. None: it cannot be known (yet)."""
    if before.cpu_s is None or now.cpu_s is None or now.at_ns <= before.at_ns:
        return None
    used_s = sum(_used_s(before, one, total_s) for one, total_s in now.cpu_s.items())
    return used_s * 100 * SECOND_NS / (now.at_ns - before.at_ns)


def _used_s(before: Usage, one: Process, total_s: float) -> float:
    """Since the look before: all of one that was born later, nothing of one that only joined."""
    known_s = (before.cpu_s or {}).get(one)
    if known_s is not None:
        return max(0.0, total_s - known_s)
    return total_s if one[1] >= before.newest else 0.0


def figures(limits: Resources, before: Usage, now: Usage) -> Iterator[tuple[str, float | None, float]]:
    """(what, how much, how much is allowed) of all that is limited."""
    if limits.memory:
        yield "memory", now.memory, limits.memory
    if limits.cpu:
        yield "cpu", cpu_percent(before, now), limits.cpu
    if limits.descriptors:
        yield "descriptors", now.descriptors, limits.descriptors
    if limits.threads:
        yield "threads", now.threads, limits.threads
