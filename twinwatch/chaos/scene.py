"""What a fault has in its hands: one pair, ways to strike it, and ways to wait that watch meanwhile."""

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence

from twinwatch.chaos import census, undo
from twinwatch.chaos.fault import Missed
from twinwatch.chaos.judge import Judge
from twinwatch.chaos.keeper import Keeper
from twinwatch.chaos.reader import WATCHERS, Look, Lost, Reader, Slots
from twinwatch.chaos.throwaway import ThrowAway
from twinwatch.core.record import Slot
from twinwatch.core.spec import PairSpec, Policy, WorkerSpec
from twinwatch.core.values import Identity, Phase
from twinwatch.linux import cgroup, process
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, is_alive, open_process
from twinwatch.linux.paths import Paths

LOOK_S = 0.0005  # between two looks while a recovery is measured
CALM_S = 0.01  # while nothing is


class Scene:
    """`own` is set where the pair was made for the run."""

    def __init__(
        self,
        paths: Paths,
        spec: PairSpec,
        *,
        reader: Reader,
        judge: Judge,
        keeper: Keeper,
        own: ThrowAway | None,
        patience_s: float,
    ) -> None:
        self.paths, self.spec, self.reader = paths, spec, reader
        self.judge, self.keeper, self._own = judge, keeper, own
        self.patience_s = patience_s

    @property
    def own(self) -> ThrowAway:
        """Only faults that are for throw-away pairs ask for it."""
        if self._own is None:
            raise Missed
        return self._own

    @property
    def timeout_s(self) -> float:
        return self.spec.watch.timeout_ns / 1e9

    @property
    def interval_s(self) -> float:
        return self.spec.watch.interval_ns / 1e9

    # ------------------------------------------------------------ who may be struck

    def worker(self, name: str, slot: Slot) -> WorkerSpec | None:
        """The worker of a slot; None for a watcher."""
        specs = self.spec.workers if name not in WATCHERS.values() else ()
        return next((spec for spec in specs if spec.name == slot.name), None)

    def killable(self, slots: Slots) -> list[str]:
        """Running workers that are restarted after a kill, however often."""
        found = []
        for name, slot in slots.items():
            spec = self.worker(name, slot)
            if spec and spec.restart.policy is not Policy.NEVER and not spec.restart.limit:
                found += [name] if slot.phase is Phase.RUNNING else []
        return sorted(found)

    # ------------------------------------------------------------ striking

    @contextlib.contextmanager
    def opened(self, identities: Sequence[Identity]) -> Iterator[list[int]]:
        """Pidfds of recorded processes. Raises Missed where one is gone."""
        pidfds: list[int] = []
        try:
            pidfds.extend(map(open_process, identities))
            yield pidfds
        except (ProcessGone, IdentityUnknown):
            raise Missed from None
        finally:
            for pidfd in pidfds:
                os.close(pidfd)

    def kill(self, identities: Sequence[Identity], gap_s: float = 0.0) -> tuple[float, float]:
        """KILL them all in one burst, or with a gap, and wait for their deaths: (began, gap in ms).

        Every pidfd is open before the first signal. Raises Missed.
        """
        with self.opened(identities) as pidfds:
            began = last = time.monotonic()
            for number, pidfd in enumerate(pidfds):
                while gap_s and time.monotonic() < began + number * gap_s:
                    continue  # a sleep is too coarse for a gap of microseconds
                last = time.monotonic()
                process.send(pidfd, signal.SIGKILL)
            for pidfd in pidfds:
                process.wait_dead(pidfd, int(self.patience_s * 1e3))
        return began, (last - began) * 1e3

    @contextlib.contextmanager
    def stopped(self, identities: Sequence[Identity]) -> Iterator[float]:
        """Stopped for the length of the block, and going on after it: when the first was stopped."""
        with contextlib.ExitStack() as stack, self.opened(identities) as pidfds:
            for identity in identities:
                stack.enter_context(self.keeper.undoing(undo.cont(identity)))
            began = time.monotonic()
            for pidfd in pidfds:
                process.send(pidfd, signal.SIGSTOP)
            yield began

    @contextlib.contextmanager
    def limited(self, identity: Identity, which: int, soft: int) -> Iterator[None]:
        """A guard's soft limit lowered for the length of the block. Raises Missed."""
        try:
            old = resource.prlimit(identity.pid, which)
        except ProcessLookupError:
            raise Missed from None
        with self.keeper.undoing(undo.limits(self.paths, which, soft, old)), self.opened([identity]):
            resource.prlimit(identity.pid, which, (soft, old[1]))
            if not is_alive(identity):
                raise Missed
            yield

    @contextlib.contextmanager
    def written(self, on: tuple[str, str], off: tuple[str, str]) -> Iterator[None]:
        """A control file changed for the length of the block."""
        with self.keeper.undoing(undo.write(*off)):
            cgroup.write(*on)
            yield

    # ------------------------------------------------------------ waiting

    def hold(self, seconds: float) -> None:
        """So long, with the promises watched meanwhile."""
        self.wait(lambda: False, seconds, CALM_S)

    def wait(self, is_true: Callable[[], bool], seconds: float, look_s: float = 4 * LOOK_S) -> bool:
        """Until then, or so long, with a look every `look_s`. Whether it came true."""
        deadline = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() >= deadline:
                return False
            self.judge.watch()
            time.sleep(min(look_s, max(0.0, deadline - time.monotonic())))
        return True

    def hold_until_back(
        self, before: Look, names: Sequence[str], at_least_s: float, at_most_s: float
    ) -> float | None:
        """Hold until these have successors that run, within bounds. When they had; None: they have not."""
        deadline = time.monotonic() + at_least_s
        if not self.wait(lambda: self.has_grown(before, *names), at_most_s):
            return None
        back_at = time.monotonic()
        self.hold(deadline - back_at)
        return back_at

    def look(self) -> Look | None:
        """None while nothing can be read."""
        with contextlib.suppress(Lost):
            return self.reader.look()
        return None

    def has_grown(self, before: Look, *names: str) -> bool:
        """Whether these have a successor that runs."""
        now = self.look()
        return now is not None and all(
            name in now.slots
            and now.slots[name].generation > before.slots[name].generation
            and now.slots[name].phase is Phase.RUNNING
            for name in names
        )

    def guards(self) -> list[Identity]:
        """Every living guard, recorded or not."""
        return census.guards(self.paths)
