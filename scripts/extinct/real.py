"""Real pairs: how long their repairs take, and how soon they are extinct under independent kills.

This process becomes a subreaper, so everything that a pair forks is below it in the tree of processes,
recorded in the state file or not: a killer that knows all. What it signals is a pidfd whose process was below
it after the pidfd was open.
"""

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from twinwatch.core.values import WATCHER_ROLES, Identity, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.daemon import become_subreaper
from twinwatch.linux.identity import is_alive, is_dead, open_process, stat_fields
from twinwatch.linux.statefile import StateFile

CONFIG = "pair: extinct\nwatch: {{interval: 200ms, timeout: 2s, reserve: {reserve}}}\n"
PATIENCE_S = 30.0
LOOK_S = 20e-6
PACE_MS = 230  # between two measured kills: the births of a role stay within its burst
TRIES = 4
PARTS = ("claim", "start", "fork", "bear")
LOG_MAX = 4000
_PARENT_FIELD = 1  # of stat_fields: field 4 of /proc/PID/stat


class Failed(Exception):
    """A pair did not do what the measurement needs."""


@dataclass
class Repairs:
    """Seconds, one entry a kill. `claims_by_twin`: of all claims, those that the twin made."""

    samples_s: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PARTS})
    claims_by_twin: int = 0

    @property
    def twin_share(self) -> float:
        return self.claims_by_twin / len(self.samples_s["claim"])


@dataclass(frozen=True)
class Extinction:
    """`seconds` from whole to the last kill; `births` of both roles; `clipped`: looks that met too many.

    `rate_hz`: what each process really suffered, less than was asked for where the looks took too long.
    """

    seconds: float
    kills: int
    births: int
    clipped: int
    rate_hz: float


class ThrowAway:
    """A pair of one's own below this process, with no workers."""

    def __init__(self, reserve: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="twinwatch-extinct.")
        self.reserve = reserve
        self.root = self._folder.name
        with open(f"{self.root}/pair.yaml", "w", encoding="utf-8") as file:
            file.write(CONFIG.format(reserve=reserve))
        self._environ = os.environ | {
            "TWINWATCH_RUNTIME_DIR": f"{self.root}/run",
            "TWINWATCH_STATE_DIR": f"{self.root}/lib",
        }
        self.state: StateFile | None = None

    def __enter__(self) -> Self:
        become_subreaper()
        try:
            self.call("up", f"{self.root}/pair.yaml")
            self.state = StateFile(f"{self.root}/run/extinct", 10**9)
            self.wait(self.is_whole, "whole")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.state is not None:
            self.state.close()
        try:
            self.call("down", "-p", "extinct")
        finally:
            self._end_all()
            self._folder.cleanup()

    def _end_all(self) -> None:
        """`down` has ended everything; what a failed one left is ended here."""
        deadline = time.monotonic() + PATIENCE_S
        while found := self.guards():
            for pidfd in found:
                process.send(pidfd, signal.SIGKILL)
                os.close(pidfd)
            if time.monotonic() > deadline:
                raise Failed("processes of the pair do not end")

    def call(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "twinwatch", *arguments]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"twinwatch {' '.join(arguments)}: {done.stdout}{done.stderr}{self._log()}")

    def _log(self) -> str:
        """The end of what the watchers wrote when they crashed."""
        try:
            with open(f"{self.root}/lib/extinct/watchers.log", encoding="utf-8", errors="replace") as file:
                return file.read()[-LOG_MAX:]
        except FileNotFoundError:
            return ""

    def wait(self, is_so: Callable[[], bool], what: str, every_s: float = 0.005) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            if time.monotonic() > deadline:
                raise Failed(f"the pair is not {what} after {PATIENCE_S:g} s")
            time.sleep(every_s)

    def is_whole(self) -> bool:
        for role in WATCHER_ROLES:
            slot, reserves = self.state.slot(role.slot), self.state.reserves(role)
            listed = reserves.identities if reserves.generation == slot.generation else ()
            if slot.phase is not Phase.RUNNING or sum(map(is_alive, listed)) < self.reserve:
                return False
        return True

    def guards(self) -> list[int]:
        """A pidfd of every living process of the pair, to be closed; empty only if there is none.

        A process whose parent dies during the walk moves to where the walk has been. So it is walked again
        while something was found dead; and once nobody lives, nobody can move or be born.
        """
        found, is_moving = _below(os.getpid())
        for _ in range(TRIES):
            if not is_moving and found:
                break
            _close(found)
            found, is_moving = _below(os.getpid())
        _reap()
        return found


