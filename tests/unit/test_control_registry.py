"""Registered workers, as they are kept and as they become part of a configuration."""

import json
import os
import stat
from pathlib import Path

import pytest

from twinwatch.config.worker import birth_hash
from twinwatch.control import register, registry
from twinwatch.control.errors import ControlError
from twinwatch.core.checks import Beat
from twinwatch.core.spec import Account, PairSpec, WorkerSpec
from twinwatch.core.timing import SECOND_NS
from twinwatch.linux.paths import Paths

NOBODY = Account(65534, 65534, (65534,), "nobody", "/nonexistent", "/bin/sh")
KEPT = {"command": ["run"], "directory": "/", "timeout_ns": 1, "misses": 1}


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "lib" / "shop").mkdir(parents=True)
    return Paths("shop", str(tmp_path / "run"), str(tmp_path / "lib"))


def job(name="job", **changes):
    said = {"command": ("run", "a b"), "directory": "/srv", "timeout_ns": SECOND_NS, "misses": 2} | changes
    return registry.worker(name, **said)


def test_what_a_registration_comes_to():
    worker = job()
    assert (worker.name, worker.command, worker.directory) == ("job", ("run", "a b"), "/srv")
    assert (worker.health.heartbeat, worker.registered) == (Beat(SECOND_NS, 2), True)
    assert worker.birth_hash == birth_hash(worker)
    assert job(account=NOBODY).birth_hash != worker.birth_hash
    assert job(timeout_ns=1, misses=9).birth_hash == worker.birth_hash, "a new process gets the same"


def test_what_is_written_is_what_is_read(paths):
    workers = {"job": job(), "other": job("other", account=NOBODY, command=("x",), directory="/")}
    registry.write(paths, workers)
    assert registry.read(paths) == workers
    assert stat.S_IMODE(os.stat(paths.registered).st_mode) == 0o600
    assert os.listdir(paths.state) == ["registered.json"]
    registry.write(paths, {})
    assert registry.read(paths) == {}


def test_a_draft_that_was_left_is_no_obstacle(paths):
    Path(f"{paths.registered}.draft").write_text("{" * 1000)
    registry.write(paths, {"job": job()})
    assert registry.read(paths) == {"job": job()}
    assert os.listdir(paths.state) == ["registered.json"]


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "[1]",
        "{}",
        json.dumps({"workers": [1]}),
        json.dumps({"workers": {"job": None}}),
        json.dumps({"workers": {"job": {}}}),
        json.dumps({"workers": {"job": KEPT | {"command": "run"}}}),
        json.dumps({"workers": {"job": KEPT | {"misses": "many"}}}),
        json.dumps({"workers": {"job": KEPT | {"account": {"uid": 1}}}}),
    ],
)
def test_what_cannot_be_read_names_nobody(paths, kept):
    Path(paths.registered).write_text(kept)
    assert registry.read(paths) == {}
    assert registry.with_registered(PairSpec("shop"), ()) == PairSpec("shop")


def test_they_stand_behind_the_workers_of_the_file():
    web = WorkerSpec("web", ("w",))
    both = (job(), job("web"))
    spec = registry.with_registered(PairSpec("shop", workers=(web,)), both)
    assert spec.workers == (web, job()), "a name in the file comes first"
    assert registry.with_registered(spec, both) == spec, "twice is once"
    assert registry.of(spec) == {"job": job()}
    assert registry.with_registered(spec, ()).workers == (web,), "who left is not kept"


def test_without_a_heartbeat_file_nothing_is_registered(paths):
    """Its directory is gone, or full: it could never say that it lives."""
    with pytest.raises(ControlError, match=r"cannot make .*/run/shop.workers/job.0: see that"):
        register._make_heartbeat(paths, job(), os.geteuid())


def test_who_has_no_account_is_not_guarded():
    assert register.account_of(os.geteuid()) is None
    with pytest.raises(ControlError, match="UID 4000000000 has no account on this machine"):
        register.account_of(4_000_000_000)
