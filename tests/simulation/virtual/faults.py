"""What goes wrong, by chance: and mostly there where it hurts.

A profile gives how often each kind of fault is tried at a call of one of the pair's processes. Some calls are
*hot*: between a record and its gate, under the lock, around a collected exit one fault matters more than a
thousand elsewhere.
"""

import errno
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from twinwatch.linux.gate import COMM_RESERVE, ORDER_SIZE
from twinwatch.linux.lock import LOCK_BYTE
from virtual.kernel import Kernel
from virtual.process import Process
from virtual.scheduler import Faults

_MS = 1_000_000
_STRANGERS_MAX = 30
HOT = {
    "pwrite": 6,
    "write": 8,
    "lockf": 4,
    "waitid": 6,
    "pidfd_send_signal": 8,
    "link": 8,
    "unlink": 4,
    "fork": 4,
}
_NO_ROOM = ("pwrite", "create", "link", "fallocate")
_NO_DESCRIPTORS = ("open", "create", "pipe", "pidfd_open", "epoll_create")
_HELD_MS = (1, 20, 120, 700, 2500)
_FROZEN_MS = (20, 700, 9000, 9000)


@dataclass(frozen=True)
class Profile:
    """Chances at one call; all are multiplied at hot ones."""

    kill: float = 0.0
    twice: float = 0.35  # of a killed watcher's twin, soon after
    stop: float = 0.0
    freeze: float = 0.0
    delay: float = 0.0
    torn: float = 0.0
    no_room: float = 0.0
    no_descriptors: float = 0.0
    no_fork: float = 0.0
    kill_worker: float = 0.0
    massacre: float = 0.0
    stranger: float = 0.0
    gate: float = 0.0  # of sabotage between a record and its gate
    locked: float = 0.0  # of a stop with the state lock held
    walk: float = 0.0  # of a delay in the middle of a walk through /proc


