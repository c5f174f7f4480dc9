"""What only a pair has: the death of a twin (F), and heartbeats that are judged (G)."""

import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measures import Running, costs, growth, running
from benchmarks.peers.own import PAIR, Twinwatch, configuration
from benchmarks.peers.peer import SHIPPED, Plan, write
from benchmarks.stamps import WaitedInVain

from twinwatch.client.heartbeat import SIZE, Heartbeat
from twinwatch.core.values import WATCHER_ROLES, Phase, Role
from twinwatch.linux.identity import is_alive, open_process
from twinwatch.linux.statefile import StateFile

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))
from bench_beat import measure as measure_calls  # noqa: E402 - from beside this folder

PATIENCE_S = 30.0
PAUSE_S = 0.6  # between two deaths: births of a role are spaced when they come too fast
LOOK_S = 2e-5
WATCH_TIMEOUT_NS = 2 * 10**9
BEATS_HZ = 10
HEALTH = "heartbeat: {timeout: 1s, misses: 3}"


@dataclass(frozen=True, slots=True)
class Succession:
    """Of one death of a watcher. Nanoseconds after the signal was sent.

    `died`: its pidfd was readable. `filled`: the time that the successor's record gives for its birth, read
    under the lock just before it was written. `watching`: the successor says that it watches.
    """

    died: int
    filled: int
    watching: int


def open_state(run: Running) -> StateFile:
    return StateFile(str(run.plan.run / "tw" / PAIR), WATCH_TIMEOUT_NS)


def wait_whole(state: StateFile) -> None:
    """Both watchers watch, each with its reserves."""
    deadline = time.monotonic() + PATIENCE_S
    while not all(is_complete(state, role) for role in WATCHER_ROLES):
        if time.monotonic() > deadline:
            raise WaitedInVain("the pair does not become whole")
        time.sleep(0.005)


def is_complete(state: StateFile, role: Role) -> bool:
    slot, reserves = state.slot(role.slot), state.reserves(role)
    listed = reserves.identities if reserves.generation == slot.generation else ()
    return slot.phase is Phase.RUNNING and sum(map(is_alive, listed)) >= 2


@contextmanager
def hurried() -> Iterator[None]:
    """Whoever is to see when a process dies must not be late itself: real-time, where that is allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def succeed(state: StateFile, role: Role) -> Succession:
    """Kill the holder of a role, and see what comes of it."""
    old = state.slot(role.slot)
    pidfd = open_process(old.identity)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    with hurried():
        began_ns = time.monotonic_ns()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll.poll(PATIENCE_S * 1000)
        died_ns = time.monotonic_ns()
    os.close(pidfd)
    while True:
        slot = state.slot(role.slot)
        if slot.generation > old.generation and slot.phase is Phase.RUNNING:
            break
        if time.monotonic_ns() - began_ns > PATIENCE_S * 1e9:
            raise WaitedInVain("nobody watches in its place")
        time.sleep(LOOK_S)
    watching_ns = time.monotonic_ns()
    return Succession(died_ns - began_ns, slot.born_ns - began_ns, watching_ns - began_ns)


def successions(kills: int, programs: dict[str, str]) -> list[Succession]:
    """(F) Deaths of `a` and `b` in turn, of a pair with ten workers."""
    found = []
    with running(Twinwatch(), SHIPPED, 10, programs) as run:
        state = open_state(run)
        try:
            for number in range(kills):
                wait_whole(state)
                time.sleep(PAUSE_S)
                found.append(succeed(state, WATCHER_ROLES[number % 2]))
        finally:
            state.close()
    return found


# ---------------------------------------------------------------- heartbeats


class Empty:
    """What a call costs in any case."""

    def beat(self) -> None:
        """Do nothing."""


def beat_costs(samples: int, calls: int) -> dict[str, list[float]]:
    """(G) Nanoseconds of a beat in Python, and of a method that does nothing."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(bytes(SIZE))
        file.flush()
        with Heartbeat(file.name) as watched:
            return measure_calls({"empty": Empty().beat, "beat": watched.beat}, samples, calls)


class Beating(Twinwatch):
    """Workers that beat; judged or not."""

    def __init__(self, health: str) -> None:
        super().__init__()
        self._health = health

    def lay(self, plan: Plan) -> None:
        command = (plan.programs["beat"], f'"{BEATS_HZ}"')
        write(plan.keep / "bench.yaml", configuration(plan, *command, health=self._health))


def judging(count: int, seconds: float, programs: dict[str, str]) -> dict[str, object]:
    """(G) What both watchers spend in `seconds` on workers that beat: unjudged, and judged."""
    found: dict[str, object] = {"workers": count, "seconds": seconds, "hz": BEATS_HZ}
    for name, health in (("unjudged", ""), ("judged", HEALTH)):
        with running(Beating(health), SHIPPED, count, programs) as run:
            time.sleep(2 * run.peer.settle_s)
            before = costs(run)
            time.sleep(seconds)
            cost = growth(before, costs(run))
            found[name] = {"cpu_ns": cost.cpu_ns, "wakeups": cost.wakeups}
    return found
