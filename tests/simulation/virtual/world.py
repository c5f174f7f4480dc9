"""A pair in a virtual kernel: its directories, its configuration, how it is started, and how it looks from outside."""

import random
from dataclasses import replace
from typing import Any

from twinwatch.config import snapshot
from twinwatch.control import access, up
from twinwatch.core.record import Damage, Header, Slot
from twinwatch.core.spec import Backoff, OnUnknown, PairSpec, Policy, Ready, Restart, Stop, Watch, WorkerSpec
from twinwatch.core.timing import MILLISECOND_NS
from twinwatch.core.values import WATCHER_ROLES, Desired, Phase, Role
from twinwatch.linux import machine, paths, statefile
from twinwatch.linux.statefile import StateFile
from virtual.kernel import Kernel
from virtual.process import Process
from virtual.scheduler import RandomChance, Scheduler

FIRST = 3
INTERVAL_NS = 100 * MILLISECOND_NS
TIMEOUT_NS = 400 * MILLISECOND_NS
_RESTART = Restart(backoff=Backoff(initial_ns=20 * MILLISECOND_NS, max_ns=200 * MILLISECOND_NS, burst=3))
_STOP = Stop(timeout_ns=200 * MILLISECOND_NS)


def worker(name: str, *command: object, **changes: Any) -> WorkerSpec:
    fields = {"restart": _RESTART, "stop": _STOP, "birth_hash": hash_of(name), **changes}
    return WorkerSpec(name, tuple(map(str, command)), **fields)


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode()[:7].ljust(7, b"_"), "little")


WEB = worker("web", "serve")
JOB = worker(
    "job", "exit", 0, 150, restart=replace(_RESTART, policy=Policy.ON_FAILURE, on_unknown=OnUnknown.HOLD)
)
CRASHES = worker("crashes", "exit", 3, 120)
SPEAKS = worker(
    "speaks",
    "speak",
    30,
    notify=True,
    ready=Ready(notify=True, timeout_ns=2000 * MILLISECOND_NS),
    depends_on=("web",),
)
FAMILY = worker("family", "family")
ESCAPES = worker("escapes", "escape", 4, 20)
STUBBORN = worker("stubborn", "stubborn")


class World:
    """One pair on one machine."""

    def __init__(self, kernel: Kernel, workers: tuple[WorkerSpec, ...], *, reserve: int = 2) -> None:
        self.kernel = kernel
        self.paths = paths.Paths("shop", "/virtual/run", "/virtual/lib")
        self.spec = PairSpec(
            "shop",
            Watch(INTERVAL_NS, TIMEOUT_NS, reserve),
            workers,
            source="/etc/shop.yaml",
            generation=1,
            environment=(("PATH", "/bin"),),
            places=tuple((FIRST + number, one.name, 0) for number, one in enumerate(workers)),
        )
        paths.prepare(self.paths)
        snapshot.write(self.paths.snapshots, self.spec)
        slots = {
            role.slot: Slot(role.label, phase=Phase.STOPPED, desired=Desired.RUN) for role in WATCHER_ROLES
        }
        for index, name, _ in self.spec.places:
            slots[index] = Slot(name, phase=Phase.STOPPED, desired=Desired.RUN)
        statefile.create(self.paths.runtime, self._header(), slots)

    def _header(self) -> Header:
        inode, init = machine.namespace()
        return Header(
            pair="shop",
            pair_id=bytes(16),
            boot_id=machine.boot_id(),
            namespace_inode=inode,
            namespace_init=init,
            owner_uid=0,
            source=self.spec.source,
            source_device=1,
            source_inode=2,
            config_generation=1,
            desired=Desired.RUN,
            slots=FIRST + len(self.spec.places),
        )

    # ------------------------------------------------------------ who acts on it

    def start(self) -> Process:
        """What `up` does when no watcher lives."""

        def body() -> None:
            state = StateFile(self.paths.runtime, TIMEOUT_NS)
            if not access.living_watchers(state):
                up._seed(self.paths, state)

        return self.kernel.spawn(body, "up", is_pair=True)

    # ------------------------------------------------------------ how it looks

    def open(self) -> StateFile:
        return StateFile(self.paths.runtime, TIMEOUT_NS)

    def is_there(self) -> bool:
        """Whether there is a state file at the path."""
        try:
            self.kernel.files.find(f"{self.paths.runtime}/state")
        except FileNotFoundError:
            return False
        return True

    def slots(self) -> dict[int, Slot]:
        """All slots that can be read, seen from outside."""
        if not self.is_there():
            return {}
        state = self.open()
        found = {}
        try:
            for index in (
                *(role.slot for role in WATCHER_ROLES),
                *range(FIRST, FIRST + len(self.spec.places)),
            ):
                try:
                    found[index] = state.slot(index)
                except Damage:
                    continue
        finally:
            state.close()
        return found

    def process_of(self, slot: Slot) -> Process | None:
        """The living process that a slot names."""
        process = self.kernel.processes.get(slot.identity.pid)
        same = process is not None and process.inode == slot.identity.inode
        return process if same and process.is_living and not slot.is_over else None

    def missing(self) -> str:
        """What a whole pair still lacks."""
        slots = self.slots()
        for role in WATCHER_ROLES:
            slot = slots.get(role.slot)
            if slot is None or slot.phase is not Phase.RUNNING or self.process_of(slot) is None:
                return f"watcher {role.label}"
            reserves = self.reserves_of(self.process_of(slot))
            if reserves < self.spec.watch.reserve:
                return f"reserves of {role.label}: {reserves}"
        for index, name, _ in self.spec.places:
            lacks = self._worker_lacks(slots.get(index), next(w for w in self.spec.workers if w.name == name))
            if lacks:
                return f"{name} {lacks}"
        return ""

    def reserves_of(self, process: Process | None) -> int:
        return sum(one.parent is process and one.comm == "twinwatch-rsv" for one in self.kernel.running)

    def _worker_lacks(self, slot: Slot | None, spec: WorkerSpec) -> str:
        if slot is None:
            return "is damaged"
        if slot.desired is Desired.PAUSE and slot.phase is Phase.PAUSED:
            return ""
        if slot.desired is not Desired.RUN:
            return "" if slot.phase is Phase.STOPPED else f"is {slot.phase.name} and is to be stopped"
        if spec.restart.policy is Policy.ON_FAILURE:
            return "" if slot.phase is Phase.STOPPED and slot.generation else f"is {slot.phase.name}"
        process = self.process_of(slot)
        running = slot.phase is Phase.RUNNING and process is not None and process.program is not None
        if spec.command[0] in ("exit", "escape"):  # it comes and goes
            return "" if slot.generation else "was never born"
        if not running:
            return f"is {slot.phase.name}"
        return "" if slot.ready else "is not ready"


def make(seed: int) -> tuple[Kernel, Scheduler]:
    rng = random.Random(seed)
    kernel = Kernel(RandomChance(rng))
    return kernel, Scheduler(kernel, rng)


__all__ = ["Role", "World", "make"]
