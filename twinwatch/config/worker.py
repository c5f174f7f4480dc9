"""One worker: what its keys mean together, and the digest of all that a new process gets.

Everything that could fail at birth and can be known now (its program, its directory, its account)
is refused here, with the line that says so.

Invariant: `birth_hash` covers exactly what a running process cannot be given any more. Policies,
times, checks and order are not part of it: to change them restarts nothing.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

from twinwatch.config.checks import read_health, read_ready
from twinwatch.config.command import check_program, read_command
from twinwatch.config.fields import (
    DURATION_MAX_NS,
    Fields,
    RefusedError,
    duration,
    flag,
    integer,
    long_form,
    text,
    unknown,
)
from twinwatch.config.hooks import read_hook
from twinwatch.config.logs import Log, read_log
from twinwatch.config.policy import read_restart, read_stop
from twinwatch.config.problem import quoted
from twinwatch.config.process import read_process
from twinwatch.config.resources import read_cgroup, read_resources
from twinwatch.config.tree import Kind, Mapping, Node, Scalar, Sequence
from twinwatch.config.workplace import Judgement, Workplace, path_from
from twinwatch.core.expand import INSTANCE, has_sink
from twinwatch.core.spec import Policy, Restart, Stop, WorkerSpec
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

OWN_KEYS = ("command", "instances", "depends_on")  # these have no default that workers share
INSTANCES_MAX = 1000

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.ASCII)
_RESERVED = {"a": "the watcher", "b": "the watcher", "anchor": "the anchor", "all": "every worker"}
_SHORT_FORMS = {"restart": "policy", "before_start": "command", "after_exit": "command"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker's keys are read against."""

    folder: str  # the configuration file's
    search_path: str  # PATH, where a worker does not set its own
    names: tuple[str, ...]  # of all workers


def read_worker(name: str, around: Surroundings, fields: Fields) -> WorkerSpec:
    """One worker of the configuration, complete or with its problems reported."""
    later: list[Judgement] = []
    worker = replace(
        read_settings(around, later, fields),
        name=name,
        command=read_command(fields),
        instances=fields.get("instances", integer(1, INSTANCES_MAX), 1),
        depends_on=_read_depends_on(name, fields, around.names),
    )
    later.append(partial(check_program, fields.at("command"), worker.command, around.search_path))
    for judge in (*_judgements(fields), *later):
        with fields.refusals():
            judge(worker)
    return replace(worker, birth_hash=birth_hash(worker))


def read_settings(around: Surroundings, later: list[Judgement], fields: Fields) -> WorkerSpec:
    """The keys that `defaults` may hold too; `directory` is empty where it was refused."""
    worker = read_process(around.folder, fields)
    place = Workplace(around.folder, worker.directory, around.search_path, later)
    log = fields.section("log", partial(read_log, place), Log())
    return replace(
        _checked(place, fields, worker),
        log=log.file,
        rotate=log.rotate,
        log_command=log.command,
        timestamps=log.timestamps,
        restart=fields.section("restart", read_restart, Restart()),
        stop=fields.section("stop", read_stop, Stop()),
        start_timeout_ns=fields.get("start_timeout", duration(MILLISECOND_NS), worker.start_timeout_ns),
        before_start=read_hook(place, fields, "before_start"),
        after_exit=read_hook(place, fields, "after_exit"),
        max_age_ns=fields.get("max_age", duration(SECOND_NS, DURATION_MAX_NS), worker.max_age_ns),
        pid_file=fields.get("pid_file", path_from(place.directory), worker.pid_file),
    )


def _checked(place: Workplace, fields: Fields, worker: WorkerSpec) -> WorkerSpec:
    """The worker with all that is looked at while it runs."""
    ready = fields.section("ready", partial(read_ready, place), None)
    health = read_health(place, fields)
    is_notifying = bool((ready and ready.notify) or health.notify_ns)
    worker = replace(
        worker,
        notify=fields.get("notify", flag, is_notifying),
        ready=ready,
        health=health,
        resources=fields.section("resources", partial(read_resources, place), None),
        cgroup=fields.section("cgroup", read_cgroup, None),
        watch_files=tuple(dict.fromkeys(fields.items("watch_files", path_from(place.folder)))),
    )
    if is_notifying and not worker.notify:
        message = "without it, what `ready` or `health` wants to hear cannot be said"
        fields.refuse(RefusedError(fields.at("notify"), message))
    return worker