def _below(top: int) -> tuple[list[int], bool]:
    """Pidfds of all living descendants, and whether one of them was found dead or moved."""
    found: list[int] = []
    is_moving, parents = False, [top]
    for parent in parents:  # grows meanwhile
        for pid in _children(parent):
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                is_moving = True
                continue
            fields = stat_fields(pid)
            if is_dead(pidfd) or not fields or int(fields[_PARENT_FIELD]) != parent:
                is_moving = is_moving or fields[:1] != [b"Z"]
                os.close(pidfd)
                continue
            found.append(pidfd)
            parents.append(pid)
    return found, is_moving


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb", buffering=0) as file:
            return [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _close(pidfds: list[int]) -> None:
    for pidfd in pidfds:
        os.close(pidfd)


def _reap() -> None:
    """Collect orphans that became children of this process and ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
            continue


# ---------------------------------------------------------------- how long repairs take


def measure(kills: int) -> Repairs:
    """Kill one watcher after the other in peace, and look how long each part of the repair takes.

    claim: from the signal until the role has its next holder; start: from there to its first reserve; fork:
    one more reserve; bear: a claim by a twin whose reserves, and all orphans, were killed in the same burst.
    A whole pair with two reserves each.
    """
    seen = Repairs()
    with ThrowAway(reserve=2) as pair:
        for number in range(kills):
            for measure_one in (_measure_repair, _measure_bear):
                pair.wait(pair.is_whole, "whole")
                process.pause(PACE_MS)
                measure_one(pair, WATCHER_ROLES[number % 2], seen)
                _reap()
    return seen


def _kill(identities: Sequence[Identity]) -> float:
    """Signal all in one burst; when the last one was."""
    pidfds = [open_process(identity) for identity in identities]
    for pidfd in pidfds[:-1]:
        process.send(pidfd, signal.SIGKILL)
    last_s = time.monotonic()
    process.send(pidfds[-1], signal.SIGKILL)
    _close(pidfds)
    return last_s


def _measure_bear(pair: ThrowAway, role: Role, seen: Repairs) -> None:
    old = pair.state.slot(role.slot)
    reserves = [identity for one in WATCHER_ROLES for identity in pair.state.reserves(one).identities]
    began = _kill([*reserves, old.identity])
    pair.wait(lambda: pair.state.slot(role.slot).generation > old.generation, "claimed", LOOK_S)
    seen.samples_s["bear"].append(time.monotonic() - began)


def _measure_repair(pair: ThrowAway, role: Role, seen: Repairs) -> None:
    old = pair.state.slot(role.slot)
    began = _kill([old.identity])
    pair.wait(lambda: pair.state.slot(role.slot).generation > old.generation, "claimed", LOOK_S)
    claimed, slot = time.monotonic(), pair.state.slot(role.slot)
    pair.wait(lambda: len(_children(slot.identity.pid)) >= 1, "forking", LOOK_S)
    first = time.monotonic()
    pair.wait(lambda: len(_children(slot.identity.pid)) >= 2, "full", LOOK_S)
    seen.samples_s["claim"].append(claimed - began)
    seen.samples_s["start"].append(first - claimed)
    seen.samples_s["fork"].append(time.monotonic() - first)
    seen.claims_by_twin += slot.owner is not role


# ---------------------------------------------------------------- extinction


def extinguish(reserve: int, rate_hz: float, chance: random.Random) -> Extinction:
    """One fresh pair, killed process by process until nobody is left.

    Each living process is killed at `rate_hz`, independently: at instants of a Poisson process of rate
    `most * rate_hz` the living ones are counted, and one of them is killed with probability living/most.
    """
    most = 2 + 4 * reserve
    kills = clipped = looks = looks_then = 0
    with ThrowAway(reserve) as pair:
        before = _generations(pair)
        next_s = last_s = began_s = time.monotonic()
        while True:
            next_s += chance.expovariate(most * rate_hz)
            _sleep_until(next_s)
            living = pair.guards()
            try:
                if not living:
                    break
                looks += 1
                clipped += len(living) > most
                if chance.random() * most < len(living):
                    last_s, looks_then = time.monotonic(), looks
                    kills += process.send(chance.choice(living), signal.SIGKILL)
            finally:
                _close(living)
        spent_s = last_s - began_s
        return Extinction(
            spent_s, kills, _generations(pair) - before, clipped, looks_then / most / max(spent_s, 1e-9)
        )


def _sleep_until(at_s: float) -> None:
    left_s = at_s - time.monotonic()
    if left_s > 0:
        select.select([], [], [], left_s)


def _generations(pair: ThrowAway) -> int:
    return sum(pair.state.slot(role.slot).generation for role in WATCHER_ROLES)


def extinctions(reserve: int, rate_hz: float, count: int, chance: random.Random) -> Iterator[Extinction]:
    for _ in range(count):
        yield extinguish(reserve, rate_hz, chance)
