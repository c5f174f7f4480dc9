"""All interleavings of a small scene, up to a bound: the same kernel, with every choice enumerated.

A schedule is a list of choices. It is played from the beginning each time; then the last choice that had an
alternative is changed, until none is left. Bounded are the *preemptions* (somebody else runs although who runs could
go on), as in CHESS, and the kills. A switch where who runs has to wait is free, and all of them are tried.
"""

import heapq
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from twinwatch.watch import frame
from virtual.kernel import Chance, Kernel
from virtual.observer import Watchful
from virtual.process import Process
from virtual.programs import Programs
from virtual.sandbox import Sandbox, sandboxed
from virtual.world import World

# Calls that others can notice, or by which one notices others; elsewhere who runs goes on.
VISIBLE = frozenset({"pwrite", "lockf", "write", "link", "unlink", "rename", "exec", "done"})
_SELECTOR = 8  # bytes: a read of that many looks whether a record has moved on
_QUIET_NS = 100_000_000  # nothing is due for so long: all is settled
_STEPS_MAX = 5000
STEP_NS = 5_000


@dataclass(frozen=True)
class Bound:
    preemptions: int = 2
    kills: int = 0


@dataclass
class Report:
    schedules: int = 0
    is_complete: bool = False
    complaints: list[tuple[str, list[int]]] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)


class Stage:
    """What a scene is set on: one kernel and its pair, made anew for each schedule."""

    def __init__(self, kernel: Kernel, sandbox: Sandbox, scene: "Scene") -> None:
        self.kernel, self.sandbox = kernel, sandbox
        self.world = World(kernel, scene.workers, reserve=0)
        self.seen = Watchful(kernel, self.world)
        kernel.observer = self.seen
        self.has_begun = False
        self.mortal: set[Process] = set()
        self.said: dict[str, object] = {}

    def wait_for_start(self) -> None:
        """All actors begin at one moment, when everything is set."""
        self.kernel.wait(lambda: self.has_begun, None)

    def rest(self) -> None:
        self.kernel.wait(lambda: False, None)


@dataclass(frozen=True)
class Scene:
    """`play` starts the processes; `judge` says what is wrong when all is settled, or how it ended (`=...`)."""

    name: str
    workers: tuple
    play: Callable[[Stage], None]
    judge: Callable[[Stage], str]
    bounds: tuple[Bound, ...]
    wide: Bound


class _Player:
    """Plays one schedule: the given choices, then the first of each."""

    def __init__(self, stage: Stage, bound: Bound, choices: list[int]) -> None:
        self._stage, self._kernel = stage, stage.kernel
        self._preemptions, self._kills = bound.preemptions, bound.kills
        self._given = choices
        self.made: list[tuple[int, int]] = []  # (chosen, of how many)
        self._last: Process | None = None

    def _choose(self, count: int) -> int:
        number = len(self.made)
        chosen = self._given[number] if number < len(self._given) else 0
        self.made.append((chosen, count))
        return chosen

    def settle(self) -> None:
        """Without choices: everybody runs until he has to wait."""
        while self._step(explores=False):
            continue

    def run(self) -> None:
        for _ in range(_STEPS_MAX):
            if self._stage.seen.complaints or not self._step(explores=True):
                return
        raise AssertionError("a schedule that does not end")

    def _step(self, *, explores: bool) -> bool:
        kernel = self._kernel
        while (
            kernel.tasks and kernel.tasks[0][0] <= kernel.now_ns
        ):  # in what order is the simulation's to try
            heapq.heappop(kernel.tasks)[3]()
        able = [process for process in kernel.running if kernel.is_runnable(process)]
        if not able:
            due_ns = kernel.next_ns()
            if due_ns is None or due_ns - kernel.now_ns >= _QUIET_NS:
                return False
            kernel.now_ns = due_ns
            return True
        kernel.now_ns += STEP_NS
        last = self._last if self._last in able else None
        if last is not None and (not explores or not self._is_visible(last)):
            self._go(last)
            return True
        self._decide(last, able, explores=explores)
        return True

    @staticmethod
    def _is_visible(process: Process) -> bool:
        if process.waiting is not None or process.call is None:
            return False
        name = process.call[0]
        return name in VISIBLE or (name == "pread" and process.call[2] == _SELECTOR)

    def _decide(self, last: Process | None, able: list[Process], *, explores: bool) -> None:
        others = [one for one in able if one is not last]
        options: list[tuple[str, Process]] = [("go", last)] if last else []
        if last is None or self._preemptions:
            options += [("go", one) for one in others]
        if last and self._kills and last in self._stage.mortal:
            options.append(("kill", last))
        kind, what = options[self._choose(len(options)) if explores and len(options) > 1 else 0]
        if kind == "kill":
            self._kills -= 1
            self._kernel.kill(what)
            self._kernel.unwind()
            return
        self._preemptions -= last is not None and what is not last
        self._go(what)

    def _go(self, process: Process) -> None:
        self._last = process
        if process.waiting is None:
            self._kernel.note(process, *(process.call or ("begins",)))
        self._kernel.resume(process)


@contextmanager
def exploring(scene: Scene, mutate: Callable[[pytest.MonkeyPatch], None] = lambda _patch: None):
    """A function that plays one schedule of a scene: choices -> (what was chosen of how many, complaint, end)."""
    kernel = Kernel(Chance())
    with sandboxed(kernel, Programs(kernel).start) as sandbox, pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            frame, "_live", lambda *_: kernel.wait(lambda: False, None)
        )  # a new watcher only sits there
        mutate(patch)

        def play(bound: Bound, choices: list[int]) -> tuple[list[tuple[int, int]], str, str]:
            kernel.end()
            kernel.__init__(Chance())  # type: ignore[misc]
            stage = Stage(kernel, sandbox, scene)
            player = _Player(stage, bound, choices)
            scene.play(stage)
            player.settle()
            stage.has_begun = True
            player.run()
            verdict = scene.judge(stage)
            complaint = next(iter(stage.seen.complaints), "" if verdict.startswith("=") else verdict)
            return player.made, complaint, verdict

        yield play


def explore(
    scene: Scene, *, bound: Bound, mutate=lambda _patch: None, stops_at_first: bool = False
) -> Report:
    """Every schedule of a scene within a bound."""
    report, choices = Report(), []
    with exploring(scene, mutate) as play:
        while True:
            made, complaint, verdict = play(bound, choices)
            report.schedules += 1
            report.ends[verdict] = report.ends.get(verdict, 0) + 1
            if complaint:
                report.complaints.append((complaint, [chosen for chosen, _ in made]))
                if stops_at_first:
                    return report
            while made and made[-1][0] + 1 >= made[-1][1]:
                made.pop()
            if not made:
                report.is_complete = True
                return report
            choices = [chosen for chosen, _ in made[:-1]] + [made[-1][0] + 1]
