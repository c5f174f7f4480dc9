"""PID 1 of a small PID namespace, in which recorded PIDs come to belong to others.

    pid_reuse_scene.py up|down|storm DIRECTORY

Ends with 0 when all was as it should be. It reaps orphans between commands, so that PIDs become free.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live_pair import LivePair, until

from twinwatch.core.values import WATCHER_ROLES, Identity, Role
from twinwatch.linux.identity import is_alive

INNOCENT = """
import os, signal, sys
said = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    try:
        signal.signal(number, lambda number, frame: os.write(said, f"{number}\\n".encode()))
    except (OSError, ValueError):
        pass
print("ready", flush=True)
while True:
    signal.pause()
"""
NAMES = ("web", "db")
PID_MAX = 340  # the kernel gives out 300 to 339, over and over
STORM_KILLS = 60


def reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


class Innocent:
    """A process that never was the pair's, with a PID that the pair has recorded."""

    def __init__(self, directory: Path, pid: int) -> None:
        self.heard = directory / f"heard.{pid}"
        until(lambda: reap() or not Path(f"/proc/{pid}").exists(), f"PID {pid} is free")
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        command = [sys.executable, "-I", "-S", "-c", INNOCENT, str(self.heard)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.pid == pid
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def assert_unharmed(self) -> None:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        assert fields[0] == "S", f"PID {self.process.pid} is in state {fields[0]}"
        assert self.heard.read_text() == "", "it got a signal"


def started(pair: LivePair) -> LivePair:
    pair.configure("".join(map(pair.lone, NAMES)))
    pair.up()
    pair.wait_whole()
    pair.wait_at_work(*NAMES)
    return pair


def taken_over(pair: LivePair) -> list[Innocent]:
    """All guards and `web` die, and innocents get the PIDs of both watchers, all reserves and `web`."""
    identities = [*pair.everyone(), pair.worker("web").identity]
    pair.extinguish()
    pair.kill(pair.worker("web").identity)
    until(lambda: not any(map(is_alive, identities)), "all of them are dead")
    innocents = [Innocent(pair.directory, identity.pid) for identity in identities]
    assert [pair.role(role).identity.pid for role in WATCHER_ROLES] == [i.process.pid for i in innocents[:2]]
    return innocents


def play_up(pair: LivePair) -> None:
    db = pair.worker("db").identity
    innocents = taken_over(pair)
    status = pair.status()
    assert [watcher["alive"] for watcher in status["watchers"].values()] == [False, False]
    assert {worker["name"]: worker["pid"] for worker in status["workers"]} == {"web": None, "db": db.pid}
    pair.up()
    pair.wait_whole({"a": 2, "b": 2, "web": 2})
    pair.wait_at_work(*NAMES)
    assert pair.generations() == {"a": 2, "b": 2, "web": 2, "db": 1}
    assert pair.worker("db").identity == db
    theirs = {innocent.process.pid for innocent in innocents}
    ours = {identity.pid for identity in pair.everyone()} | {
        slot.identity.pid for slot in pair.workers().values()
    }
    assert not theirs & ours
    pair.kill(pair.role(Role.A).identity, pair.worker("web").identity)
    pair.wait_whole({"a": 3, "web": 3})
    pair.down()
    for innocent in innocents:
        innocent.assert_unharmed()


def play_down(pair: LivePair) -> None:
    db = pair.worker("db").identity
    innocents = taken_over(pair)
    pair.down()
    assert not is_alive(db)
    for innocent in innocents:
        innocent.assert_unharmed()


def play_storm(pair: LivePair) -> None:
    """PIDs of the dead are given to the pair's own newborn, within a few births."""
    seen: set[Identity] = set()
    for count in range(STORM_KILLS):
        labels = [("a",), ("web",), ("a", "b"), ("b", "db"), ("db",)][count % 5]
        before = pair.generations()
        slots = {role.label: pair.role(role) for role in WATCHER_ROLES} | pair.workers()
        pair.kill(*(slots[label].identity for label in labels))
        wanted = before | {label: before[label] + 1 for label in labels}
        pair.wait_whole(wanted)
        pair.wait_at_work(*NAMES)
        assert pair.generations() == wanted
        pair.assert_never_double()
        seen |= {pair.worker(name).identity for name in NAMES} | set(pair.everyone())
        reap()
    assert len(seen) > 2 * len({identity.pid for identity in seen}), (
        "PIDs were not used again: it shows nothing"
    )
    pair.down()


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.argv[1] == "storm":
        Path("/proc/sys/kernel/pid_max").write_text(str(PID_MAX))
        Path("/proc/sys/kernel/ns_last_pid").write_text("300")  # the first 300 are given out only once
    pair = started(LivePair(Path(sys.argv[2])))
    {"up": play_up, "down": play_down, "storm": play_storm}[sys.argv[1]](pair)
    assert "Traceback" not in pair.crashes(), pair.crashes()


if __name__ == "__main__":
    main()
