"""Which internal workers a configuration needs, and what they are."""

import os
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.config.services import with_services
from twinwatch.config.worker import birth_hash
from twinwatch.core.checks import Beat, Health, Probe, ProbeKind, Ready, Resources
from twinwatch.core.expand import expand, fifo_name, log_file
from twinwatch.core.spec import Account, Alert, PairSpec, Policy, Rotate, WorkerSpec
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.linux.paths import Paths

PATHS = Paths("shop", "/run/base", "/var/base")
PLAIN = WorkerSpec("web", ("sh",), directory="/srv")
PROBE = Probe(ProbeKind.TCP, "h:1")


def made(*workers: WorkerSpec, alerts: tuple[Alert, ...] = ()) -> list[WorkerSpec]:
    return list(with_services(PairSpec("shop", workers=workers, alerts=alerts), PATHS).workers)


def names(*workers: WorkerSpec, alerts: tuple[Alert, ...] = ()) -> list[str]:
    return [worker.name for worker in made(*workers, alerts=alerts)]


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ({}, []),
        ({"ready": Ready(notify=True), "health": Health(Beat(1), 1)}, []),
        ({"ready": Ready(probes=(PROBE,))}, ["_checks"]),
        ({"health": Health(probes=(PROBE,))}, ["_checks"]),
        ({"resources": Resources(threads=1)}, ["_checks"]),
        ({"watch_files": ("/x",)}, ["_checks"]),
        ({"rotate": Rotate(size=4096)}, ["_logs"]),
        ({"timestamps": True}, ["_log.web"]),
        ({"log_command": ("cat",)}, ["_log.web"]),
        (
            {"timestamps": True, "rotate": Rotate(size=4096), "watch_files": ("/x",)},
            ["_checks", "_logs", "_log.web"],
        ),
    ],
)
def test_what_is_needed(keys, needed):
    other = WorkerSpec("db", ("sh",))
    assert names(replace(PLAIN, **keys), other) == ["web", "db", *needed]


def test_alerts_need_a_service():
    assert names(PLAIN, alerts=(Alert(("fatal",), command=("sh",)),)) == ["web", "_alerts"]


def test_a_service():
    checks = made(replace(PLAIN, watch_files=("/x",)))[1]
    python, boot, *arguments = checks.command
    assert python == sys.executable
    assert os.path.isabs(boot) and boot.endswith("/twinwatch/services/boot.py") and os.path.isfile(boot)
    assert arguments == ["checks", "/run/base", "/var/base", "shop"]
    assert (checks.service, checks.directory, checks.instances, checks.account) == ("checks", "/", 1, None)
    assert checks.health == Health(heartbeat=Beat(10 * SECOND_NS, 3))
    assert (checks.restart.policy, checks.restart.limit) == (Policy.ALWAYS, None)
    backoff = checks.restart.backoff
    assert (backoff.initial_ns, backoff.max_ns) == (100 * MILLISECOND_NS, 10 * SECOND_NS)
    assert checks.stop.timeout_ns == 5 * SECOND_NS
    assert checks.birth_hash == birth_hash(checks) != made(replace(PLAIN, rotate=Rotate(1)))[1].birth_hash


ACCOUNT = Account(33, 33, (33,), "www", "/srv", "/bin/sh")


def test_a_sink_is_what_the_worker_is():
    worker = replace(
        PLAIN,
        instances=3,
        account=ACCOUNT,
        umask=0o077,
        environment=(("PATH", "/opt"),),
        log_command=("multilog", "{instance}"),
        depends_on=("db",),
    )
    web, sink = made(worker)
    assert web == replace(worker, depends_on=("db", "_log.web"))
    assert (sink.command, sink.service, sink.instances) == (("multilog", "{instance}"), "sink", 3)
    assert (sink.account, sink.umask, sink.directory) == (ACCOUNT, 0o077, "/srv")
    assert (sink.environment, sink.health) == ((("PATH", "/opt"),), Health())
    assert [expand(sink.source, n) for n in range(3)] == [fifo_name(web, n) for n in range(3)]
    assert [log_file(sink, n) for n in (0, 1)] == ["_log.web.log", "_log.web.1.log"]
    assert sink.birth_hash == birth_hash(sink)


@pytest.mark.parametrize("log", ["", "/l/{instance}.log"])
def test_a_stamp_writes_the_workers_log(log):
    worker = replace(PLAIN, instances=2, account=ACCOUNT, timestamps=True, log=log)
    web, stamp = made(worker)
    assert stamp.command[0] == sys.executable
    assert stamp.command[1].endswith("/twinwatch/services/stamp.py") and os.path.isfile(stamp.command[1])
    assert (stamp.service, stamp.directory, stamp.account) == ("stamp", "/", ACCOUNT)
    assert [log_file(stamp, n) for n in (0, 1)] == [log_file(web, n) for n in (0, 1)]
    assert [expand(stamp.source, n) for n in (0, 1)] == ["web.0.fifo", "web.1.fifo"]


def test_another_log_is_another_stamp_and_the_same_worker():
    one, other = (made(replace(PLAIN, timestamps=True, log=log)) for log in ("", "x.log"))
    assert [spec.birth_hash == twin.birth_hash for spec, twin in zip(one, other, strict=True)] == [
        True,
        False,
    ]


WORKERS = st.lists(
    st.builds(
        WorkerSpec,
        name=st.sampled_from("abcd"),
        command=st.just(("sh",)),
        instances=st.integers(1, 3),
        depends_on=st.lists(st.sampled_from("abcd"), unique=True).map(tuple),
        rotate=st.none() | st.just(Rotate(1)),
        log_command=st.sampled_from([(), ("cat",)]),
        timestamps=st.booleans(),
        watch_files=st.sampled_from([(), ("/x",)]),
    ),
    max_size=4,
    unique_by=lambda worker: worker.name,
)


@given(first=WORKERS, second=WORKERS)
def test_only_the_users_workers_matter(first, second):
    """Whatever internal workers are there already, and whatever they were made for."""
    before = with_services(PairSpec("shop", workers=tuple(first)), PATHS)
    services = tuple(worker for worker in before.workers if worker.service)
    fresh = with_services(PairSpec("shop", workers=tuple(second)), PATHS)
    assert with_services(fresh, PATHS) == fresh
    assert with_services(replace(fresh, workers=services + fresh.workers), PATHS) == fresh
    users = [worker for worker in fresh.workers if not worker.service]
    assert list(fresh.workers[: len(users)]) == users
    assert [replace(worker, depends_on=()) for worker in users] == [replace(w, depends_on=()) for w in second]
    known = {worker.name for worker in fresh.workers}
    assert {name for worker in users for name in worker.depends_on if name.startswith("_")} <= known


def test_a_worker_that_needs_no_sink_any_more_waits_for_none():
    piped = with_services(PairSpec("shop", workers=(replace(PLAIN, timestamps=True),)), PATHS)
    bare = replace(piped, workers=tuple(replace(worker, timestamps=False) for worker in piped.workers))
    assert [worker.depends_on for worker in with_services(bare, PATHS).workers] == [()]