def lengthen(worker: Mapping) -> Mapping:
    """Short forms in full (`restart: never` as `restart: {policy: never}`): defaults merge into them."""
    return replace(worker, entries={key: _long(key, node) for key, node in worker.entries.items()})


def _long(key: str, node: Node) -> Node:
    is_word = isinstance(node, Scalar) and node.kind is Kind.TEXT
    if key == "ready" and isinstance(node, Scalar) and is_word:
        asked_for = Scalar(node.path, node.place, node.place, Kind.BOOLEAN, "true")
        return Mapping(node.path, node.place, node.label, {node.text: asked_for})
    if key in _SHORT_FORMS and isinstance(node, Scalar if key == "restart" else Scalar | Sequence):
        return long_form(node, _SHORT_FORMS[key])
    return node


def birth_hash(worker: WorkerSpec) -> int:
    """64 bits, never 0, of all that a new process gets."""
    what = {
        "account": asdict(worker.account) if worker.account else None,
        "cgroup": asdict(worker.cgroup) if worker.cgroup else None,
        "command": worker.command,
        "directory": worker.directory,
        "environment": sorted(worker.environment),
        "notify": [worker.notify, worker.health.notify_ns],  # its variables tell how often
        "output": [has_sink(worker), "" if has_sink(worker) else worker.log],
        "rlimits": sorted(worker.rlimits),
        "source": worker.source,
        "umask": worker.umask,
    }
    canonical = json.dumps(what, sort_keys=True, separators=(",", ":")).encode("ascii")
    return int.from_bytes(hashlib.sha256(canonical).digest()[:8], "big") or 1


def _judgements(fields: Fields) -> Iterator[Judgement]:
    yield partial(_check_name, fields.node)
    yield partial(_check_shared, fields.at("log"), "log")
    yield partial(_check_shared, fields.at("pid_file"), "pid_file")
    yield partial(_check_job, _inside(fields.at("ready"), "exit"))


def _inside(node: Node, key: str) -> Node:
    return node.entries.get(key, node) if isinstance(node, Mapping) else node


def _check_job(node: Node, worker: WorkerSpec) -> None:
    if worker.ready and worker.ready.exit and worker.restart.policy is Policy.ALWAYS:
        message = (
            "a job that is started again whenever it ends is never done: `restart: on-failure`, or `never`"
        )
        raise RefusedError(node, message)


def _check_shared(node: Node, key: str, worker: WorkerSpec) -> None:
    path: str = getattr(worker, key)
    if worker.instances > 1 and path and INSTANCE not in path:
        message = f"{worker.instances} instances cannot share {quoted(path)}"
        raise RefusedError(node, f"{message}: put {INSTANCE} into its name")


def check_name(name: str) -> None:
    """Raises ValueError for what cannot name a worker."""
    if not _NAME.fullmatch(name):
        what = "1 to 40 of a-z 0-9 . _ -, a letter or digit first"
        raise ValueError(f"{quoted(name)} cannot name a worker: {what}")
    if name in _RESERVED:
        raise ValueError(f"{name} cannot name a worker: to the commands it means {_RESERVED[name]}")


def _check_name(node: Node, worker: WorkerSpec) -> None:
    try:
        check_name(worker.name)
    except ValueError as error:
        raise RefusedError(node, str(error), node.label) from None


def _read_depends_on(name: str, fields: Fields, names: tuple[str, ...]) -> tuple[str, ...]:
    def read(node: Node) -> str:
        other = text(node)
        if other == name:
            raise RefusedError(node, "a worker cannot depend on itself")
        if other not in names:
            raise RefusedError(node, unknown("worker", other, names))
        return other

    return tuple(dict.fromkeys(fields.items("depends_on", read)))
