"""Who runs next, decided by a seed: and how long it takes, and what goes wrong."""

# ruff: noqa: ARG002 - what a base class does not need, its heirs do

import heapq
import random
from collections.abc import Callable

from virtual.kernel import Chance, Kernel
from virtual.process import Process

STEP_NS = 1_000
GO_ON = 0.8  # the chance that who runs goes on running
_US, _MS = 1_000, 1_000_000


class RandomChance(Chance):
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, count: int, what: str) -> int:
        return self._rng.randrange(count)

    def delay_ns(self, what: str) -> int:
        """Mostly nothing, sometimes long: init may be busy, an exit may take its time."""
        chance = self._rng.random()
        if what == "init":
            return int((200 if chance < 0.1 else 5) * _MS * self._rng.random())
        if chance < 0.5:
            return 0
        return int((50 * _US if chance < 0.95 else 8 * _MS) * self._rng.random())


class Faults:
    """Nothing goes wrong."""

    def before(self, kernel: Kernel, process: Process) -> object:
        """What is to go wrong with the call that the process is about to make."""
        return None


class Scheduler:
    """Runs a kernel by a seed."""

    def __init__(self, kernel: Kernel, rng: random.Random, faults: Faults | None = None) -> None:
        self._kernel = kernel
        self._rng = rng
        self.faults = faults or Faults()
        self._last: Process | None = None

    def run(self, until: Callable[[], bool], *, steps: int, deadline_ns: int | None = None) -> bool:
        """Run until something is so. False: it never was, in so many steps or so much virtual time."""
        kernel = self._kernel
        for number in range(steps):
            if number % 16 == 0 and until():
                return True
            if deadline_ns is not None and kernel.now_ns >= deadline_ns:
                break
            if not self.step():
                break
        return until()

    def step(self) -> bool:
        """One point of one process, or something that the kernel does. False: nothing will ever happen."""
        kernel, rng = self._kernel, self._rng
        last = self._last
        if last is None or last.is_exiting or rng.random() > GO_ON or not kernel.is_runnable(last):
            last = self._choose()
            if last is None:
                return self._pass_time()
        kernel.now_ns += STEP_NS * (1 + rng.getrandbits(4))
        directive = None
        if last.waiting is None:
            directive = self.faults.before(kernel, last)
            if last.is_exiting or not kernel.is_runnable(last):
                kernel.unwind()
                return True
            kernel.note(last, *(last.call or ("begins",)), directive or "")
        self._last = last
        kernel.resume(last, directive)
        return True

    def _choose(self) -> Process | None:
        """Somebody who can run; None where none can, or where the kernel has done something instead."""
        kernel = self._kernel
        while True:
            able = [process for process in kernel.running if kernel.is_runnable(process)]
            due = bool(kernel.tasks) and kernel.tasks[0][0] <= kernel.now_ns
            if due and (not able or self._rng.random() < 0.3):
                _, _, name, do = heapq.heappop(kernel.tasks)
                kernel.note("kernel", name)
                do()
                continue
            return self._rng.choice(able) if able else None

    def _pass_time(self) -> bool:
        kernel = self._kernel
        due_ns = kernel.next_ns()
        if due_ns is None:
            return False
        kernel.now_ns = max(kernel.now_ns, due_ns)
        return True
