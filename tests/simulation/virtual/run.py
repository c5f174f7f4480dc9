"""One simulated life of a pair: faults at random for a while, then none, and it has to be whole again.

`simulate(seed, profile)` is the whole interface: the same two always give the same steps (`Outcome.digest`).
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from twinwatch.core.spec import WorkerSpec
from twinwatch.core.values import Desired
from virtual import marks, world
from virtual.commands import Commands
from virtual.faults import Profile, RandomFaults, go_on
from virtual.kernel import Kernel, Means
from virtual.observer import Watchful
from virtual.programs import Programs
from virtual.sandbox import sandboxed
from virtual.scheduler import RandomChance, Scheduler
from virtual.world import FIRST, World

SECOND_NS = 1_000_000_000
BOUND_NS = 40 * SECOND_NS  # from the end of all faults until the pair is whole
_STEPS = 120_000


@dataclass(frozen=True)
class Plan:
    """What a profile simulates: who works, what goes wrong, what people do, and on which kernel."""

    workers: tuple[WorkerSpec, ...]
    faults: Profile
    safety_steps: int = 3000
    reserve: int = 2
    means: Means = Means()  # noqa: RUF009 - a frozen value
    commands: float = 0.0  # chance of one, every hundred steps
    loses: float = 0.0  # chance that the runtime directory is lost, likewise
    damages: float = 0.0  # chance that a record is damaged, likewise
    fills: float = 0.0  # chance that the disk is full for a while, likewise
    goes_down: bool = False


@dataclass
class Outcome:
    seed: int
    profile: str
    complaints: list[str]
    marks: Counter[str]
    faults: dict[str, int]
    digest: str
    steps: int
    virtual_s: float
    crashes: list[str]
    trace: list[str] = field(default_factory=list)

    @property
    def replay(self) -> str:
        """The command that does the same again."""
        return f"scripts/simulate --profile {self.profile} --seed {self.seed} --trace"


class Life:
    """The course of one simulation."""

    def __init__(self, kernel: Kernel, rng: random.Random, plan: Plan) -> None:
        self.kernel, self.rng, self.plan = kernel, rng, plan
        self.faults = RandomFaults(rng, plan.faults)
        self.scheduler = Scheduler(kernel, rng, self.faults)
        self.world = World(kernel, plan.workers, reserve=plan.reserve)
        self.seen = Watchful(kernel, self.world)
        kernel.observer = self.seen
        self._lost_ns = 0
        self.commands = Commands(kernel, self.world, self.seen, rng)
        if plan.commands:
            self.faults.order = self.commands.stop_some

    # ------------------------------------------------------------ phases

    def live(self) -> None:
        self.world.start()
        self._go(lambda: not self.world.missing(), 20 * SECOND_NS, fair=True)
        self._suffer()
        if not self.seen.complaints:
            self._recover()

    def _suffer(self) -> None:
        """Safety: whatever happens, no promise about doubles, records and signals is broken."""
        self.faults.is_over = False
        end = self.kernel.steps + self.plan.safety_steps
        before = -1
        while before != self.kernel.steps < end and not self.seen.complaints:
            before = self.kernel.steps  # all of them may be held for ever: then nothing moves
            self.scheduler.run(lambda: bool(self.seen.complaints), steps=100)
            self._meddle()
            if not self._guards():
                self.seen.marks["extinct"] += 1
                if not self.world.is_there():
                    break
                self.world.start()
        self.faults.is_over = True

    def _meddle(self) -> None:
        plan, rng = self.plan, self.rng
        if rng.random() < plan.commands:
            self.commands.some()
        if rng.random() < plan.loses:
            self._lose_directory()
        if rng.random() < plan.damages:
            self.commands.damage()
        if rng.random() < plan.fills:
            self.kernel.files.is_full = True
            self.kernel.later(int(rng.random() * SECOND_NS), "room again", self._make_room)

    def _make_room(self) -> None:
        self.kernel.files.is_full = False

    def _lose_directory(self) -> None:
        """Not twice before both watchers can have seen it: what only a killed one knew is lost then, by design."""
        is_there = self.world.paths.pair in self.kernel.files.find(self.world.paths.runtime_base).entries
        if is_there and self.kernel.now_ns > self._lost_ns + SECOND_NS:
            self._lost_ns = self.kernel.now_ns
            self.seen.marks["the runtime directory is lost"] += 1
            self.kernel.files.forget(self.world.paths.runtime)

    def _recover(self) -> None:
        """Liveness: within a bound the pair is whole, and each worker runs once."""
        self._make_room()
        self._let_go()
        if self.plan.goes_down:
            self._go_down()
            return
        living = {
            one.pid: one.program for one in self.kernel.running if one.program and one.program[0] == "web"
        }
        whole = self._go(lambda: not (self._lacks() and self._guards()), BOUND_NS)
        if not whole and self._guards() and not self._able():
            self.seen.marks["only guards that are stopped are left"] += 1
            for process in list(self.kernel.running):
                go_on(self.kernel, process)
            whole = self._go(lambda: not (self._lacks() and self._guards()), BOUND_NS)
        if not self._guards():
            self.seen.marks["extinct"] += 1
            if not self.world.is_there():
                self.seen.marks["extinct, and its state is lost as well"] += 1
                return
            whole = self._revive()
            self._check_adopted(living)
        if not whole and not self.seen.complaints:
            self.seen.complain(
                "P3", f"not whole {BOUND_NS / SECOND_NS:g} s after the last fault: {self._lacks()}"
            )
        self._check_steady()

    def _let_go(self) -> None:
        """What is held goes on; but a stop may last for ever, as long as one guard can act."""
        guards = self._guards()
        fate = self.rng.choice(("go on", "kill", "stay")) if self._able() else "go on"
        for process in list(self.kernel.running):
            if not process.is_stopped or process not in guards or fate == "go on":
                go_on(self.kernel, process)
            elif fate == "kill":
                self.kernel.kill(process)
        self.kernel.unwind()

    def _revive(self) -> bool:
        """As people do: `up`, and once more where it has met somebody who was about to die."""
        for _ in range(5):
            self.world.start()
            if self._go(lambda: not (self._lacks() and self._guards()), BOUND_NS) and self._guards():
                return True
        return False

    def _lacks(self) -> str:
        return self.world.missing() or ("a command's end" if self.commands.are_at_work() else "")

    def _check_adopted(self, living: dict[int, object]) -> None:
        """P4: what ran well while nobody watched runs on."""
        slot = self.seen.known(FIRST).slot
        if slot.desired is not Desired.RUN or slot.end_generation:
            return  # somebody ordered it to end
        now = {one.pid: one.program for one in self.kernel.running}
        for pid, program in living.items():
            if now.get(pid) != program:
                self.seen.complain("P4", f"{program} was not adopted")

    def _check_steady(self) -> None:
        """A whole pair leaves its workers alone."""
        before = [birth for birth in self.seen.births if birth[0] == "web"]
        self._go(lambda: False, SECOND_NS)
        after = [birth for birth in self.seen.births if birth[0] == "web"]
        if after != before and not self.seen.complaints:
            self.seen.complain("P4", "a healthy worker is started again though nothing happened")

    def _go_down(self) -> None:
        """P8: `down` comes to its end, and then nothing lives and nothing starts."""
        told = self.commands.down()
        if not self._go(lambda: told.is_exiting, BOUND_NS):
            self.seen.complain("P3", "`down` does not come to its end")
        elif not self.seen.is_down:
            self.seen.complain("P3", f"`down` fails: {self.commands.said[-1:]}")
        self._go(lambda: False, 3 * SECOND_NS)

    # ------------------------------------------------------------ helpers

    def _able(self) -> list:
        """Guards that can act: none that is held, and no command."""
        guards = [one for one in self._guards() if one.comm.startswith("twinwatch-")]
        return [one for one in guards if not one.is_stopped and not one.is_frozen]

    def _guards(self) -> list:
        return [one for one in self.kernel.running if one.is_pair and one.program is None]

    def _go(self, until: Callable[[], bool], within_ns: int, *, fair: bool = True) -> bool:
        self.faults.is_over = fair
        stop = lambda: bool(self.seen.complaints) or until()  # noqa: E731
        done = self.scheduler.run(stop, steps=_STEPS, deadline_ns=self.kernel.now_ns + within_ns)
        return done and not self.seen.complaints


def simulate(
    seed: int,
    profile: str,
    *,
    mutate: Callable[[pytest.MonkeyPatch], None] = lambda _patch: None,
    trace: bool = False,
) -> Outcome:
    """Live one life. `mutate` takes a guard out of the project meanwhile."""
    from virtual.profiles import PROFILES

    plan = PROFILES[profile]
    rng = random.Random(f"{profile}/{seed}")
    kernel = Kernel(RandomChance(rng), plan.means)
    if trace:
        kernel.trace = type(kernel.trace)()
    with sandboxed(kernel, Programs(kernel).start), pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        life = Life(kernel, rng, plan)
        marks.Listener(kernel, life.seen.marks, patch).listen()
        life.live()
        result = Outcome(
            seed,
            profile,
            life.seen.complaints,
            life.seen.marks,
            life.faults.counts,
            kernel.digest.hexdigest(),
            kernel.steps,
            (kernel.now_ns - 1_000 * SECOND_NS) / SECOND_NS,
            kernel.crashes,
            list(kernel.trace),
        )
        kernel.observer = type(kernel.observer).__mro__[1]()
    return result


__all__ = ["Outcome", "Plan", "simulate", "world"]
