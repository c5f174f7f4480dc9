"""The internal workers that a configuration needs, as workers of its own.

What is slow or heavy runs in them and not in the watchers, which guard them like any other worker. They
follow from the configuration alone: made anew each time, whatever was there before.

Invariants: the user's workers come first, in their order; a worker whose output goes through a FIFO depends
on the sink that reads it, so the sink starts before it and ends after it.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace

from twinwatch.config.worker import birth_hash
from twinwatch.core.checks import NO_HEALTH, Beat, Health
from twinwatch.core.expand import SINK_PREFIX, STAMP, fifo_source, has_sink
from twinwatch.core.spec import Backoff, PairSpec, Restart, Stop, WorkerSpec
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.linux.paths import Paths

CHECKS, LOGS, ALERTS, SINK = "checks", "logs", "alerts", "sink"
SERVICE_PREFIX = "_"

_PROGRAMS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "services")
_RESTART = Restart(backoff=Backoff(initial_ns=100 * MILLISECOND_NS, max_ns=10 * SECOND_NS))
_STOP = Stop(timeout_ns=5 * SECOND_NS)
_HEALTH = Health(heartbeat=Beat(timeout_ns=10 * SECOND_NS, misses=3))


def with_services(spec: PairSpec, paths: Paths) -> PairSpec:
    """The configuration with the internal workers that it needs, and with no other ones."""
    users = tuple(_bound(worker) for worker in spec.workers if not worker.service)
    bare = replace(spec, workers=users)
    services = (*(_service(name, paths) for name in _needed(bare)), *map(_sink, filter(has_sink, users)))
    return replace(bare, workers=users + services)


def _bound(worker: WorkerSpec) -> WorkerSpec:
    """A user's worker that depends on its sink, if it has one."""
    others = tuple(name for name in worker.depends_on if not name.startswith(SERVICE_PREFIX))
    sinks = (SINK_PREFIX + worker.name,) if has_sink(worker) else ()
    return replace(worker, depends_on=others + sinks)


def _needed(spec: PairSpec) -> Iterator[str]:
    if any(_is_checked(worker) for worker in spec.workers):
        yield CHECKS
    if any(worker.rotate for worker in spec.workers):
        yield LOGS
    if spec.alerts:
        yield ALERTS


def _is_checked(worker: WorkerSpec) -> bool:
    probes = worker.health.probes or (worker.ready is not None and worker.ready.probes)
    return bool(probes or worker.resources or worker.watch_files)


def _service(name: str, paths: Paths) -> WorkerSpec:
    boot = os.path.join(_PROGRAMS, "boot.py")
    return _finished(
        WorkerSpec(
            SERVICE_PREFIX + name,
            (sys.executable, boot, name, paths.runtime_base, paths.state_base, paths.pair),
            service=name,
            health=_HEALTH,
        )
    )


def _sink(worker: WorkerSpec) -> WorkerSpec:
    """Who reads the FIFO: the user's program where and as the worker is, or ours into the worker's log."""
    sink = WorkerSpec(
        SINK_PREFIX + worker.name,
        (sys.executable, os.path.join(_PROGRAMS, f"{STAMP}.py")),
        instances=worker.instances,
        umask=worker.umask,
        account=worker.account,
        source=fifo_source(worker),
        service=STAMP,
        log=worker.log,
        health=NO_HEALTH,
    )
    if worker.log_command:
        sink = replace(
            sink,
            command=worker.log_command,
            directory=worker.directory,
            environment=worker.environment,
            service=SINK,
            log="",
        )
    return _finished(sink)


def _finished(service: WorkerSpec) -> WorkerSpec:
    service = replace(service, restart=_RESTART, stop=_STOP)
    return replace(service, birth_hash=birth_hash(service))
