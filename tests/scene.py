"""A pair's directories and state file without its watchers, and processes that play single parts.

What is put in scene here are the project's own functions on the real kernel: only who calls them, and
when, is the test's. Orphans of the processes come to the test (it is a subreaper for its time), so none
is left behind, and a dead one stays a zombie until the test ends.
"""

import ctypes
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from twinwatch.config import snapshot
from twinwatch.core.record import Damage, Header, Slot
from twinwatch.core.spec import Backoff, PairSpec, Restart, Watch, WorkerSpec
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import NO_EXIT, WATCHER_ROLES, Desired, Identity, Phase, Role
from twinwatch.linux import machine, paths, process, statefile
from twinwatch.linux.birth import Newborn, Seat, respawn
from twinwatch.linux.events import EventLog
from twinwatch.linux.gate import Child, Gate, Let, fork_gated, set_comm
from twinwatch.linux.identity import identify, is_alive, is_dead, stat_fields
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import Loop
from twinwatch.linux.statefile import Read, StateFile
from twinwatch.watch import reserve
from twinwatch.watch.guard import REPORT, WORKER, Guard
from twinwatch.watch.hooks import HOOK
from twinwatch.watch.pair import Pair

PATIENCE_S = 30.0  # ends a test that has failed anyway; no verdict depends on it
JOB = 3  # slot of the only worker
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def until(is_true: Callable[[], object], what: str = "it") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        select.select([], [], [], 0.001)


@contextmanager
def taken_out(target: object, name: str, replacement: object) -> Iterator[None]:
    """A guard taken out: here, and in whatever is forked meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, replacement)
        yield


@dataclass
class Actor:
    """A process that plays a part."""

    pid: int
    pidfd: int
    identity: Identity
    ear: int
    _heard: bytes = field(default=b"")

    def hear(self) -> str:
        """The next line that it says; '' when it says no more."""
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self.ear], [], [], PATIENCE_S)
            assert ready, "it says nothing"
            said = os.read(self.ear, 4096)
            if not said:
                return ""
            self._heard += said
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    @property
    def is_dead(self) -> bool:
        return is_dead(self.pidfd)

    def send(self, number: int) -> None:
        process.send(self.pidfd, number)

    def kill(self) -> None:
        """KILL, and wait for the death."""
        self.send(signal.SIGKILL)
        assert process.wait_dead(self.pidfd, int(PATIENCE_S * 1000))

    def stop(self) -> None:
        """STOP, and wait until it stands still."""
        self.send(signal.SIGSTOP)
        until(lambda: is_stopped(self.pid), "it is stopped")

    def status(self) -> int | None:
        """Raw wait status of its death, which is waited for. It stays a zombie."""
        assert process.wait_dead(self.pidfd, int(PATIENCE_S * 1000)), "it does not die"
        return process.child_status(self.pidfd, reap=False)

    def close(self) -> None:
        os.close(self.ear)
        os.close(self.pidfd)


def is_stopped(pid: int) -> bool:
    return stat_fields(pid)[:1] == [b"T"]


def act(part: Callable[[Callable[[object], None]], None]) -> Actor:
    """Fork a process that plays `part(say)`, and ends with 0 when it returns."""
    ear, mouth = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            sys.stderr = os.fdopen(2, "w", closefd=False)  # pytest's stream has one that is closed soon
            part(lambda word: os.write(mouth, f"{word}\n".encode()))
            code = 0
        except BaseException:  # noqa: BLE001 - the outermost frame of a fork
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(mouth)
    pidfd = os.pidfd_open(pid)
    return Actor(pid, pidfd, identify(pid, pidfd), ear)


def rest() -> None:
    """Be there, and do nothing."""
    while True:
        signal.pause()


def children() -> list[int]:
    """Children of this process, orphans that came to it included."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if stat_fields(pid)[1:2] == [str(os.getpid()).encode()]]


