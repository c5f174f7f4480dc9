"""PostgreSQL as a user of its own: each of its processes has its own session, so a group does not hold them."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_kit import PATIENT, check_service, free_port, program_of
from worker_kit import LivePair, entry, try_kill, until

pytestmark = pytest.mark.root
PLACES = [str(place) for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


class Cluster:
    """A data directory in a folder that its user may enter, which a test's own folder is not."""

    def __init__(self) -> None:
        names = {user.pw_name: user for user in pwd.getpwall()}
        self.user = names.get("postgres") or names["nobody"]
        self.port = free_port()
        initdb, self.postgres, self.psql = (
            program_of(name, *PLACES) for name in ("initdb", "postgres", "psql")
        )
        self.room = Path(tempfile.mkdtemp(prefix="twinwatch-"))
        os.chown(self.room, self.user.pw_uid, self.user.pw_gid)
        command = [
            initdb,
            "-D",
            f"{self.room}/data",
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-sync",
            "--no-locale",
        ]
        account = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        subprocess.run(command, cwd="/", check=True, capture_output=True, **account)

    def command(self) -> list[str]:
        where = ["-D", f"{self.room}/data", "-k", str(self.room), "-p", str(self.port)]
        return [self.postgres, *where, "-c", "listen_addresses=127.0.0.1"]

    def query(self, text: str) -> str:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        done = subprocess.run(
            [self.psql, *where, "-Atc", text], capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout.strip()


@pytest.fixture
def cluster(pair: LivePair) -> Iterator[Cluster]:
    made = Cluster()
    yield made
    if pair.runtime.exists():
        for slot in pair.workers().values():
            try_kill(slot.identity)
    shutil.rmtree(made.room, ignore_errors=True)


def test_postgresql(pair: LivePair, cluster: Cluster):
    """Processes of a killed postmaster leave by themselves in a moment: that is waited for, then it comes back."""
    stop = {"signal": "INT", "timeout": "30s"}
    keys = {"user": cluster.user.pw_name, "directory": "/", "restart": PATIENT, "stop": stop}
    pair.configure(entry("pg", cluster.command(), **keys))
    pair.up()
    until(lambda: cluster.query("select 1") == "1", "PostgreSQL serves")
    cluster.query("create table t as select 42 as n")
    check_service(pair, "pg", lambda: cluster.query("select n from t") == "42", has_children=True)
    assert pair.worker("pg").exit.code == 0, "a fast shutdown"
