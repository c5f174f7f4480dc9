"""What is measured of every guard: single restarts, crowds, idle cost, and the guard's own death.

All times are nanoseconds. A sample that did not come within the guard's patience is left out and told of.
"""

import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.peer import Peer, Plan
from benchmarks.site import Site
from benchmarks.stamps import Stamp, Stamps, WaitedInVain, open_worker, strike

PACE_S = 0.1  # between two kills: what a guard does after a restart is over
TMPFS = "/dev/shm"  # noqa: S108 - folders of our own in it
BACK_S = 20.0  # for a killed guard to be back, or started again by hand
UNWANTED_S = 5.0  # after it is back, for a second copy to show


@dataclass(slots=True)
class Running:
    """A guard with all its workers at work. `start_ns`: from its start to the first act of the last one."""

    peer: Peer
    plan: Plan
    site: Site
    stamps: Stamps
    start_ns: int

    def pidfd(self, stamp: Stamp) -> int:
        return open_worker(self.site.outer(stamp.pid), stamp, self.plan.stamps)

    def pidfds(self) -> list[int]:
        return [self.pidfd(stamp) for stamp in self.stamps.latest.values()]


@contextmanager
def running(peer: Peer, variant: str, count: int, programs: dict[str, str]) -> Iterator[Running]:
    """Start it, and wait for the first act of each worker; end all of it at the end.

    Raises:
        WaitedInVain: not all of them began.
    """
    fast = TMPFS if os.access(TMPFS, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="twinwatch-bench.") as keep,
        tempfile.TemporaryDirectory(prefix="tw-bench.", dir=fast) as run,
    ):
        plan = Plan(count, variant, Path(run), Path(keep), programs)
        peer.lay(plan)
        stamps = Stamps(plan.stamps)
        site = peer.open_site(plan)
        try:
            began_ns = time.monotonic_ns()
            peer.start(site, plan)
            stamps.wait(lambda: len(stamps.latest) >= count, f"{count} workers", peer.patience_s)
            last_ns = max(stamp.at_ns for stamp in stamps.latest.values())
            yield Running(peer, plan, site, stamps, last_ns - began_ns)
        finally:
            site.end()


def settle(run: Running, stamp: Stamp) -> None:
    """Until the worker is old enough for the guard to take its start for a good one."""
    old_ns = time.monotonic_ns() - stamp.at_ns
    time.sleep(max(PACE_S, run.peer.settle_s - old_ns / 1e9))


def kill_one(run: Running, stamp: Stamp) -> tuple[int, Stamp]:
    """Kill that worker. (nanoseconds to the first act of the next one, its stamp)."""
    began_ns = strike([run.pidfd(stamp)])
    again = run.stamps.wait_after(stamp, run.peer.patience_s)
    return again.at_ns - began_ns, again


def restarts(run: Running, kills: int, budget_s: float) -> list[int]:
    """(A) Workers killed one after the other, the one that lives longest first."""
    return _one_by_one(
        run, kills, budget_s, lambda: min(run.stamps.latest.values(), key=lambda stamp: stamp.at_ns)
    )


def scattered(run: Running, kills: int, budget_s: float) -> list[int]:
    """(E) The same with workers drawn by lot, none twice before all were: the oldest tell nothing of size."""
    drawn: list[str] = []

    def by_lot() -> Stamp:
        drawn.extend([] if drawn else random.sample(sorted(run.stamps.latest), len(run.stamps.latest)))
        return run.stamps.latest[drawn.pop()]

    return _one_by_one(run, kills, budget_s, by_lot)


def _one_by_one(run: Running, kills: int, budget_s: float, choose: Callable[[], Stamp]) -> list[int]:
    found: list[int] = []
    deadline_ns = time.monotonic_ns() + int(budget_s * 1e9)
    while len(found) < kills and time.monotonic_ns() < deadline_ns:
        stamp = choose()
        settle(run, stamp)
        found.append(kill_one(run, stamp)[0])
    return found


