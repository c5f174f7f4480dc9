"""The virtual kernel: processes, their death, signals, and the points at which another one may run.

Every process is a greenlet that runs real code; every call that others could notice is a *point*: there the
greenlet gives way to the scheduler (`virtual.scheduler`), which decides who goes on, lets time pass, or has
something happen. Between two points nobody else runs, so a call is atomic unless it is made to be torn.
"""

# ruff: noqa: ARG002 - what a base class does not need, its heirs do

import errno
import hashlib
import heapq
import signal
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import greenlet

from virtual.files import Files, error
from virtual.process import Ended, Executed, Process
from virtual.things import Description, PipeEnd

TICK_NS = 10_000_000  # of field 22 of /proc/PID/stat
INIT = 1
_IGNORED_BY_DEFAULT = frozenset({signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT})
_TRACE_KEPT = 400


@dataclass(frozen=True)
class Means:
    """What a kernel has: inodes of pidfds (6.9), their handles (6.14), `PIDFD_GET_INFO` (6.15), group signals (6.9)."""

    inodes: bool = True
    handles: bool = True
    info: bool = True
    group_signal: bool = True


class Chance:
    """What is left to chance. This one has none: always the first, never late."""

    def pick(self, count: int, what: str) -> int:
        return 0

    def delay_ns(self, what: str) -> int:
        return 0


class Observer:
    """Sees what happens from outside. This one says nothing."""

    def forked(self, parent: Process, child: Process) -> None: ...
    def executed(self, process: Process) -> None: ...
    def signalled(self, sender: Process, target: Process, number: int) -> None: ...
    def ending(self, process: Process) -> None: ...
    def collected(self, by: Process, process: Process) -> None: ...
    def written(self, by: Process, node: object, at: int, size: int) -> None: ...


