"""How many system calls stand between a worker's death and its next program: a cost that no noise touches.

`strace` looks at both watchers, since either may act, and at their reserves, one of which is the next worker.
Counted are the calls of the watcher from its wake-up to the write that opens the gate, and those of the child
from there to its `execve`. What follows (events, a new reserve) is on nobody's way.

Of several restarts the least counts: now and then a tick or another event falls into one.
"""

import json
import re
import signal
import subprocess
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measures import Running, kill_one, running
from benchmarks.pair import open_state, wait_whole
from benchmarks.peers.own import Twinwatch
from benchmarks.peers.peer import FAST, Plan, write
from benchmarks.stamps import WaitedInVain

from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Role
from twinwatch.linux.gate import ORDER_SIZE
from twinwatch.linux.statefile import StateFile

BUDGET = Path(__file__).resolve().with_name("budget.json")
PATIENCE_S = 30.0
LINE = re.compile(r"(?P<pid>\d+) +(?P<resumed><\.\.\. )?(?P<call>[a-z_0-9]+)(?P<rest>.*)")
RESULT = re.compile(r" = (-?\d+)[^=]*$")


@dataclass(slots=True)
class Restart:
    """Names of the calls of one restart, in order."""

    watcher: list[str] = field(default_factory=list)
    child: list[str] = field(default_factory=list)


class Reader:
    """Cuts a trace into restarts. `watchers`: PIDs of those that may open a gate."""

    def __init__(self, watchers: Collection[int]) -> None:
        self.restarts: list[Restart] = []
        self._watchers = frozenset(watchers)
        self._calls: dict[int, list[str]] = {}
        self._order: list[str] = []

    def read(self, lines: Iterable[str]) -> None:
        for line in lines:
            found = LINE.match(line)
            if found is None:
                continue
            pid, call = int(found["pid"]), found["call"]
            result = RESULT.search(found["rest"])
            if not found["resumed"]:
                self._calls.setdefault(pid, []).append(call)
            if pid in self._watchers:
                self._of_watcher(pid, call, int(result[1]) if result else None)
            else:
                self._of_child(pid, call, entered=not found["resumed"])

    def _of_watcher(self, pid: int, call: str, result: int | None) -> None:
        calls = self._calls.setdefault(pid, [])
        if call == "epoll_wait" and result:
            calls.clear()
        elif call == "write" and result == ORDER_SIZE:
            self._order = list(calls)
            calls.clear()

    def _of_child(self, pid: int, call: str, *, entered: bool) -> None:
        calls = self._calls.setdefault(pid, [])
        if call in ("poll", "restart_syscall"):
            calls.clear()  # what counts is what follows the last wait
        elif call == "execve" and entered:
            self.restarts.append(Restart(self._order, list(calls)))
            calls.clear()


class Calm(Twinwatch):
    """Hardly any tick falls into a restart."""

    def lay(self, plan: Plan) -> None:
        super().lay(plan)
        path = plan.keep / "bench.yaml"
        write(path, path.read_text().replace("{reserve: 8}", "{interval: 1m, timeout: 5m}"))


def owner(state: StateFile) -> Role:
    """Of the first worker."""
    return state.slot(FIRST_WORKER_SLOT).owner


def is_traced(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return "TracerPid:\t0\n" not in file.read()
    except FileNotFoundError:
        return True


def trace(run: Running, kills: int) -> list[Restart]:
    """Kill the one worker of `run`, again and again, with `strace` looking on."""
    state = open_state(run)
    try:
        wait_whole(state)
        watchers = [state.slot(role.slot).identity.pid for role in WATCHER_ROLES]
        reserves = [one.pid for role in WATCHER_ROLES for one in state.reserves(role).identities]
        pids = watchers + reserves
        output = run.plan.run / "trace"
        attach = [word for pid in pids for word in ("-p", str(pid))]
        words = ["strace", "-f", "-qq", "-o", str(output), *attach]
        strace = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not all(map(is_traced, pids)):
                if time.monotonic() > deadline:
                    raise WaitedInVain("strace does not attach")
                time.sleep(0.01)
            for _ in range(kills):
                kill_one(run, *run.stamps.latest.values())
                wait_whole(state)
        finally:
            strace.send_signal(signal.SIGTERM)
            strace.wait()
    finally:
        state.close()
    reader = Reader(watchers)
    with output.open(encoding="utf-8", errors="replace") as file:
        reader.read(file)
    return reader.restarts


def restarts(kills: int, programs: dict[str, str]) -> list[Restart]:
    """Of a pair with one worker and nothing special in its configuration."""
    with running(Calm(), FAST, 1, programs) as run:
        return trace(run, kills)


def least(found: list[Restart]) -> dict[str, list[str]]:
    """The shortest way of each kind, by the names of the budget."""
    return {
        "watcher, from its wake-up to the open gate": min((one.watcher for one in found), key=len),
        "child, from the open gate to its program": min((one.child for one in found), key=len),
    }


def excess(ways: dict[str, list[str]], allowed: dict[str, int]) -> list[str]:
    """What is over the budget by more than the tolerance, in words."""
    return [
        f"{way}: {len(calls)} system calls, {allowed[way]} allowed: {' '.join(calls)}"
        for way, calls in ways.items()
        if len(calls) > allowed[way] + allowed["tolerance"]
    ]


def budget() -> dict[str, int]:
    """Name -> how many calls are allowed; `tolerance`: how many more another kernel or Python may need."""
    return json.loads(BUDGET.read_text(encoding="utf-8"))
