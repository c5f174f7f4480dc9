"""Workers that registered themselves: kept beside the wishes, and part of every configuration published.

The configuration in force has them. The file is for the next life of the pair, after `down`: one JSON object,
name to what the process said of itself, replaced whole, under the pair's operator lock, by commands alone.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from twinwatch.config.worker import birth_hash
from twinwatch.core.checks import Beat, Health
from twinwatch.core.spec import Account, PairSpec, WorkerSpec
from twinwatch.linux.paths import Paths

LAYOUT = 1


def read(paths: Paths) -> dict[str, WorkerSpec]:
    """All that are registered; none where nothing (readable) is kept."""
    try:
        with open(paths.registered, encoding="utf-8") as file:
            kept = json.load(file)
        return {name: _worker(name, said) for name, said in kept["workers"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write(paths: Paths, workers: dict[str, WorkerSpec]) -> None:
    """Durably: complete on disk before it gets its name."""
    document = {"layout": LAYOUT, "workers": {name: _said(worker) for name, worker in workers.items()}}
    draft = f"{paths.registered}.draft"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, paths.registered)


def with_registered(spec: PairSpec, registered: Iterable[WorkerSpec]) -> PairSpec:
    """The configuration with the registered workers behind its own; a name in the file comes first."""
    own = tuple(worker for worker in spec.workers if not worker.registered)
    names = {worker.name for worker in own}
    return replace(spec, workers=own + tuple(worker for worker in registered if worker.name not in names))


def of(spec: PairSpec) -> dict[str, WorkerSpec]:
    """Those of a configuration in force, by name."""
    return {worker.name: worker for worker in spec.workers if worker.registered}


def worker(
    name: str,
    command: tuple[str, ...],
    directory: str,
    timeout_ns: int,
    misses: int,
    *,
    account: Account | None = None,
) -> WorkerSpec:
    """What a registration comes to."""
    spec = WorkerSpec(
        name,
        command,
        directory=directory,
        account=account,
        health=Health(heartbeat=Beat(timeout_ns, misses)),
        registered=True,
    )
    return replace(spec, birth_hash=birth_hash(spec))


def _said(spec: WorkerSpec) -> dict[str, object]:
    beat = spec.health.heartbeat or Beat(0)
    return {
        "command": spec.command,
        "directory": spec.directory,
        "timeout_ns": beat.timeout_ns,
        "misses": beat.misses,
        "account": asdict(spec.account) if spec.account else None,
    }


def _worker(name: str, said: dict[str, object]) -> WorkerSpec:
    command, account = said["command"], said.get("account")
    if not isinstance(command, list):
        raise TypeError(name)
    return worker(
        name,
        tuple(map(str, command)),
        str(said["directory"]),
        int(str(said["timeout_ns"])),
        int(str(said["misses"])),
        account=_account(account) if isinstance(account, dict) else None,
    )


def _account(said: dict[str, Any]) -> Account:
    return Account(**said | {"groups": tuple(said["groups"])})