class Kernel:
    """One machine."""

    def __init__(self, chance: Chance | None = None, means: Means | None = None) -> None:
        self.chance = chance or Chance()
        self.observer = Observer()
        self.now_ns = 1_000_000_000_000
        self.files = Files()
        self.processes: dict[int, Process] = {}
        self.running: list[Process] = []  # those with code to run, in the order of their birth
        self.freed: deque[int] = deque(maxlen=16)
        self.pids = tuple(range(300, 400))
        self.means = means or Means()
        self.tasks: list[tuple[int, int, str, Callable[[], None]]] = []
        self.crashes: list[str] = []
        self.steps = 0
        self.main = greenlet.getcurrent()
        self.digest = hashlib.sha256()
        self.trace: deque[str] = deque(maxlen=_TRACE_KEPT)
        self._serial = 0
        self._births = 0
        self._to_unwind: list[Process] = []
        self.init = self._make(INIT, None, "init")
        self.host = self._make(2, self.init, "host")
        self.current = self.host

    # ------------------------------------------------------------ who there is

    def _make(self, pid: int, parent: Process | None, comm: str) -> Process:
        self._births += 1
        born = Process(pid, parent, self.now_ns // TICK_NS, comm=comm, session=pid)
        born.inode = 5000 + self._births if self.means.inodes else 0
        born.handle = born.inode.to_bytes(8, "little") if self.means.handles else b""
        self.processes[pid] = born
        return born

    def _free_pid(self) -> int:
        """Of the few there are; most often one that was somebody's a moment ago."""
        taken = set(self.processes)
        taken.update(process.group for process in self.processes.values())
        taken.update(process.session for process in self.processes.values())
        if not self.means.inodes:  # no kernel gives a PID twice within a tick
            taken.update(self.freed)
        recent = [pid for pid in self.freed if pid not in taken]
        free = recent or [pid for pid in self.pids if pid not in taken]
        if not free:
            raise error(errno.EAGAIN)
        return free[self.chance.pick(len(free), "pid")]

    def spawn(
        self, body: Callable[[], None], comm: str, parent: Process | None = None, *, is_pair: bool = False
    ) -> Process:
        """A new process that begins with `body`."""
        born = self._make(self._free_pid(), parent or self.init, comm)
        born.is_pair = is_pair
        self.begin(born, body)
        return born

    def fork(self, parent: Process, body: Callable[[], None]) -> Process:
        """A child with its parent's descriptors, that begins with `body`."""
        child = self._make(self._free_pid(), parent, parent.comm)
        child.fds = dict(parent.fds)
        for description, _ in child.fds.values():
            description.refs += 1
        child.environ, child.argv = dict(parent.environ), parent.argv
        child.leader, child.session = parent.leader or parent, parent.session
        child.mask, child.handlers = set(parent.mask), dict(parent.handlers)
        child.wakeup_fd = parent.wakeup_fd
        child.is_pair, child.program = parent.is_pair, parent.program
        self.begin(child, body)
        self.observer.forked(parent, child)
        return child

    def begin(self, process: Process, body: Callable[[], None]) -> None:
        process.body = body
        process.greenlet = greenlet.greenlet(lambda _first=None: self._live(process), self.main)
        self.running.append(process)

    def _live(self, process: Process) -> None:
        """The whole life of a process: one program after another."""
        body = process.body
        while body is not None:
            try:
                body()
            except Executed as executed:
                process.executing = None
                body = executed.body
            except Ended:
                return
            except BaseException as fault:  # noqa: BLE001 - what an interpreter does with it
                self.crashes.append(f"{process}: {type(fault).__name__}: {fault}")
                self.leave(process, 1 << 8)
                return
            else:
                body = None
        self.leave(process, 0)

    @contextmanager
    def acting_as(self, process: Process):
        """The code within is that process's."""
        before, self.current = self.current, process
        try:
            yield
        finally:
            self.current = before

    # ------------------------------------------------------------ points

    def point(self, name: str, *about: object) -> object:
        """Somebody else may run now. What comes back is None, or what is to go wrong with this call."""
        process = self.current
        if process.greenlet is None:
            return None
        if process.executing is not None:
            raise process.executing
        if process.is_exiting:
            raise Ended
        process.call = (name, *about)
        directive = self.main.switch()
        process.call = None
        return directive

    def wait(self, ready: Callable[[], object], deadline_ns: int | None) -> object:
        """Until `ready` gives something, or (None) the time is over."""
        process = self.current
        if process.greenlet is None:
            return ready()
        while True:
            found = ready()
            if found:
                return found
            if deadline_ns is not None and self.now_ns >= deadline_ns:
                return None
            process.waiting = (ready, deadline_ns)
            self.main.switch()
            process.waiting = None

    def resume(self, process: Process, directive: object = None) -> None:
        """Let a process run up to its next point."""
        self.steps += 1
        process.runs += 1
        with self.acting_as(process):
            process.greenlet.switch(directive)
        self.unwind()

    def is_runnable(self, process: Process) -> bool:
        if process.is_stopped or process.is_frozen or process.held_until_ns > self.now_ns:
            return False
        if process.waiting is None:
            return True
        ready, deadline_ns = process.waiting
        return (deadline_ns is not None and deadline_ns <= self.now_ns) or bool(ready())

    def later(self, delay_ns: int, name: str, do: Callable[[], None]) -> None:
        """Something that the kernel does by itself, a while from now."""
        self._serial += 1
        heapq.heappush(self.tasks, (self.now_ns + delay_ns, self._serial, name, do))

    def next_ns(self) -> int | None:
        """When something happens next, if nobody can run now."""
        due = [self.tasks[0][0]] if self.tasks else []
        for process in self.running:
            if process.is_stopped or process.is_frozen:
                continue
            if process.held_until_ns > self.now_ns:
                due.append(process.held_until_ns)
            elif process.waiting and process.waiting[1] is not None:
                due.append(process.waiting[1])
        return min(due, default=None)

    def note(self, *words: object) -> None:
        """One line of the trace, and of its digest."""
        line = " ".join(map(str, words))
        self.digest.update(line.encode())
        self.trace.append(f"{self.now_ns - 1_000_000_000_000:>14,} {line}")

    # ------------------------------------------------------------ descriptors

    def what(self, fd: int) -> Description:
        try:
            return self.current.fds[fd][0]
        except KeyError:
            raise error(errno.EBADF) from None

    def install(self, description: Description, *, cloexec: bool = True, low: int = 0) -> int:
        fds = self.current.fds
        fd = low
        while fd in fds:
            fd += 1
        description.refs += 1
        fds[fd] = (description, cloexec)
        return fd

    def close(self, process: Process, fd: int) -> None:
        try:
            description, _ = process.fds.pop(fd)
        except KeyError:
            raise error(errno.EBADF) from None
        description.closed_by(process)
        description.refs -= 1
        if description.refs == 0:
            description.released()

    # ------------------------------------------------------------ death

    def leave(self, process: Process, status: int) -> None:
        """The process runs no more. What the kernel has to do after that it does in two steps.

        Usually descriptors are closed before the death can be seen; an observer may learn of it the other
        way round, so that happens here too.
        """
        if process.is_exiting:
            return
        process.is_exiting = True
        process.status = status
        process.waiting = None
        self.running.remove(process)
        self.observer.ending(process)
        self.note("exit", process, status)
        steps = [("close", self._close_all), ("zombie", self._become_zombie)]
        if self.chance.pick(8, "exit order") == 7:
            steps.reverse()
        self._exit_steps(process, steps)

    def _exit_steps(self, process: Process, steps: list) -> None:
        name, do = steps[0]

        def now() -> None:
            do(process)
            if steps[1:]:
                self._exit_steps(process, steps[1:])

        self.later(self.chance.delay_ns("exit"), f"{name} {process}", now)

    def _close_all(self, process: Process) -> None:
        for fd in sorted(process.fds):
            self.close(process, fd)

    def _become_zombie(self, process: Process) -> None:
        process.is_zombie = True
        for child in list(self.processes.values()):
            if child.parent is process:
                child.parent = self._reaper_of(process)
                if child.is_zombie:
                    self._collect_soon(child)
        if process.parent in (self.init, self.host):
            self._collect_soon(process)

    def _reaper_of(self, process: Process) -> Process:
        above = process.parent
        while above is not None and not (above.is_subreaper and above.is_living):
            above = above.parent
        return above or self.init

    def _collect_soon(self, process: Process) -> None:
        """Init collects, at its own pace."""

        def now() -> None:
            if not process.is_collected and process.parent in (self.init, self.host):
                self.collect(self.init, process)

        if process.parent in (self.init, self.host):
            self.later(self.chance.delay_ns("init"), f"collect {process}", now)

    def collect(self, by: Process, process: Process) -> None:
        self.observer.collected(by, process)
        process.is_collected = True
        del self.processes[process.pid]
        self.freed.append(process.pid)

    def unwind(self) -> None:
        """Leave the code of those that were killed."""
        while self._to_unwind:
            process = self._to_unwind.pop()
            if process.greenlet and not process.greenlet.dead:
                with self.acting_as(process):
                    process.greenlet.throw(Ended)
                if not process.greenlet.dead:
                    raise AssertionError(f"{process} outlives its death in {process.greenlet.gr_frame}")

    def kill(self, process: Process, number: int = signal.SIGKILL) -> None:
        """Death by a signal, now."""
        if process.is_exiting or process.greenlet is None:
            return
        if process.is_frozen:
            process.kill_pending = True
            return
        self.leave(process, int(number))
        self._to_unwind.append(process)

    def thaw(self, process: Process) -> None:
        process.is_frozen = False
        if process.kill_pending:
            self.kill(process)

    def end(self) -> None:
        """Leave all code: the machine is switched off."""
        for process in list(self.running):
            process.is_frozen = False
            self.kill(process)
        self.unwind()

    # ------------------------------------------------------------ signals

    def send(self, sender: Process, target: Process, number: int) -> None:
        """Raises ProcessLookupError for one that was collected."""
        if target.is_collected:
            raise error(errno.ESRCH)
        if number == 0 or target.is_exiting:
            return
        self.observer.signalled(sender, target, number)
        self._deliver(target, number)
        if self.current.is_exiting:
            self._to_unwind.remove(self.current)
            raise Ended

    def _deliver(self, target: Process, number: int) -> None:
        if number == signal.SIGKILL:
            self.kill(target)
        elif number == signal.SIGSTOP:
            target.is_stopped = True
            target.held_ns = self.now_ns
        elif number == signal.SIGCONT:
            target.is_stopped = False
            target.held_ns = self.now_ns
            self.deliver_pending(target)
        elif number in target.mask or target.is_stopped:
            if number not in target.pending:
                target.pending.append(number)
        else:
            self._handle(target, number)

    def deliver_pending(self, target: Process) -> None:
        ready = [number for number in target.pending if number not in target.mask]
        target.pending = [number for number in target.pending if number in target.mask]
        for number in ready:
            self._handle(target, number)

    def _handle(self, target: Process, number: int) -> None:
        handler = target.handlers.get(number, signal.SIG_DFL)
        if handler is signal.SIG_IGN:
            return
        if callable(handler) and handler is not signal.SIG_DFL:
            self._tell_wakeup(target, number)
        elif number not in _IGNORED_BY_DEFAULT:
            self.kill(target, number)

    def _tell_wakeup(self, target: Process, number: int) -> None:
        entry = target.fds.get(target.wakeup_fd)
        if entry and isinstance(entry[0], PipeEnd) and entry[0].mask() & 4:
            entry[0].pipe.data.append(number)
