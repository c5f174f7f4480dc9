"""Guards taken out, one at a time: each is a project that the simulation has to find fault with.

A mutant changes the project for one simulated life, after the sandbox is in place, so what it calls is virtual too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from twinwatch.core import reconcile, record
from twinwatch.core.reconcile import Wait
from twinwatch.core.record import Slot
from twinwatch.linux import gate, identity, lock, process
from twinwatch.linux.gate import Gate
from twinwatch.linux.lock import LOCK_BYTE, StateLock
from twinwatch.linux.statefile import StateFile
from twinwatch.watch import guard, reserve, watcher
from twinwatch.watch.twin import Twin

Mutate = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """`profile`: the lives in which it is looked for; `lives`: so many are enough."""

    race: str
    what: str
    profile: str
    mutate: Mutate
    lives: int = 400

    @property
    def seeds(self) -> range:
        return range(1, self.lives + 1)


def replaced(target: Any, name: str, by: Any) -> Mutate:
    return lambda patch: patch.setattr(target, name, by)


def _unlocked(patch: pytest.MonkeyPatch) -> None:
    """R05, and R11 with it: a lock of the open file, which a fork shares, and children that keep what they got."""

    def flock(this: StateLock, byte: int) -> bool:
        if byte != LOCK_BYTE:
            return True
        try:
            lock.fcntl.flock(this._fd, lock.fcntl.LOCK_EX | lock.fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(this: StateLock, *_: object) -> None:
        lock.fcntl.flock(this._fd, lock.fcntl.LOCK_UN)

    patch.setattr(StateLock, "_try", flock)
    patch.setattr(StateLock, "__exit__", unlock)
    patch.setattr(gate, "close_all_but", lambda _kept: None)


def _told_at_once(patch: pytest.MonkeyPatch) -> None:
    """R17: the role is free as soon as the signal is sent."""
    convict = Twin._convict

    def convicts(this: Twin, now_ns: int) -> None:
        convict(this, now_ns)
        this._is_dead = bool(this._killed_ns)

    patch.setattr(Twin, "_convict", convicts)


def _patient(patch: pytest.MonkeyPatch) -> None:
    """R07: a recorded child is waited for, however long its gate stays shut."""
    starting = reconcile._starting
    patch.setattr(reconcile, "_starting", lambda view: starting(view) if view.has_program else Wait())


def _collected_early(patch: pytest.MonkeyPatch) -> None:
    look = process.child_status
    patch.setattr(process, "child_status", lambda pidfd, **_how: look(pidfd, reap=True))


def _in_place(patch: pytest.MonkeyPatch) -> None:
    """R01: the selector first, then the copy that it makes current."""

    def commit(this: StateFile, at: int, body: bytes, version: int) -> int:
        version = record.next_version(version)
        this._put(at, record.pack_selector(version))
        this._put(at + record.COPY_AT[version & 1], record.pack_copy(version, body))
        return version

    patch.setattr(StateFile, "_commit", commit)


def _told_afterwards(patch: pytest.MonkeyPatch) -> None:
    """R03: first the change, then its journal entry."""

    def write(this: StateFile, index: int, slot: Slot, version: int) -> int:
        sequence = this.sequence()
        new = this._commit(record.slot_at(index), record.pack_slot(slot), version)
        entry = record.JOURNAL_AT + sequence % record.JOURNAL_ENTRIES * 4
        this._put(entry, index.to_bytes(4, "little"))
        this._put(record.SEQUENCE_AT, (sequence + 1).to_bytes(8, "little"))
        return new

    patch.setattr(StateFile, "write", write)


def _believes_any_event(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guard, "is_dead", lambda _pidfd: True)


MUTANTS = (
    Mutant("R01", "the selector is written before its copy", "kills", _in_place),
    Mutant(
        "R02",
        "a reserve does not look whether a slot names it",
        "kills",
        replaced(StateFile, "naming", lambda *_: None),
    ),
    Mutant(
        "R04",
        "a claim does not compare the version",
        "kills",
        replaced(StateFile, "is_current", lambda *_: True),
    ),
    Mutant(
        "R04", "a takeover does not compare", "kills", replaced(reserve.fence, "objection", lambda *_: None)
    ),
    Mutant("R05", "the lock is inherited", "kills", _unlocked),
    Mutant(
        "R06",
        "a stopped holder of the lock is left alone",
        "ice",
        replaced(StateLock, "_end_holder", lambda *_: None),
    ),
    Mutant("R07", "a recorded child is waited for for ever", "stops", _patient),
    Mutant(
        "R10",
        "the end of the pipe is taken for a death",
        "kills",
        replaced(Gate, "wait_parent", lambda *_: True),
    ),
    Mutant(
        "R13",
        "reserves look at no heartbeat",
        "stops",
        replaced(reserve._Vigil, "is_all_still", lambda *_, **__: False),
    ),
    Mutant(
        "R14",
        "a child does not look whether it is wanted",
        "orders",
        replaced(reserve, "_is_wanted", lambda *_: True),
    ),
    Mutant("R15", "an exit is collected before it is recorded", "kills", _collected_early),
    Mutant(
        "R16",
        "a watcher that lacked something blames the record",
        "poor",
        replaced(watcher, "_is_want", lambda _error: False),
    ),
    Mutant("R17", "a role is free as soon as KILL is sent", "ice", _told_at_once),
    Mutant("R21", "an event is believed without asking the pidfd", "kills", _believes_any_event),
    Mutant(
        "P6",
        "a PID is believed without its identity",
        "pids",
        replaced(identity, "_check", lambda *_, **__: None),
    ),
)
