"""Where the time between a worker's death and its next program goes, step by step: `perf` reads the clock.

The pair runs real-time meanwhile: this is its own way, and not the other work of the machine. Each step ends
with one entry to, or return from, a system call; which one, STEPS says. Where the way has changed, no step is
found, and STEPS is what has to follow.
"""

import os
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measures import Running, running
from benchmarks.pair import open_state, wait_whole
from benchmarks.peers.peer import FAST
from benchmarks.stamps import WaitedInVain, strike
from benchmarks.syscalls import Calm, owner

ALONE = ("unshare", "--mount", "--propagation", "private")  # perf mounts tracefs where it finds none
START_S = 2.0  # for perf to be ready: it does not say so when it looks at processes that live
PAUSES = {"after 0.4 s of rest": 0.4, "at once": 0.002}  # between two deaths: its caches are cold, or warm
FIRST = 2  # restarts left out: the first ones meet what was never used
LINE = re.compile(r"\s*(?P<tid>\d+)\s+(?P<s>\d+)\.(?P<ns>\d{9}):\s+syscalls:sys_(?P<event>\w+):")


@dataclass(frozen=True, slots=True)
class Step:
    """It ends when `who` meets `event` for the nth time (from 0) after the step before."""

    name: str
    who: str
    event: str
    nth: int = 0


WATCHER, CHILD = "watcher", "child"
STEPS = (
    Step("the kernel ends the worker; the watcher wakes up", WATCHER, "exit_epoll_wait"),
    Step("how did it end, what is to be done", WATCHER, "enter_fcntl"),
    Step("the exit is recorded, under the lock", WATCHER, "exit_fcntl", 1),
    Step("it is collected; what has it left; birth is decided", WATCHER, "enter_fcntl"),
    Step("the birth is recorded, under the lock", WATCHER, "exit_fcntl", 1),
    Step("the gate opens", WATCHER, "enter_write"),
    Step("the child wakes up", CHILD, "exit_poll"),
    Step("it reads its slot once more", CHILD, "enter_openat", 1),
    Step("it locks its token", CHILD, "exit_fcntl", 1),
    Step("it makes its heartbeat file", CHILD, "exit_rename"),
    Step("output, limits, directory, signals", CHILD, "enter_execve"),
)
LAST = "execve, to the first instruction"
EVENTS = sorted({step.event for step in STEPS})


@dataclass(frozen=True, slots=True)
class Kill:
    """One restart: when the signal was sent, who came next, and when that one began."""

    at_ns: int
    child: int
    began_ns: int


def kill_repeatedly(run: Running, kills: int, pause_s: float) -> list[Kill]:
    found = []
    state = open_state(run)
    try:
        for _ in range(kills):
            wait_whole(state)
            time.sleep(pause_s)
            (old,) = run.stamps.latest.values()
            at_ns = strike([run.pidfd(old)])
            new = run.stamps.wait_after(old, run.peer.patience_s)
            found.append(Kill(at_ns, new.pid, new.at_ns))
    finally:
        state.close()
    return found


def hurry(pids: Iterable[int]) -> None:
    """Raises: PermissionError."""
    for pid in pids:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


def record(run: Running, kills: int, pause_s: float, data: Path) -> tuple[int, list[Kill]]:
    """The watcher's PID, and the restarts that perf looked at.

    Raises:
        WaitedInVain: perf does not work here.
    """
    state = open_state(run)
    try:
        wait_whole(state)
        role = owner(state)
        watcher = state.slot(role.slot).identity.pid
        pids = [watcher, *(identity.pid for identity in state.reserves(role).identities)]
    finally:
        state.close()
    hurry(pids)
    chosen = [word for event in EVENTS for word in ("-e", f"syscalls:sys_{event}")]
    where = ["-k", "CLOCK_MONOTONIC", "-o", str(data), "-p", ",".join(map(str, pids))]
    perf = subprocess.Popen(
        [*ALONE, "perf", "record", "-q", *where, *chosen],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        time.sleep(START_S)
        if perf.poll() is not None:
            said = (perf.communicate()[0].strip().splitlines() or ["no word"])[0]
            raise WaitedInVain(f"perf does not work here: {said}")
        return watcher, kill_repeatedly(run, kills, pause_s)
    finally:
        if perf.poll() is None:
            perf.send_signal(signal.SIGINT)
        perf.communicate()


def events_of(lines: Iterable[str]) -> dict[int, list[tuple[int, str]]]:
    """PID -> (time, event), from what `perf script` prints."""
    found: dict[int, list[tuple[int, str]]] = {}
    for line in lines:
        if match := LINE.match(line):
            at_ns = int(match["s"]) * 10**9 + int(match["ns"])
            found.setdefault(int(match["tid"]), []).append((at_ns, match["event"]))
    return found


def durations(
    kill: Kill, watcher: Sequence[tuple[int, str]], child: Sequence[tuple[int, str]]
) -> dict[str, int] | None:
    """Step -> nanoseconds; None where a step is not found."""
    found: dict[str, int] = {}
    now_ns = kill.at_ns
    for step in STEPS:
        events = watcher if step.who == WATCHER else child
        after = [at_ns for at_ns, event in events if event == step.event and at_ns > now_ns]
        if len(after) <= step.nth or after[step.nth] > kill.began_ns:
            return None
        found[step.name] = after[step.nth] - now_ns
        now_ns = after[step.nth]
    found[LAST] = kill.began_ns - now_ns
    return found


def profile(kills: int, pause_s: float, programs: dict[str, str]) -> dict[str, float]:
    """Step -> median nanoseconds.

    Raises:
        WaitedInVain: perf does not work here, or the steps are not found. PermissionError: not root.
    """
    with running(Calm(), FAST, 1, programs) as run:
        data = run.plan.run / "perf.data"
        watcher, struck = record(run, kills, pause_s, data)
        words = ["perf", "script", "-i", str(data), "-F", "tid,time,event", "--ns"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    events = events_of(done.stdout.splitlines())
    found = [durations(kill, events.get(watcher, []), events.get(kill.child, [])) for kill in struck[FIRST:]]
    whole = [one for one in found if one is not None]
    if not whole:
        raise WaitedInVain("the steps are not found: has the way to a restart changed?")
    return {name: statistics.median(one[name] for one in whole) for name in whole[0]}