class RandomFaults(Faults):
    """`is_over`: the safety phase has ended, and nothing goes wrong any more."""

    def __init__(self, rng: random.Random, profile: Profile) -> None:
        self._rng = rng
        self._profile = profile
        self.is_over = False
        self.counts: dict[str, int] = {}
        self._soon: list[tuple[int, str]] = []  # (step, comm of whom to kill)
        self.order: Callable[[], object] | None = None  # somebody orders something

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def before(self, kernel: Kernel, process: Process) -> object:
        if self.is_over:
            return None
        self._kill_soon(kernel)
        if not process.is_pair or process.is_exiting or process.call is None:
            return None
        if process.program is not None:
            return self._to_worker(kernel, process)
        name = process.call[0]
        factor = HOT.get(name, 1)
        self._to_others(kernel)
        if self._sabotage(kernel, process, name):
            return None
        return self._to_pair(kernel, process, name, factor)

    def _hits(self, chance: float) -> bool:
        return chance > 0 and self._rng.random() < chance

    # ------------------------------------------------------------ one of the pair

    def _to_pair(self, kernel: Kernel, process: Process, name: str, factor: int) -> object:
        profile = self._profile
        if self._hits(profile.kill * factor):
            self._kill(kernel, process, f"kill at {name}")
            if process.comm in ("twinwatch-a", "twinwatch-b") and self._hits(profile.twice):
                twin = "twinwatch-b" if process.comm == "twinwatch-a" else "twinwatch-a"
                self._soon.append((kernel.steps + self._rng.randrange(300), twin))
        elif name == "pwrite" and process.call[2] > 8 and self._hits(profile.torn * factor):  # type: ignore[index]
            self._count("torn write")
            return ("torn", self._rng.randrange(64))
        elif self._hits(profile.stop * factor):
            self._stop(kernel, process, f"stop at {name}")
        elif self._hits(profile.freeze * factor):
            self._freeze(kernel, process)
        elif self._hits(profile.delay * factor):
            self._count("delay")
            process.held_until_ns = kernel.now_ns + int(
                _MS * self._rng.choice(_HELD_MS) * (1 + self._rng.random())
            )
        else:
            return self._refusal(name)
        return None

    def _sabotage(self, kernel: Kernel, process: Process, name: str) -> bool:
        """Three places in which chance alone would seldom strike."""
        profile, call = self._profile, process.call or ()
        if name == "write" and call[2] == ORDER_SIZE and self._hits(profile.gate):
            self._at_gate(kernel, process)
            return True
        if (
            name == "lockf"
            and not process.is_frozen
            and call[1] is None
            and call[2] == LOCK_BYTE
            and self._hits(profile.locked)
        ):
            if self._hits(0.5):
                self._freeze(kernel, process)
            else:
                self._stop(kernel, process, "stop with the lock held")
            return True
        if name in ("readlink", "listdir") and self._hits(profile.walk):
            self._count("delay in a walk through /proc")
            process.held_until_ns = kernel.now_ns + 390 * _MS
            return True
        return False

    def _at_gate(self, kernel: Kernel, process: Process) -> None:
        """The child is recorded, its gate is about to be opened."""
        kinds = ("kill", "kill, and the child is stopped", "delay", "delay", "delay")
        kind = self._rng.choice(kinds if self.order else kinds[:2])
        self._count(f"at the gate: {kind}")
        if kind == "delay":
            assert self.order is not None
            process.held_until_ns = kernel.now_ns + self._rng.choice((_MS // 5, _MS, 60 * _MS))
            self.order()
            return
        if "stopped" in kind:
            for child in [
                one for one in kernel.running if one.parent is process and one.comm == COMM_RESERVE
            ]:
                child.is_stopped = True
                child.held_ns = kernel.now_ns
        kernel.kill(process)

    def _refusal(self, name: str) -> int | None:
        profile = self._profile
        if name in _NO_ROOM and self._hits(profile.no_room):
            self._count(f"ENOSPC at {name}")
            return errno.ENOSPC
        if name in _NO_DESCRIPTORS and self._hits(profile.no_descriptors):
            self._count(f"EMFILE at {name}")
            return errno.EMFILE
        if name == "fork" and self._hits(profile.no_fork):
            self._count("fork refused")
            return self._rng.choice((errno.EAGAIN, errno.ENOMEM))
        return None

    def _kill(self, kernel: Kernel, process: Process, what: str) -> None:
        self._count(what)
        kernel.note("fault", what, process)
        kernel.kill(process)

    def _stop(self, kernel: Kernel, process: Process, what: str) -> None:
        self._count(what)
        kernel.note("fault", what, process)
        process.is_stopped = True
        process.held_ns = kernel.now_ns
        twin = {"twinwatch-a": "twinwatch-b", "twinwatch-b": "twinwatch-a"}.get(process.comm)
        if twin and self._hits(self._profile.twice):
            for other in [one for one in kernel.running if one.comm == twin]:
                other.is_stopped = True
                other.held_ns = kernel.now_ns
        if self._hits(0.7):
            delay = int(_MS * self._rng.choice(_HELD_MS) * (1 + self._rng.random()))
            kernel.later(delay, f"continue {process}", lambda: go_on(kernel, process))

    def _freeze(self, kernel: Kernel, process: Process) -> None:
        """As in D state: not even KILL has an effect until it is over."""
        self._count("freeze")
        process.is_frozen = True
        process.held_ns = kernel.now_ns
        delay = int(_MS * self._rng.choice(_FROZEN_MS) * (1 + self._rng.random()))
        kernel.later(delay, f"thaw {process}", lambda: go_on(kernel, process))

    # ------------------------------------------------------------ others

    def _to_worker(self, kernel: Kernel, process: Process) -> None:
        if self._hits(self._profile.kill_worker * 4):
            self._kill(kernel, process, "kill of a worker")

    def _to_others(self, kernel: Kernel) -> None:
        """Somebody else is hit while this one runs."""
        profile = self._profile
        if self._hits(profile.kill_worker):
            workers = [one for one in kernel.running if one.program is not None]
            if workers:
                self._kill(kernel, self._rng.choice(workers), "kill of a worker")
        if self._hits(profile.kill):
            guards = [one for one in kernel.running if one.is_pair and one.program is None]
            if guards:
                self._kill(kernel, self._rng.choice(guards), "kill of another")
        if self._hits(profile.stop):
            guards = [one for one in kernel.running if one.is_pair and not one.is_stopped]
            if guards:
                self._stop(kernel, self._rng.choice(guards), "stop of another")
        if self._hits(profile.massacre):
            self._count("massacre")
            for one in [one for one in kernel.running if one.is_pair and one.program is None]:
                kernel.kill(one)
        if self._hits(profile.stranger):
            self._settle_stranger(kernel)

    def _kill_soon(self, kernel: Kernel) -> None:
        if self._soon and self._soon[0][0] <= kernel.steps:
            _, comm = self._soon.pop(0)
            for one in [one for one in kernel.running if one.comm == comm]:
                self._kill(kernel, one, "kill of both")

    def _settle_stranger(self, kernel: Kernel) -> None:
        """A process of somebody else's, most often with a PID that was one of the pair's a moment ago."""
        try:
            stranger = kernel.spawn(lambda: kernel.wait(lambda: False, None) and None, "stranger")  # type: ignore[func-returns-value]
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            return
        self._count("stranger")
        stranger.is_stranger = True
        if self._hits(0.4) and sum(one.is_stranger for one in kernel.running) < _STRANGERS_MAX:
            return  # it stays for good
        life = int(_MS * 400 * self._rng.random())
        kernel.later(life, f"end {stranger}", lambda: kernel.kill(stranger, signal.SIGTERM))


def go_on(kernel: Kernel, process: Process) -> None:
    """Whatever held a process holds it no more."""
    process.is_stopped = False
    process.held_ns = kernel.now_ns
    process.held_until_ns = 0
    kernel.deliver_pending(process)
    if process.is_frozen:
        kernel.thaw(process)