def end_children() -> None:
    """End and collect them, and what they leave."""
    while living := children():
        for pid in living:
            pidfd = os.pidfd_open(pid)
            process.send(pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            os.close(pidfd)


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """Orphans come to this process; all of them are ended at the end.

    Meanwhile it is named as a watcher is: what is forked from it has that name until it executes.
    """
    name = Path("/proc/self/comm").read_text().strip()
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    set_comm("twinwatch-a")
    try:
        yield
    finally:
        end_children()
        set_comm(name)
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@contextmanager
def closing_loop() -> Iterator[Loop]:
    """A watcher never closes its loop; a test does."""
    loop = Loop()
    try:
        yield loop
    finally:
        loop._epoll.close()
        os.close(loop._wake_read)
        os.close(loop._wake_write)


class StubNursery:
    """Hands out children that the test has forked."""

    def __init__(self, *ready: Child) -> None:
        self.ready = list(ready)

    def take(self, _wanted: int = 1) -> Child | None:
        return self.ready.pop() if self.ready else None

    def give_back(self, child: Child) -> None:
        self.ready.append(child)


class Scene:
    """The directories, the state file with both roles and one worker `job`, and who plays in it."""

    def __init__(self, directory: Path) -> None:
        room = os.path.realpath(directory)
        self.directory = Path(room)
        self.paths = paths.Paths("shop", f"{room}/run", f"{room}/lib")
        paths.prepare(self.paths)
        self.marker = self.directory / "births"
        self.spec = self.make_spec(f"echo $$ >> {self.marker}; exec sleep 1000")
        snapshot.write(self.paths.snapshots, self.spec)
        slots = {r.slot: Slot(r.label, phase=Phase.STOPPED, desired=Desired.RUN) for r in WATCHER_ROLES}
        slots[JOB] = Slot("job", phase=Phase.STOPPED, desired=Desired.RUN)
        statefile.create(self.paths.runtime, self.make_header(), slots)
        self.state = self.open()
        self._actors: list[Actor] = []
        self._children: list[Child] = []

    def make_spec(self, shell: str, generation: int = 1, **changes: object) -> PairSpec:
        """One worker that runs a line of shell."""
        worker = WorkerSpec(
            "job",
            ("/bin/sh", "-c", shell),
            birth_hash=generation,
            restart=Restart(backoff=Backoff(burst=1000)),
        )
        return PairSpec(
            "shop",
            Watch(50 * MILLISECOND_NS, 300 * MILLISECOND_NS, 1),
            (replace(worker, **changes),),
            source="/shop.yaml",
            generation=generation,
            environment=(("PATH", os.environ["PATH"]),),
            places=((JOB, "job", 0),),
        )

    def make_header(self) -> Header:
        inode, init = machine.namespace()
        return Header(
            pair="shop",
            pair_id=os.urandom(16),
            boot_id=machine.boot_id(),
            namespace_inode=inode,
            namespace_init=init,
            owner_uid=os.geteuid(),
            source="/shop.yaml",
            source_device=1,
            source_inode=2,
            config_generation=1,
            desired=Desired.RUN,
            slots=JOB + 1,
        )

    def open(self) -> StateFile:
        return StateFile(self.paths.runtime, self.spec.watch.timeout_ns)

    def open_and(self, look: Callable[[StateFile], object]) -> object:
        """Look at the file that is at the path, with a reader that knows nothing yet."""
        state = self.open()
        try:
            return look(state)
        finally:
            state.close()

    # ------------------------------------------------------------ who plays

    def act(self, part: Callable[[Callable[[object], None]], None]) -> Actor:
        actor = act(part)
        self._actors.append(actor)
        return actor

    def hold(
        self, role: Role, part: Callable[[Callable[[object], None]], None], generation: int = 1
    ) -> Actor:
        """A process recorded as the holder of `role`; it waits for that before it plays."""
        go, start = os.pipe()

        def recorded(say: Callable[[object], None]) -> None:
            os.close(start)
            os.read(go, 1)
            part(say)

        actor = self.act(recorded)
        self.record(
            role.slot,
            phase=Phase.RUNNING,
            generation=generation,
            identity=actor.identity,
            exit=replace(NO_EXIT, generation=generation - 1),
        )
        os.write(start, b"x")
        os.close(go)
        os.close(start)
        return actor

    def gated(self, role: Role = Role.A, generation: int = 1, spec: PairSpec | None = None) -> Child:
        """A gated child of the calling process, which is taken for the holder of `role`."""
        own = os.pidfd_open(os.getpid())
        born = fork_gated(own)
        if isinstance(born, Gate):
            try:
                seat = reserve.live(born, reserve.Duty(self.paths, spec or self.spec, role, generation))
                with (self.directory / "seats").open("a") as file:
                    file.write(f"{seat.role.label} {seat.generation}\n")
                rest()  # what became a watcher only sits there
            except BaseException:  # noqa: BLE001 - the outermost frame of a fork
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(99)
        os.close(own)
        self._children.append(born)
        return born

    # ------------------------------------------------------------ the record

    def record(self, index: int, **fields: object) -> Read:
        read = self.state.read(index)
        slot = replace(read.slot, **fields)
        with self.state.lock:
            return Read(slot, self.state.write(index, slot, read.version))

    def record_header(self, **fields: object) -> None:
        with self.state.lock:
            self.state.write_header(replace(self.state.header(), **fields))

    def slot(self, index: int = JOB) -> Slot:
        return self.state.slot(index)

    def names_of_living(self) -> list[str]:
        """Labels of the slots that name a living process."""
        slots = [self.state.slot(index) for index in range(JOB + 1)]
        return [slot.label for slot in slots if not slot.is_over and is_alive(slot.identity)]

    def bear(self, child: Child, seat: Seat | None = None, seen: Read | None = None) -> Read | str:
        """`respawn` of the worker, as one that saw `seen` dead."""
        seen = seen or self.state.read(JOB)
        base = replace(seen.slot, exit=replace(seen.slot.exit, generation=seen.slot.generation))
        seat = seat or Seat(Role.GUEST, config_generation=1)
        newborn = Newborn(Let.WORKER, JOB, seen, base, until_ns=2**62, birth_hash=1)
        return respawn(self.state, seat, child, newborn)

    def births(self) -> list[int]:
        """PIDs of the programs that ran."""
        return [int(line) for line in self.marker.read_text().split()] if self.marker.exists() else []

    def seats(self) -> list[str]:
        """`ROLE GENERATION` of the gated children that became watchers."""
        path = self.directory / "seats"
        return path.read_text().splitlines() if path.exists() else []

    # ------------------------------------------------------------ a guard without a loop of its own

    @contextmanager
    def guarding(self, seat: Seat | None = None, nursery: object = None) -> Iterator["Pump"]:
        seat = seat or Seat(Role.GUEST, config_generation=1)
        pair = Pair(self.paths, self.spec, self.state, seat, EventLog(self.paths.events, "shop", "test"))
        with closing_loop() as loop:
            guard = Guard(pair, loop, nursery)  # type: ignore[arg-type]
            try:
                guard.adopt(self.spec)
                yield Pump(guard, loop, pair)
            finally:
                guard.close()
                pair.events.close()

    # ------------------------------------------------------------ the end

    def end(self) -> None:
        with suppress(Damage, statefile.StateMoved, LockWedged, OSError):
            self.record_header(desired=Desired.STOP)  # so that nobody revives anybody
        end_children()
        for actor in self._actors:
            actor.close()
        for child in self._children:
            child.close()
        self.state.close()


@dataclass
class Pump:
    """Runs a guard round by round, as a watcher does."""

    guard: Guard
    loop: Loop
    pair: Pair

    @staticmethod
    def now_ns() -> int:
        return time.monotonic_ns()

    def round(self) -> None:
        """One wake-up; it waits at most a tenth of a second for it."""
        self.guard.catch_up()
        self.guard.work()
        now = time.monotonic_ns()
        self.loop.set_deadline("pump", now + SECOND_NS // 10)
        for kind, index in self.loop.wait(block=not self.guard.has_work):
            if kind == WORKER:
                self.guard.pidfd_ready(index)
            elif kind == REPORT:
                self.guard.report_ready(index)
            elif kind == HOOK:
                self.guard.hook_ready(index)
        for due in self.loop.take_due(time.monotonic_ns()):
            if isinstance(due, int):
                self.guard.look_again(due)
        self.guard.work()
        self.pair.flush()

    def until(self, is_true: Callable[[], object], what: str = "it") -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_true():
            assert time.monotonic() < deadline, f"waited in vain until {what}"
            self.round()


def die_at_write(number: int) -> None:
    """From now on this process is killed when it is about to begin its `pwrite` number `number`."""
    pwrite = os.pwrite
    left = number

    def counted(fd: int, data: bytes, at: int) -> int:
        nonlocal left
        left -= 1
        if left == 0:
            kill_self()
        return pwrite(fd, data, at)

    os.pwrite = counted


def kill_self(number: int = signal.SIGKILL) -> None:
    signal.pidfd_send_signal(os.pidfd_open(os.getpid()), number)
