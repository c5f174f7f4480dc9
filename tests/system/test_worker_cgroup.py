"""A cgroup for each generation: nothing of a dead one lives beside the next, wherever it went."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from worker_kit import LivePair, entry, kill_watchers, until, wait_guarded, wait_running

from twinwatch.core.values import WATCHER_ROLES
from twinwatch.linux import cgroup

# It forks a process that leaves the session, closes all that it has, and so hides from everything else.
HIDER = """
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    os.closerange(0, 4096)
    open(sys.argv[1], "w").write(str(os.getpid()))
while True:
    signal.pause()
"""


@pytest.fixture(autouse=True)
def _needs_cgroups():
    if not cgroup.parent():
        pytest.skip("kernel lacks a cgroup v2 hierarchy that may be written")


def test_the_hidden_one_dies_with_its_generation(pair: LivePair):
    hidden = pair.directory / "hidden"
    command = [sys.executable, "-c", HIDER, str(hidden)]
    pair.configure(entry("w", command, cgroup={}))
    pair.up()
    until(lambda: hidden.exists() and hidden.read_text(), "it has hidden a process")
    slot, pid = pair.worker("w"), int(hidden.read_text())
    directory = Path(cgroup.parent(), cgroup.name_of("shop", "w", 0, 1))
    assert pid in map(int, (directory / "cgroup.procs").read_text().split())
    pidfd = os.pidfd_open(pid)
    hidden.unlink()
    pair.kill(slot.identity)
    wait_running(pair, "w", generation=2)
    assert not Path(f"/proc/{pid}/exe").exists(), "it did not outlive its generation"
    os.close(pidfd)
    until(lambda: hidden.exists() and hidden.read_text(), "the next one has hidden a process")
    pair.down()
    assert not list(Path(cgroup.parent()).glob("twinwatch.shop.*"))


def test_a_controller_that_is_not_there_is_refused_at_once(pair: LivePair):
    if not cgroup.missing(cgroup.Cgroup(memory_max=1), cgroup.parent()):
        pytest.skip("kernel lacks nothing: the memory controller is in its v2 hierarchy")
    pair.configure(entry("w", ["sleep", "1000"], cgroup={"memory": "64MiB"}))
    refused = pair.call("up", str(pair.config), check=False)
    assert refused.returncode == 1
    assert "has no controller for memory" in refused.stderr


def test_watchers_move_out_of_the_way(pair: LivePair):
    """A delegated cgroup: its processes sit in leaves, so that it may have limits for its children."""
    delegated = Path(cgroup.parent(), f"test-{os.getpid()}")
    delegated.mkdir()
    try:
        pair.configure(entry("w", ["sleep", "1000"], cgroup={}))
        join = f"echo $$ > {delegated}/cgroup.procs && exec {sys.executable} -m twinwatch up {pair.config}"
        subprocess.run(["sh", "-c", join], env=pair.environ, cwd=pair.directory, check=True, timeout=60)
        wait_guarded(pair)
        kill_watchers(pair)
        leaves = {path.name: path for path in delegated.iterdir() if path.is_dir()}
        assert set(leaves) == {"twinwatch.shop.guards", "twinwatch.shop.w.0.1"}
        assert (delegated / "cgroup.procs").read_text() == ""
        guards = set(map(int, (leaves["twinwatch.shop.guards"] / "cgroup.procs").read_text().split()))
        assert {pair.role(role).identity.pid for role in WATCHER_ROLES} <= guards
        assert pair.worker("w").identity.pid not in guards
        pair.down()
        (leaves["twinwatch.shop.guards"]).rmdir()
        assert not [path for path in delegated.iterdir() if path.is_dir()]
    finally:
        delegated.rmdir()
