"""The whole file: the pair, its watch, its workers, and what must hold between workers."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from itertools import chain, pairwise
from os.path import normpath

from twinwatch.config.alerts import Sender, read_alerts
from twinwatch.config.fields import (
    Fields,
    RefusedError,
    duration,
    flag,
    integer,
    mapping,
    show_duration,
    text,
)
from twinwatch.config.groups import Groups, Order, read_groups
from twinwatch.config.problem import Report, quoted
from twinwatch.config.tree import Mapping, Node, Place, Scalar, Sequence, merge
from twinwatch.config.worker import OWN_KEYS, Surroundings, lengthen, read_settings, read_worker
from twinwatch.core.expand import fifo_name, has_sink, log_file
from twinwatch.core.record import RESERVES_MAX
from twinwatch.core.spec import Anchor, PairSpec, Watch, WorkerSpec
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

INTERVALS_IN_TIMEOUT = 3  # fewer, and one late heartbeat convicts a healthy twin
CYCLES_TOLD = 10
PLACES_MAX = 8192

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_BACKUP = re.compile(r"(.+)\.\d+(?:\.gz)?", re.ASCII)
_NOTHING = Mapping("", Place(1, 1), Place(1, 1))


@dataclass(frozen=True, slots=True)
class _Read:
    """A worker, and the keys that it was read from."""

    spec: WorkerSpec
    fields: Fields


def read_pair(tree: Mapping, folder: str, search_path: str, report: Report) -> PairSpec:
    """The configuration; worth something only if nothing was reported."""
    return Fields(tree, report).read(lambda fields: _read_pair(fields, folder, search_path), PairSpec(""))


def _read_pair(fields: Fields, folder: str, search_path: str) -> PairSpec:
    name = fields.require("pair", _pair_name, "")
    watch = fields.section("watch", _read_watch, Watch())
    anchor = fields.section("anchor", _read_anchor, Anchor())
    shared = fields.get("defaults", mapping, _NOTHING)
    given = fields.get("workers", mapping, _NOTHING)
    around = Surroundings(folder, search_path, tuple(given.entries))
    groups = fields.section("groups", partial(read_groups, around.names), Groups((), {}))
    alerts = read_alerts(Sender(folder, search_path, around.names), fields)
    workers = [
        replace(worker, spec=groups.bind(worker.spec))
        for worker in _read_workers(
            given, _read_defaults(shared, fields.report, around), fields.report, around
        )
    ]
    problems = (
        _crowd(workers, given),
        _shared_logs(workers),
        _backups(workers),
        _cycles(workers, groups.order),
    )
    for problem in chain.from_iterable(problems):
        fields.refuse(problem)
    return PairSpec(name, watch, tuple(worker.spec for worker in workers), groups.specs, alerts, anchor)


def _pair_name(node: Node) -> str:
    name = text(node)
    if not _NAME.fullmatch(name):
        message = f"{quoted(name)} cannot name a pair: 1 to 32 of a-z 0-9 _ -, a letter or digit first"
        raise RefusedError(node, message)
    return name


def _read_watch(fields: Fields) -> Watch:
    usual = Watch()
    watch = Watch(
        interval_ns=fields.get("interval", duration(50 * MILLISECOND_NS, 60 * SECOND_NS), usual.interval_ns),
        timeout_ns=fields.get("timeout", duration(), usual.timeout_ns),
        reserve=fields.get("reserve", integer(1, RESERVES_MAX), usual.reserve),
    )
    least_ns = INTERVALS_IN_TIMEOUT * watch.interval_ns
    if watch.timeout_ns < least_ns:
        message = (
            f"the timeout ({show_duration(watch.timeout_ns)}) must be at least {INTERVALS_IN_TIMEOUT} "
            f"intervals ({show_duration(least_ns)})"
        )
        raise RefusedError(fields.at("timeout", "interval"), message)
    return watch


def _read_anchor(fields: Fields) -> Anchor:
    usual = Anchor()
    return Anchor(
        stop_timeout_ns=fields.get("stop_timeout", duration(SECOND_NS), usual.stop_timeout_ns),
        keep_workers=fields.get("keep_workers", flag, usual.keep_workers),
    )


def _read_defaults(given: Mapping, report: Report, around: Surroundings) -> Mapping:
    """What workers share, checked by itself: also where no worker is left to use it."""
    fields = Fields(lengthen(given), report)
    for key in given.entries.keys() & OWN_KEYS:
        fields.get(key, _refuse_own, None)
    fields.read(partial(read_settings, around, []), None)
    known = fields.known()
    return replace(known, entries={key: node for key, node in known.entries.items() if key not in OWN_KEYS})


def _refuse_own(node: Node) -> None:
    raise RefusedError(node, "belongs to one worker and has no default", node.label)


def _read_workers(given: Mapping, shared: Mapping, report: Report, around: Surroundings) -> list[_Read]:
    workers = []
    for name, node in Fields(given, report).each(lambda _, node: mapping(node)):
        fields = Fields(merge(lengthen(node), shared), report)
        spec = fields.read(partial(read_worker, name, around), None)
        if spec is not None:
            workers.append(_Read(spec, fields))
    return workers


def _crowd(workers: Iterable[_Read], given: Mapping) -> Iterator[RefusedError]:
    count = sum(worker.spec.instances * (1 + has_sink(worker.spec)) for worker in workers)
    if count > PLACES_MAX:
        piped = " with those that read `log`" if any(has_sink(worker.spec) for worker in workers) else ""
        message = f"{count} instances in all{piped}: a pair guards at most {PLACES_MAX}"
        yield RefusedError(given, message, given.label)


def _shared_logs(workers: Iterable[_Read]) -> Iterator[RefusedError]:
    """Two workers, one file. Relative and absolute paths are not compared."""
    owners: dict[str, str] = {}
    for worker in workers:
        name = worker.spec.name
        files = _files(worker.spec)
        taken = min((file for file in files if file in owners), default=None)
        if taken is not None:
            log = worker.fields.at("log")
            message = f"the log {quoted(taken)} is that of worker {quoted(owners[taken])} already"
            yield RefusedError(log, message, log.label)
        owners |= dict.fromkeys(files, name)


def _backups(workers: Iterable[_Read]) -> Iterator[RefusedError]:
    """A log where another one's backups will be."""
    owners = {
        file: worker.spec.name for worker in workers if worker.spec.rotate for file in _files(worker.spec)
    }
    for worker in workers:
        for file in sorted(_files(worker.spec)):
            match = _BACKUP.fullmatch(file)
            if match and match[1] in owners:
                log = worker.fields.at("log")
                message = f"{quoted(file)} is a backup of the log of worker {quoted(owners[match[1]])}"
                yield RefusedError(log, message, log.label)
                break


