"""A configuration as a user writes it, and what it becomes."""

import hashlib
import os
import pwd
import re
from pathlib import Path

import pytest
from config_place import ENVIRON, Place

from twinwatch.config.load import load
from twinwatch.core.spec import Backoff, Limit, OnUnknown, Policy, Restart, Stop, Watch, WorkerSpec

ME = pwd.getpwuid(os.geteuid())
DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("config"))


# --- what it becomes


def test_the_smallest_configuration(place):
    spec = place.load("pair: shop\n")
    assert (spec.name, spec.watch, spec.workers, spec.generation, spec.places) == ("shop", Watch(), (), 0, ())
    assert spec.environment == (("LANG", "C.UTF-8"), ("PATH", "/usr/bin:/bin"))


def test_the_source_is_the_file_behind_links(place):
    place.load("pair: shop\n")
    link = place.folder / "link.yaml"
    link.symlink_to(place.file)
    spec = load(str(link), ENVIRON)
    status = place.file.stat()
    assert (spec.source, spec.source_inode, spec.source_device) == (
        str(place.file),
        status.st_ino,
        status.st_dev,
    )
    assert spec.digest == hashlib.sha256(b"pair: shop\n").hexdigest()


def test_a_worker_with_nothing_but_a_command(place):
    worker = place.worker("")
    assert worker == WorkerSpec("w", ("sh",), directory=str(place.folder), birth_hash=worker.birth_hash)
    assert worker.birth_hash > 0


def test_a_worker_with_every_key(place):
    (place.folder / "data").mkdir(exist_ok=True)
    spec = place.load("""
pair: shop
watch: {interval: 100ms, timeout: 1.5s, reserve: 8}
workers:
  web:
    command: sh -c 'echo "a b"' {instance}
    instances: 3
    directory: data
    environment: {PORT: 8080, RATIO: 0.50, MODE: "022", EMPTY: "", N: 0x10}
    umask: 027
    rlimits: {nofile: 1024, core: unlimited, as: {soft: 64MiB, hard: 1GB}}
    log: {file: "web-{instance}.log"}
    restart:
      policy: on-failure
      success_codes: [3, 0, 3]
      on_unknown: hold
      backoff: {initial: 1s, max: 1m30s, factor: 1.5, jitter: 0, reset: 1h, burst: 0}
      limit: {restarts: 64, within: 1d}
    stop: {signal: SIGINT, timeout: 0}
    depends_on: [db, db]
    start_timeout: 250ms
  db: {command: [/bin/sh]}
""")
    assert spec.watch == Watch(100_000_000, 1_500_000_000, 8)
    worker = spec.workers[0]
    assert worker.command == ("sh", "-c", 'echo "a b"', "{instance}")
    assert (worker.instances, worker.umask, worker.log) == (3, 0o027, "web-{instance}.log")
    assert worker.directory == str(place.folder / "data")
    expected = {"PORT": "8080", "RATIO": "0.50", "MODE": "022", "EMPTY": "", "N": "0x10"}
    assert worker.environment == tuple(sorted(expected.items()))
    assert worker.rlimits == ((4, -1, -1), (7, 1024, 1024), (9, 64 * 2**20, 10**9))
    backoff = Backoff(10**9, 90 * 10**9, 1.5, 0.0, 3600 * 10**9, 0)
    limit = Limit(64, 86400 * 10**9)
    assert worker.restart == Restart(Policy.ON_FAILURE, (0, 3), OnUnknown.HOLD, backoff, limit)
    assert worker.stop == Stop(2, 0)
    assert (worker.depends_on, worker.start_timeout_ns) == (("db",), 250_000_000)


def test_defaults_merge_key_by_key(place):
    spec = place.load("""
pair: p
defaults:
  environment: {A: 1, B: 1}
  restart: {policy: never, backoff: {initial: 1s}}
  stop: {timeout: 3s}
workers:
  plain: {command: [sh]}
  own:
    command: [sh]
    environment: {B: 2}
    restart: always
    stop: {signal: HUP}
""")
    plain, own = spec.workers
    assert plain.environment == (("A", "1"), ("B", "1"))
    assert plain.restart == Restart(Policy.NEVER, backoff=Backoff(initial_ns=10**9))
    assert own.environment == (("A", "1"), ("B", "2"))
    assert own.restart == Restart(Policy.ALWAYS, backoff=Backoff(initial_ns=10**9))
    assert own.stop == Stop(1, 3 * 10**9)


