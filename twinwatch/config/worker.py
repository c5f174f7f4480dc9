"""One worker: what its keys mean together, and the digest of all that a new process gets.

Everything that could fail at birth and can be known now (its program, its directory, its account)
is refused here, with the line that says so.

Invariant: `birth_hash` covers exactly what a running process cannot be given any more. Policies,
times and order are not part of it: to change them restarts nothing.
"""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace

from twinwatch.config.account import read_account
from twinwatch.config.command import check_program, read_command
from twinwatch.config.fields import (
    Fields,
    RefusedError,
    duration,
    expected,
    full_text,
    integer,
    text,
    unknown,
)
from twinwatch.config.limits import read_rlimits
from twinwatch.config.policy import read_restart, read_stop
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Kind, Mapping, Node, Scalar
from twinwatch.core.expand import INSTANCE
from twinwatch.core.spec import MILLISECOND_NS, Restart, Stop, WorkerSpec

OWN_KEYS = ("command", "instances", "depends_on")  # these have no default that workers share
INSTANCES_MAX = 1000

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.ASCII)
_RESERVED = {"a": "the watcher", "b": "the watcher", "anchor": "the anchor", "all": "every worker"}
_UMASK = re.compile(r"0[0-7]{0,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker's keys are read against."""

    folder: str  # the configuration file's
    search_path: str  # PATH, where a worker does not set its own
    names: tuple[str, ...]  # of all workers


def read_worker(name: str, around: Surroundings, fields: Fields) -> WorkerSpec:
    """One worker of the configuration, complete or with its problems reported."""
    worker = replace(
        read_settings(around, fields),
        name=name,
        command=read_command(fields),
        instances=fields.get("instances", integer(1, INSTANCES_MAX), 1),
        depends_on=_read_depends_on(name, fields, around.names),
    )
    with fields.refusals():
        _check_name(name, fields.node)
    with fields.refusals():
        _check_log(worker, fields.at("log"))
    with fields.refusals():
        check_program(worker, around.search_path, fields.at("command"))
    return replace(worker, birth_hash=birth_hash(worker))


def read_settings(around: Surroundings, fields: Fields) -> WorkerSpec:
    """The keys that `defaults` may hold too; `directory` is empty where it was refused."""
    blank = WorkerSpec("", ())
    given = "directory" in fields.node.entries
    return WorkerSpec(
        name="",
        command=(),
        directory=fields.get(
            "directory", lambda node: _directory(node, around.folder), "" if given else around.folder
        ),
        environment=fields.section("environment", _read_environment, ()),
        umask=fields.get("umask", _umask, blank.umask),
        account=read_account(fields),
        rlimits=fields.section("rlimits", read_rlimits, ()),
        log=fields.section("log", _read_log, ""),
        restart=fields.section("restart", read_restart, Restart()),
        stop=fields.section("stop", read_stop, Stop()),
        start_timeout_ns=fields.get("start_timeout", duration(MILLISECOND_NS), blank.start_timeout_ns),
    )


def lengthen(worker: Mapping) -> Mapping:
    """The short form `restart: never` as `restart: {policy: never}`, so that defaults merge into it."""
    short = worker.entries.get("restart")
    if not isinstance(short, Scalar):
        return worker
    long = Mapping(short.path, short.place, short.label, {"policy": short})
    return replace(worker, entries=worker.entries | {"restart": long})


def birth_hash(worker: WorkerSpec) -> int:
    """64 bits, never 0, of all that a new process gets."""
    what = {
        "account": asdict(worker.account) if worker.account else None,
        "command": worker.command,
        "directory": worker.directory,
        "environment": sorted(worker.environment),
        "log": worker.log,
        "rlimits": sorted(worker.rlimits),
        "umask": worker.umask,
    }
    canonical = json.dumps(what, sort_keys=True, separators=(",", ":")).encode("ascii")
    return int.from_bytes(hashlib.sha256(canonical).digest()[:8], "big") or 1


def _check_name(name: str, node: Node) -> None:
    if not _NAME.fullmatch(name):
        message = f"{quoted(name)} cannot name a worker: 1 to 40 of a-z 0-9 . _ -, a letter or digit first"
        raise RefusedError(node, message, node.label)
    if name in _RESERVED:
        message = f"{name} cannot name a worker: to the commands it means " + _RESERVED[name]
        raise RefusedError(node, message, node.label)


def _directory(node: Node, folder: str) -> str:
    given = full_text(node)
    if given.startswith("~"):
        raise RefusedError(node, "`~` is not expanded: write the absolute path")
    path = os.path.join(folder, given)
    if not os.path.isdir(path):
        raise RefusedError(node, f"directory {quoted(path)} does not exist")
    return path


def _read_environment(fields: Fields) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(fields.each(_variable)))


def _variable(name: str, node: Node) -> str:
    if not name or "=" in name:
        raise RefusedError(node, f"{quoted(name)} cannot name a variable", node.label)
    if isinstance(node, Scalar) and node.kind in {Kind.INTEGER, Kind.NUMBER}:
        return node.text
    return text(node)


def _umask(node: Node) -> int:
    if (
        not isinstance(node, Scalar)
        or node.kind not in {Kind.TEXT, Kind.INTEGER}
        or not _UMASK.fullmatch(node.text)
    ):
        raise expected("an octal umask with a leading 0, such as 022", node)
    return int(node.text, 8)


def _read_log(fields: Fields) -> str:
    return fields.require("file", _log_file, "")


def _log_file(node: Node) -> str:
    path = full_text(node)
    if path.endswith("/"):
        raise RefusedError(node, f"{quoted(path)} is a directory: name a file in it")
    if not path.startswith("/") and ".." in path.split("/"):
        raise RefusedError(node, f"{quoted(path)} may leave the log directory: give an absolute path")
    return path


def _check_log(worker: WorkerSpec, node: Node) -> None:
    if worker.instances > 1 and worker.log and INSTANCE not in worker.log:
        message = f"{worker.instances} instances cannot share {quoted(worker.log)}"
        raise RefusedError(node, f"{message}: put {INSTANCE} into its name")


def _read_depends_on(name: str, fields: Fields, names: tuple[str, ...]) -> tuple[str, ...]:
    def read(node: Node) -> str:
        other = text(node)
        if other == name:
            raise RefusedError(node, "a worker cannot depend on itself")
        if other not in names:
            raise RefusedError(node, unknown("worker", other, names))
        return other

    return tuple(dict.fromkeys(fields.items("depends_on", read)))
