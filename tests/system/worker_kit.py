"""What the tests of single workers share: YAML from values, phases and events by label, FIFOs as levers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live_pair import LivePair, until

from twinwatch.core.record import Slot
from twinwatch.core.values import WATCHER_ROLES, Identity, Phase, Role
from twinwatch.linux.identity import ProcessGone, is_alive, is_dead, open_process
from twinwatch.linux.remains import token_holders

__all__ = ["LivePair", "until"]

ROOM = Path(__file__).resolve().parent
TIRELESS = {"backoff": {"burst": 1000}}
SLEEP = ["sleep", "100000"]
Event = dict[str, object]


def entry(name: str, command: list[str], **keys: object) -> str:
    """YAML of one worker, from JSON values."""
    return f"  {name}: {json.dumps({'command': command, **keys})}\n"


def program(name: str, *arguments: object) -> list[str]:
    """A command that runs a helper program of this folder in an interpreter that starts quickly."""
    return [sys.executable, "-I", "-S", str(ROOM / name), *map(str, arguments)]


def wait_phase(pair: LivePair, label: str, *phases: Phase, generation: int = 0) -> Slot:
    """The worker's slot as soon as it is in one of these phases, with at least this generation."""
    found: list[Slot] = []

    def is_there() -> bool:
        slot = pair.workers().get(label) if (pair.runtime / "state").exists() else None
        if slot is not None and slot.phase in phases and slot.generation >= generation:
            found.append(slot)
        return bool(found)

    until(is_there, f"{label} is {[phase.name for phase in phases]} in generation {generation} or later")
    return found[0]


def wait_running(pair: LivePair, *labels: str, generation: int = 0) -> list[Slot]:
    return [wait_phase(pair, label, Phase.RUNNING, generation=generation) for label in labels]


def changes(pair: LivePair, label: str) -> list[Event]:
    """All changes of one slot, in the order in which they were written."""
    return [event for event in pair.events() if event["event"] == "phase" and event["slot"] == label]


def wait_change(pair: LivePair, label: str, new: str, generation: int = 0) -> Event:
    """The first event that says that this slot is `new`, with at least this generation."""
    found: list[Event] = []

    def is_told() -> bool:
        found.extend(
            event
            for event in changes(pair, label)
            if event["new"] == new and int(str(event["generation"])) >= generation
        )
        return bool(found)

    until(is_told, f"an event says that {label} is {new}")
    return found[0]


def changed_since(pair: LivePair, sequence: int) -> list[str]:
    """Labels of the slots in the order in which they were changed: the journal, not somebody's clock."""
    slots = {index: pair.state.slot(index).label for index in range(pair.state.header().slots)}
    return [slots[index] for index in pair.state.journal_tail(pair.state.sequence() - sequence)]


def shown(pair: LivePair, label: str) -> dict[str, object]:
    """One worker as `status --json` shows it."""
    name, _, instance = label.partition(":")
    workers: list[dict[str, object]] = pair.status()["workers"]
    return next(w for w in workers if w["name"] == name and w["instance"] == int(instance or 0))


def reserves(pair: LivePair) -> dict[Role, list[Identity]]:
    """Living reserves, without those that have just become a worker or a watcher."""
    named = {slot.identity for slot in (*pair.workers().values(), *map(pair.role, WATCHER_ROLES))}
    return {role: [i for i in pair.reserves(role) if i not in named] for role in WATCHER_ROLES}


def wait_guarded(pair: LivePair) -> None:
    """Wait until both watchers watch, each with its two reserves, whatever the workers do."""

    def is_guarded() -> bool:
        slots = [pair.role(role) for role in WATCHER_ROLES]
        watch = all(slot.phase is Phase.RUNNING and is_alive(slot.identity) for slot in slots)
        return watch and all(len(found) == 2 for found in reserves(pair).values())

    until(is_guarded, "both watchers watch, with their reserves")


def kill_watchers(pair: LivePair, *roles: Role) -> None:
    """Kill watchers (both, if none is named) in one burst, and wait until their successors are guarded."""
    wait_guarded(pair)
    killed = {role: pair.role(role) for role in roles or WATCHER_ROLES}
    pair.kill(*(slot.identity for slot in killed.values()))
    until(
        lambda: all(pair.role(role).generation > slot.generation for role, slot in killed.items()),
        "the killed ones have successors",
    )
    wait_guarded(pair)


def kill_guards(pair: LivePair) -> None:
    """Kill both watchers and all their reserves; nobody is left who could bring anything back.

    All are stopped before the first is killed: a reserve that takes over forks others, which no list names yet.
    """
    wait_guarded(pair)
    log = str(pair.kept / "watchers.log")
    stopped: dict[int, int] = {}

    def strangers() -> list[int]:
        known = {slot.identity.pid for slot in pair.workers().values()} | set(stopped)
        return [pid for pid in token_holders(log) if pid not in known]

    while new := strangers():
        for pid in new:
            stopped[pid] = os.pidfd_open(pid)
            signal.pidfd_send_signal(stopped[pid], signal.SIGSTOP)
    for pidfd in stopped.values():
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    for pidfd in stopped.values():
        until(lambda fd=pidfd: is_dead(fd), "a guard is dead")
        os.close(pidfd)


def try_kill(identity: Identity, number: int = signal.SIGKILL) -> None:
    try:
        pidfd = open_process(identity)
    except ProcessGone:
        return
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


@contextmanager
def background(pair: LivePair, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """`twinwatch ARGUMENTS` while the test goes on; the test waits for it with `communicate`."""
    with subprocess.Popen(
        [sys.executable, "-m", "twinwatch", *arguments],
        env=pair.environ,
        cwd=pair.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as call:
        try:
            yield call
        finally:
            if call.poll() is None:
                call.kill()


class Lever:
    """A FIFO: whoever reads it to its end waits until the test lets go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._fd = -1

    def hold(self) -> None:
        """Wait until the reader is there."""
        self._fd = os.open(self.path, os.O_WRONLY)

    def release(self) -> None:
        os.close(self._fd)
        self._fd = -1


def status_field(pid: int, name: str) -> str:
    """One line of `/proc/PID/status`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))