def again_at_once(run: Running, kills: int, budget_s: float) -> list[int]:
    """(B) A worker is killed, and its successor as soon as that has begun: the time after the second kill."""
    found: list[int] = []
    deadline_ns = time.monotonic_ns() + int(budget_s * 1e9)
    for label in sorted(run.stamps.latest)[:kills]:
        if time.monotonic_ns() > deadline_ns:
            break
        settle(run, run.stamps.latest[label])
        _, again = kill_one(run, run.stamps.latest[label])
        found.append(kill_one(run, again)[0])
    return found


def crowd(run: Running) -> tuple[int, int]:
    """(C) All workers killed at one instant: (to the first act of the last new one, of the median one)."""
    time.sleep(run.peer.settle_s + 1.0)
    stamps, before, known = run.stamps, dict(run.stamps.latest), len(run.stamps.all)
    began_ns = strike(run.pidfds())

    def are_back() -> bool:
        enough = len(stamps.all) >= known + len(before)  # first, since it costs nothing
        return enough and all(stamps.latest[label] != old for label, old in before.items())

    stamps.wait(are_back, "all workers are back", run.peer.patience_s)
    times = sorted(stamp.at_ns - began_ns for stamp in stamps.latest.values())
    return times[-1], times[len(times) // 2]


# ---------------------------------------------------------------- what it costs while nothing happens


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all processes of a guard. `wakeups`: voluntary context switches, each the end of a wait."""

    cpu_ns: int
    wakeups: int


def spent(pid: int) -> Cost:
    """All threads of one process since its start; zeros when it is gone."""
    cpu_ns = wakeups = 0
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", "rb") as file:
                cpu_ns += int(file.read().split()[0])
            with open(f"/proc/{pid}/task/{task}/status", "rb") as file:
                lines = file.read().splitlines()
            wakeups += next(int(line.split()[1]) for line in lines if line.startswith(b"voluntary"))
    return Cost(cpu_ns, wakeups)


def pss(pid: int) -> int:
    """Bytes of memory, shared pages divided by those who share them."""
    with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def costs(run: Running) -> dict[int, Cost]:
    """Of each process of the guard."""
    return {pid: spent(pid) for pid in run.site.guards()}


def growth(before: dict[int, Cost], after: dict[int, Cost]) -> Cost:
    """What was spent between; a process that came meanwhile counts from its start."""
    none = Cost(0, 0)
    gone = [(after[pid], before.get(pid, none)) for pid in after]
    return Cost(
        sum(new.cpu_ns - old.cpu_ns for new, old in gone), sum(new.wakeups - old.wakeups for new, old in gone)
    )


def memory(run: Running) -> tuple[int, int]:
    """(PSS of all processes of the guard, how many they are)."""
    guards = run.site.guards()
    return sum(map(pss, guards)), len(guards)


# ---------------------------------------------------------------- the guard's own death


def guard_killed(run: Running) -> dict[str, object]:
    """(H) Kill the guard, bring it back, count the workers that live then."""
    time.sleep(run.peer.settle_s)
    known = len(run.stamps.all)
    victims = run.peer.victims(run.site, run.stamps)
    kill_all(victims)
    if not run.peer.returns_by_itself:
        run.peer.start(run.site, run.plan)
    with suppress(WaitedInVain):
        run.stamps.wait(lambda: len(run.stamps.all) >= known + run.plan.count, "new workers", BACK_S)
    time.sleep(UNWANTED_S)
    run.stamps.look()
    living = Counter(stamp.label for stamp in run.stamps.all if lives(run, stamp))
    counts = [living.get(label, 0) for label in run.stamps.latest]
    return {"killed": len(victims), "workers": run.plan.count, "living": sum(counts), "most": max(counts)}


def kill_all(pids: list[int]) -> None:
    """Stopped first: of several that guard each other none is to be revived."""
    held = []
    for pid in pids:
        with suppress(ProcessLookupError):
            held.append(os.pidfd_open(pid))
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pidfd in held:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
    for pidfd in held:
        os.close(pidfd)


def lives(run: Running, stamp: Stamp) -> bool:
    """Whether the process that wrote this stamp is there."""
    try:
        os.close(run.pidfd(stamp))
    except ProcessLookupError:
        return False
    return True
