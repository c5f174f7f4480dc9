"""What must be so at every step, judged by what the kernel knows and no process of the pair does.

Each complaint names the promise (P1 ... P9, see `docs/simulation.md`) that was broken. The observer reads the
bytes of the state file as they are, never through a process's memory.
"""

import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from twinwatch.core import record
from twinwatch.core.record import Damage, Header, Slot
from twinwatch.core.spec import Policy
from twinwatch.core.values import FIRST_WORKER_SLOT, Desired, Ending, Health, Identity, Phase, Role
from twinwatch.linux.lock import LOCK_BYTE
from virtual.files import Inode
from virtual.kernel import Kernel, Observer
from virtual.process import Process
from virtual.world import TIMEOUT_NS, World

_HARMLESS = frozenset({0, signal.SIGCONT, signal.SIGUSR1})
_EXCUSED_NS = 6 * TIMEOUT_NS  # after it was held, somebody may have been taken for hung
_ROLE_OF_COMM = {"twinwatch-a": Role.A, "twinwatch-b": Role.B}


@dataclass
class Known:
    """One record, as it was last made current, and the process that it names."""

    version: int = 0
    slot: Slot = field(default_factory=Slot)
    process: Process | None = None
    unwanted_step: int = 0  # since when it is not to run
    at_ns: int = 0  # when it was seen to be made current


def _holds(by: Process, node: Any) -> bool:
    """Whether a process has the state lock, of whatever kind it is."""
    shared = any(what in node.flocks for what, _ in by.fds.values())
    return shared or any(
        lock.owner is by and lock.start <= LOCK_BYTE < lock.end for lock in node.record_locks
    )


