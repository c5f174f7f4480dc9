"""The published configuration on disk: what watchers read instead of the user's YAML.

A snapshot is one line of canonical JSON: the layout's version, a checksum, the `PairSpec`. It never
changes once its name exists; a new configuration is a new generation beside it.

Invariants: the name `config.N.json` appears only when its bytes are on disk; whoever is still at one
of the last KEPT generations can read it. Watchers import this module: json, os and core only.
"""

import json
import os
from binascii import crc32
from collections.abc import Callable
from dataclasses import asdict

from twinwatch.core.checks import Action, Beat, Health, Probe, ProbeKind, Ready, Resources
from twinwatch.core.hints import Any, TypeVar
from twinwatch.core.spec import (
    Account,
    Alert,
    Anchor,
    Backoff,
    Cgroup,
    Group,
    Hook,
    Limit,
    OnUnknown,
    PairSpec,
    Policy,
    Restart,
    Rotate,
    Stop,
    Strategy,
    Watch,
    WorkerSpec,
)

T = TypeVar("T")

LAYOUT = 2
KEPT = 3

_DRAFT = "config.draft"
_PREFIX, _SUFFIX = "config.", ".json"


class SnapshotError(Exception):
    """A snapshot that is absent, damaged or of another layout; one line that says which."""


def encode(spec: PairSpec) -> bytes:
    """The bytes of a snapshot: equal for equal configurations."""
    body = {name: value for name, value in asdict(spec).items() if not name.startswith("_")}
    return _canonical({"checksum": _checksum(body), "layout": LAYOUT, "spec": body}) + b"\n"


def decode(data: bytes) -> PairSpec:
    """The configuration in a snapshot. Raises SnapshotError."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise SnapshotError("damaged: not JSON") from None
    if not isinstance(document, dict) or "layout" not in document:
        raise SnapshotError("damaged: not a snapshot")
    if document["layout"] != LAYOUT:
        raise SnapshotError(f"has layout {document['layout']}, this version reads {LAYOUT}: publish it again")
    if document.get("checksum") != _checksum(document.get("spec")):
        raise SnapshotError("damaged: its checksum does not match")
    try:
        return _pair(document["spec"])
    except (TypeError, KeyError, ValueError) as error:
        raise SnapshotError(f"does not fit this version ({error}): publish it again") from None


def write(directory: str, spec: PairSpec) -> str:
    """Write a snapshot durably, drop those out of use, return its path.

    The caller holds the pair's publishing lock, so there is one draft; what a killed writer left of
    it is overwritten.
    """
    path = _path(directory, spec.generation)
    draft = os.path.join(directory, _DRAFT)
    _write_durably(draft, encode(spec))
    os.rename(draft, path)
    _sync_directory(directory)
    _remove_old(directory, spec.generation)
    return path


def exists(directory: str, generation: int) -> bool:
    """Whether there is a file of this generation: one system call."""
    return os.access(_path(directory, generation), os.F_OK)


def read(directory: str, generation: int) -> PairSpec:
    """The snapshot of one generation. Raises SnapshotError that names the file."""
    path = _path(directory, generation)
    try:
        with open(path, "rb") as file:
            spec = decode(file.read())
    except OSError as error:  # any errno: there is no configuration to act on
        raise SnapshotError(f"{path}: cannot be read: {error.strerror}") from error
    except SnapshotError as error:
        raise SnapshotError(f"{path}: {error}") from None
    if spec.generation != generation:
        raise SnapshotError(f"{path}: holds generation {spec.generation}")
    return spec


def _path(directory: str, generation: int) -> str:
    return os.path.join(directory, f"{_PREFIX}{generation}{_SUFFIX}")


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _checksum(body: object) -> int:
    return crc32(_canonical(body))


def _write_durably(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_old(directory: str, newest: int) -> None:
    older = sorted(generation for generation in _generations(directory) if generation < newest)
    for generation in older[: -(KEPT - 1)]:
        os.unlink(_path(directory, generation))


def _generations(directory: str) -> list[int]:
    middles = [name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for name in os.listdir(directory)]
    return [int(middle) for middle in middles if middle.isdecimal()]


def _pair(fields: dict[str, Any]) -> PairSpec:
    nested = {
        "watch": Watch(**fields["watch"]),
        "anchor": Anchor(**fields["anchor"]),
        "workers": tuple(map(_worker, fields["workers"])),
        "groups": tuple(map(_group, fields["groups"])),
        "alerts": tuple(Alert(**_frozen(alert)) for alert in fields["alerts"]),
    }
    return PairSpec(**_frozen(fields) | nested)


def _group(fields: dict[str, Any]) -> Group:
    nested = {"strategy": Strategy(fields["strategy"]), "limit": _maybe(Limit, fields["limit"])}
    return Group(**_frozen(fields) | nested)


def _worker(fields: dict[str, Any]) -> WorkerSpec:
    nested = {
        "account": _maybe(Account, fields["account"]),
        "restart": _restart(fields["restart"]),
        "stop": Stop(**fields["stop"]),
        "rotate": _maybe(Rotate, fields["rotate"]),
        "ready": _ready(fields["ready"]),
        "health": _health(fields["health"]),
        "resources": _resources(fields["resources"]),
        "cgroup": _maybe(Cgroup, fields["cgroup"]),
        "before_start": _maybe(Hook, fields["before_start"]),
        "after_exit": _maybe(Hook, fields["after_exit"]),
    }
    return WorkerSpec(**_frozen(fields) | nested)


def _maybe(kind: Callable[..., T], fields: dict[str, Any] | None) -> T | None:
    return None if fields is None else kind(**_frozen(fields))


def _probe(fields: dict[str, Any]) -> Probe:
    return Probe(**_frozen(fields) | {"kind": ProbeKind(fields["kind"])})


def _ready(fields: dict[str, Any] | None) -> Ready | None:
    if fields is None:
        return None
    return Ready(**fields | {"probes": tuple(map(_probe, fields["probes"]))})


def _health(fields: dict[str, Any]) -> Health:
    nested = {"heartbeat": _maybe(Beat, fields["heartbeat"]), "probes": tuple(map(_probe, fields["probes"]))}
    return Health(**fields | nested)


def _resources(fields: dict[str, Any] | None) -> Resources | None:
    if fields is None:
        return None
    return Resources(**_frozen(fields) | {"action": Action(fields["action"])})


def _restart(fields: dict[str, Any]) -> Restart:
    nested = {
        "policy": Policy(fields["policy"]),
        "on_unknown": OnUnknown(fields["on_unknown"]),
        "backoff": Backoff(**fields["backoff"]),
        "limit": _maybe(Limit, fields["limit"]),
    }
    return Restart(**_frozen(fields) | nested)


def _frozen(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples they were."""
    return {key: _tuples(value) for key, value in fields.items()}


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