def test_defaults_in_short_form_are_merged_under_the_long_one(place):
    text = "pair: p\ndefaults: {restart: never}\nworkers: {w: {command: [sh], restart: {on_unknown: hold}}}\n"
    assert place.load(text).workers[0].restart == Restart(Policy.NEVER, on_unknown=OnUnknown.HOLD)


def test_aliases_are_welcome(place):
    spec = place.load("pair: p\nworkers:\n  x: &x {command: [sh]}\n  y: *x\n")
    assert [worker.name for worker in spec.workers] == ["x", "y"]


@pytest.mark.parametrize("signal", ["TERM", "SIGTERM", "15"])
def test_signals_by_name_and_number(place, signal):
    assert place.worker(f"stop: {{signal: {signal}}}").stop.signal == 15


@pytest.mark.parametrize(
    ("text", "value"), [("022", 0o22), ('"022"', 0o22), ("0", 0), ("0777", 0o777), ("007", 7)]
)
def test_umask_is_octal_however_yaml_reads_it(place, text, value):
    assert place.worker(f"umask: {text}").umask == value


@pytest.mark.parametrize(
    ("text", "value_ns"),
    [
        ("500ms", 500_000_000),
        ("2s", 2_000_000_000),
        ("1.5s", 1_500_000_000),
        ("0.000000001s", 1),
        ("1m", 60_000_000_000),
        ("1h30m", 5400_000_000_000),
        ("1m500ms", 60_500_000_000),
        ("1d", 86_400_000_000_000),
        ("0s", 0),
        ("0", 0),
    ],
)
def test_durations(place, text, value_ns):
    assert place.worker(f"stop: {{timeout: {text}}}").stop.timeout_ns == value_ns


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1000", 1000),
        ("10B", 10),
        ("512KiB", 512 * 1024),
        ("1.5MiB", 3 * 2**19),
        ("1GB", 10**9),
        ("1TiB", 2**40),
    ],
)
def test_sizes(place, text, value):
    assert place.worker(f"rlimits: {{fsize: {text}}}").rlimits == ((1, value, value),)


# --- programs


def test_a_bare_program_is_searched_on_the_workers_own_path(place):
    folder = place.folder / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "only-here").write_text("#!/bin/sh\n")
    (folder / "only-here").chmod(0o755)
    keys = "command: [only-here]\n    environment: {PATH: bin}"
    text = f"pair: p\nworkers:\n  w:\n    {keys}\n"
    assert place.load(text).workers[0].command == ("only-here",)
    (message,) = place.problems("pair: p\nworkers: {w: {command: [only-here]}}\n")
    assert message == "2:24: workers.w.command: program 'only-here' is not on the PATH ('/usr/bin:/bin')"


def test_a_relative_program_starts_at_the_directory(place):
    (place.folder / "run").write_text("#!/bin/sh\n")
    (place.folder / "run").chmod(0o644)
    (message,) = place.problems("pair: p\nworkers: {w: {command: ./run}}\n")
    assert message.endswith("/./run' is not executable: chmod +x it")
    (place.folder / "run").chmod(0o755)
    assert place.load("pair: p\nworkers: {w: {command: ./run}}\n").workers[0].command == ("./run",)


def test_a_program_is_looked_for_once_per_instance(place):
    for instance in (0, 1):
        program = place.folder / f"serve-{instance}"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    text = "pair: p\nworkers: {w: {command: ['./serve-{instance}'], instances: %d}}\n"
    assert place.load(text % 2).workers[0].instances == 2
    (message,) = place.problems(text % 3)
    assert re.search(r"serve-2' does not exist$", message)


# --- accounts