class Watchful(Observer):
    """Sees one world. `complaints` are broken promises; `marks` count what was reached."""

    def __init__(self, kernel: Kernel, world: World) -> None:
        self._kernel = kernel
        self._world = world
        self.complaints: list[str] = []
        self.marks: Counter[str] = Counter()
        self.births: list[tuple[str, int, int, int]] = []  # (worker, instance, generation, PID)
        self.told_to_stop: dict[str, int] = {}  # worker: acknowledged at
        self.is_down = False
        self._states: dict[Inode, dict[int, Known]] = {}
        self._done_well: set[str] = set()  # jobs whose program ended with 0
        self._node = self._kernel.files.find(f"{world.paths.runtime}/state")
        self.learn(self._node)

    # ------------------------------------------------------------ the state file

    def node(self) -> Inode:
        """The file at the path; while it is lost, the one that was there."""
        with suppress(FileNotFoundError):
            self._node = self._kernel.files.find(f"{self._world.paths.runtime}/state")
        return self._node

    def learn(self, node: Inode) -> None:
        """Take a state file for known as it is."""
        self._states[node] = {}
        for index in range(self.header(node).slots):
            with suppress(Damage):
                self._states[node][index] = self._read(node, index)

    def header(self, node: Inode) -> Header:
        return record.unpack_header(record.unpack_record(bytes(node.data[: record.RECORD_SIZE]))[1])

    def _read(self, node: Inode, index: int) -> Known:
        at = record.slot_at(index)
        version, body = record.unpack_record(bytes(node.data[at : at + record.RECORD_SIZE]))
        slot = record.unpack_slot(body)
        return Known(version, slot, self._named(slot.identity), at_ns=self._kernel.now_ns)

    def _named(self, identity: Identity) -> Process | None:
        process = self._kernel.processes.get(identity.pid)
        if process is None or process.start_ticks != identity.start_ticks or process.inode != identity.inode:
            return None
        return process

    def known(self, index: int) -> Known:
        node = self.node()
        if node not in self._states:  # it has just got its name, and nobody has written to it yet
            with suppress(Damage):
                self.learn(node)
        return self._states.get(node, {}).get(index, Known())

    def complain(self, promise: str, text: str) -> None:
        self.complaints.append(f"{promise}: {text}")

    # ------------------------------------------------------------ what is written

    def written(self, by: Process, node: Any, at: int, size: int) -> None:
        if at < record.SLOTS_AT or by.greenlet is None:
            return
        if node not in self._states:
            with suppress(Damage):
                if node is self.node():
                    self.learn(node)
            return
        index, inside = divmod(at - record.SLOTS_AT, record.RECORD_SIZE)
        if record.PING_AT <= inside < record.PING_AT + record.PING_SIZE:
            return
        if not _holds(by, node):
            self.complain("P7", f"{by} writes slot {index} without the lock")
        if inside == 0 and size == record.SELECTOR_SIZE:
            self._committed(by, node, index)

    def _committed(self, by: Process, node: Inode, index: int) -> None:
        try:
            new = self._read(node, index)
        except Damage as damage:
            self.complain("P7", f"{by} makes a damaged record current: slot {index}, {damage}")
            return
        old = self._states[node].get(index, Known())
        self._states[node][index] = new
        if new.slot.identity == old.slot.identity:
            new.process = old.process
        if new.slot.desired is not Desired.RUN:
            new.unwanted_step = old.unwanted_step or self._kernel.steps
        self._check_acting(by, node)
        ends = new.slot.is_over and not old.slot.is_over and new.slot.generation == old.slot.generation
        if ends and old.process is not None and not old.process.is_zombie:
            self.complain("P9", f"{by} records the end of {new.slot.label}, and {old.process} lives")
        if new.slot.generation < old.slot.generation:
            self.complain("P1", f"slot {index} goes back from {old.slot.generation} to {new.slot.generation}")
        if new.slot.generation > old.slot.generation:
            self._check_birth(by, node, index, old, new)
        wished = (old.slot.desired, old.slot.end_generation) != (new.slot.desired, new.slot.end_generation)
        if wished and by.comm not in _ROLE_OF_COMM and new.slot.desired is not Desired.STOP:
            self._done_well.discard(new.slot.name)  # somebody ordered it
            self.told_to_stop.pop(new.slot.name, None)
        if old.slot.desired is not new.slot.desired and by.comm in _ROLE_OF_COMM and new.slot.name:
            self.complain("P8", f"{by} changes what is wished of {new.slot.label}")

    def _check_acting(self, by: Process, node: Inode) -> None:
        """Who acts as a watcher is the one that its role's slot names."""
        role = _ROLE_OF_COMM.get(by.comm)
        if role is not None and self._states[node].get(role.slot, Known()).process is not by:
            self.complain("P1", f"{by} acts as {role.label}, which is another process's role")

    def _check_birth(self, by: Process, node: Inode, index: int, old: Known, new: Known) -> None:
        label, header = new.slot.label, self.header(node)
        if new.slot.generation != old.slot.generation + 1:
            self.complain("P1", f"{label} skips a generation")
        if old.process is not None and not old.process.is_zombie and not old.slot.is_over:
            self.complain("P1", f"{by} gives birth to {label} while {old.process} lives")
        if header.moved:
            self.complain("P1", f"{by} gives birth to {label} in a file that has moved")
        if header.desired is not Desired.RUN or new.slot.desired is not Desired.RUN or self.is_down:
            self.complain("P8", f"{by} gives birth to {label}, which is to be stopped")
        for other, known in self._states[node].items():
            if other != index and known.process is new.process and new.process and not known.slot.is_over:
                self.complain("P1", f"{new.process} is {label} and {known.slot.label}")
        if index >= FIRST_WORKER_SLOT and old.slot.generation and not old.slot.is_over:
            self.complain("P4", f"{by} gives birth to {label} before its last end is recorded")
        if new.slot.name in self._done_well:
            self.complain("P4", f"job {label} has ended well and is born again by {by}")

    # ------------------------------------------------------------ what is executed, signalled, collected

    def executed(self, process: Process) -> None:
        if process.program is None:
            return
        name, instance, generation = process.program
        self.births.append((name, instance, generation, process.pid))
        for other in self._kernel.running:
            same = other.program and other.program[:2] == (name, instance) and other is not process
            if same and other.parent is not process:
                self.complain(
                    "P1", f"{name} runs twice: {other} of {other.program[2]}, {process} of {generation}"
                )
        index = next(place[0] for place in self._world.spec.places if place[1] == name)
        known = self.known(index)
        if known.process is not process or known.slot.generation != generation:
            self.complain("P2", f"{process} runs {name} and is not recorded: {known.slot.identity}")
        if known.unwanted_step and known.unwanted_step < process.through_step:
            self.complain("P8", f"{process} is let through after {name} was told to stop, and starts")
        if name in self.told_to_stop or self.is_down:
            self.complain("P8", f"{name} starts after its stop was acknowledged")

    def ending(self, process: Process) -> None:
        if process.program is not None and process.status == 0:
            spec = next(one for one in self._world.spec.workers if one.name == process.program[0])
            index = next(place[0] for place in self._world.spec.places if place[1] == spec.name)
            is_ordered = self.known(index).slot.end_generation >= process.program[2]  # to start once more
            if spec.restart.policy is Policy.ON_FAILURE and not is_ordered:
                self._done_well.add(spec.name)

    def signalled(self, sender: Process, target: Process, number: int) -> None:
        if not sender.is_pair or sender is target:
            return
        if not target.is_pair:
            self.complain("P6", f"{sender} sends {number} to a stranger, {target}")
        elif number not in _HARMLESS:
            if target.program is not None:
                self._check_worker_signal(sender, target, number)
            elif target.comm in _ROLE_OF_COMM and number == signal.SIGKILL:
                self._check_conviction(sender, target)

    def _check_worker_signal(self, sender: Process, target: Process, number: int) -> None:
        name, _, generation = target.program or ("", 0, 0)
        index = next(place[0] for place in self._world.spec.places if place[1] == name)
        slot = self.known(index).slot
        wanted = slot.desired is Desired.RUN and slot.generation == generation > slot.end_generation
        well = (
            slot.phase is Phase.RUNNING and slot.ending is Ending.NONE and slot.health is not Health.UNHEALTHY
        )
        right = slot.birth_hash == next(
            one.birth_hash for one in self._world.spec.workers if one.name == name
        )
        with suppress(Damage):
            if wanted and well and right and self.header(self.node()).desired is Desired.RUN:
                self.complain("P6", f"{sender} sends {number} to {target}, a healthy {name}")

    def _check_conviction(self, sender: Process, target: Process) -> None:
        """P9: only who was held can have stood still."""
        last_ns = max(target.held_ns, target.held_until_ns)
        held = target.is_stopped or target.is_frozen or self._kernel.now_ns - last_ns < _EXCUSED_NS
        with suppress(Damage):
            if not held and self.header(self.node()).desired is Desired.RUN:
                self.complain("P9", f"{sender} convicts {target}, which was on time")

    def collected(self, by: Process, process: Process) -> None:
        """R15: recorded first, then collected."""
        if by.comm not in _ROLE_OF_COMM or process.program is None:
            return
        name, _, generation = process.program
        index = next(place[0] for place in self._world.spec.places if place[1] == name)
        known = self.known(index)
        if known.process is process and known.slot.generation == generation and not known.slot.is_over:
            self.complain("P4", f"{by} collects {process} before the end of {name} is recorded")