def _files(worker: WorkerSpec) -> set[str]:
    """What the instances of a worker have in the log directory, or where it names them."""
    instances = range(worker.instances)
    fifos = {fifo_name(worker, instance) for instance in instances if has_sink(worker)}
    if worker.log_command:
        return fifos
    return fifos | {normpath(log_file(worker, instance)) for instance in instances}


def _cycles(workers: Iterable[_Read], order: Order) -> Iterator[RefusedError]:
    """Each circle of dependencies once, told where its first worker in the file closes it."""
    by_name = {worker.spec.name: worker for worker in workers}
    graph = {name: set(worker.spec.depends_on) & by_name.keys() for name, worker in by_name.items()}
    for _ in range(CYCLES_TOLD):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = _turned(error.args[1][:0:-1], list(by_name))
            graph[circle[0]].discard(circle[1])
            node = _item(by_name[circle[0]].fields.at("depends_on"), circle[1])
            yield _circle(circle, node, order)
        else:
            return


def _circle(circle: list[str], node: Node, order: Order) -> RefusedError:
    """Told at the group where only its order makes the first step, or else any other one."""
    message = f"depends on itself: {' -> '.join([*circle, circle[0]])}"
    grouped = [order[step] for step in pairwise([*circle, circle[0]]) if step in order]
    if not grouped:
        return RefusedError(node, message)
    message += ": the workers of a group start in the order in which it names them"
    return RefusedError(grouped[0], message)


def _turned(circle: list[str], order: list[str]) -> list[str]:
    """The same circle, begun at its first worker in the file."""
    first = min(range(len(circle)), key=lambda at: order.index(circle[at]))
    return circle[first:] + circle[:first]


def _item(node: Node, value: str) -> Node:
    items = node.items if isinstance(node, Sequence) else ()
    return next((item for item in items if isinstance(item, Scalar) and item.text == value), node)