def test_naming_oneself_changes_nothing_but_for_root(place):
    worker = place.worker(f"user: {ME.pw_name}")
    if os.geteuid() == 0:
        assert worker.account is not None
        assert (worker.account.uid, worker.account.name, worker.account.home) == (0, ME.pw_name, ME.pw_dir)
    else:
        assert worker.account is None


def test_root_looks_users_and_groups_up(place, monkeypatch):
    other = next(user for user in pwd.getpwall() if user.pw_uid not in {0, ME.pw_uid})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("twinwatch.config.source._check_trust", lambda *_: None)
    for user in (other.pw_name, other.pw_uid):
        account = place.worker(f"user: {user}").account
        assert account is not None
        assert (account.uid, account.gid, account.shell) == (other.pw_uid, other.pw_gid, other.pw_shell)
        assert other.pw_gid in account.groups
    account = place.worker(f"user: {other.pw_name}\n    group: 0").account
    assert account is not None
    assert (account.gid, 0 in account.groups) == (0, True)
    assert place.worker("group: 0").account.uid == 0


def test_others_cannot_become_somebody_else(place, monkeypatch):
    root = pwd.getpwuid(0).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(os, "getegid", lambda: 4242)
    assert place.of_worker(f"user: {root}\n    group: 0") == [
        f"5:11: user: only root can run a worker as '{root}': this is uid 4242",
        "6:12: group: only root can run a worker in group 'root': this is gid 4242",
    ]


# --- what a running process cannot be given


def test_the_birth_hash_covers_what_a_process_gets_and_nothing_else(place):
    plain = place.worker("").birth_hash
    assert place.worker("").birth_hash == plain
    unseen = ("instances: 3", "restart: never", "stop: {timeout: 1s}", "start_timeout: 1s")
    assert {place.worker(keys).birth_hash for keys in unseen} == {plain}
    seen = (
        "umask: 077",
        "directory: /",
        "environment: {A: 1}",
        "rlimits: {nofile: 64}",
        "log: {file: x.log}",
    )
    hashes = {place.worker(keys).birth_hash for keys in seen} | {plain}
    assert len(hashes) == len(seen) + 1
    assert all(0 < value < 2**64 for value in hashes)


# --- docs/configuration.md


def test_the_documented_example_is_loaded(place):
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (place.folder / "www").mkdir(exist_ok=True)
    spec = place.load(text, {"PATH": os.environ["PATH"]})
    assert [worker.name for worker in spec.workers] == ["db", "schema", "web", "import"]
    db, schema, web, job = spec.workers
    assert (len(db.ready.probes), schema.ready.exit, bool(job.rotate)) == (1, True, True)
    assert [len(found) for found in (web.health.probes, spec.groups, spec.alerts)] == [2, 1, 2]


def test_every_key_is_documented(place):
    """Each key that some mapping of the file knows, as the answers to a wrong one list them."""
    document = DOCUMENT.read_text()
    wrong = "{zzz: 1}"
    item = f"{{zzz: 1, http: {wrong}}}, {{tcp: {wrong}}}, {{exec: {wrong}}}, {{notify: {wrong}}}, {{heartbeat: {wrong}}}"
    found = place.problems(
        f"zzz: 1\npair: p\nwatch: {wrong}\nanchor: {wrong}\nworkers:\n  w: {{command: [sh], zzz: 1, stop: {wrong}, cgroup: {wrong},\n"
        f"    log: {{zzz: 1, rotate: {wrong}}}, ready: {wrong}, health: [{item}], before_start: {wrong},\n"
        f"    resources: {{zzz: 1, action: {wrong}}}, rlimits: {{nofile: {wrong}}},\n"
        f"    restart: {{zzz: 1, backoff: {wrong}, limit: {wrong}}}}}\n"
        f"groups: {{g: {wrong}}}\nalerts: [{wrong}]\n"
    )
    lists = [line.partition("; known: ")[2] for line in found if "unknown key" in line]
    keys = {key for known in lists for key in known.split(", ")}
    assert (len(lists), len(keys)) == (24, 91)
    assert [key for key in sorted(keys) if f"`{key}`" not in document] == []
