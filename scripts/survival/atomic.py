"""Kills that no process can get in between: everything at one instant, by one call.

Without an anchor nothing may be expected to be left. With one, its init starts it again and it starts the
pair: once, and every worker once. `bare` and `anchored` are the two forms of each.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from survival import ours
from survival.outcome import PATIENCE_S, Trial
from survival.throwaway import WORKERS, Pair, Trouble, begin_all, end_all, pause, revive_all

from twinwatch.linux import process

ROOM = os.path.join(os.path.dirname(os.path.realpath(__file__)), "room.py")
ROOM_PATIENCE_S = 600.0
NAMESPACES = ("--pid", "--fork", "--mount-proc", "--kill-child=KILL")


class Lacking(Exception):
    """What of this machine keeps a kind of kill from being tried."""


Outcomes = tuple[list[Trial], list[str]]
"""Trials, and what broke a promise."""


# ---------------------------------------------------------------- everything but PID 1


def in_namespace(folder: str, trials: int, *, anchored: bool) -> Outcomes:
    """`kill(-1, SIGKILL)` in a PID namespace whose PID 1 is `room.py`: an init, as far as it is needed."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    unshare = ["setpriv", "--pdeathsig", "KILL", "unshare", *user, *NAMESPACES]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise Lacking(f"namespaces: {tried.stderr.strip()}")
    form = "anchored" if anchored else "bare"
    words = [*unshare, sys.executable, ROOM, f"{folder}/{form}", str(trials), form]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as room:
        try:
            output, _ = room.communicate(timeout=ROOM_PATIENCE_S)
        except BaseException:
            room.kill()  # and with it PID 1, and with that all that lives in there
            raise
    if room.returncode != 0:
        raise Trouble(f"the PID namespace ended with {room.returncode}")
    said = json.loads(output)
    return [Trial(survived) for survived in said["survived"]], said["wrong"]


# ---------------------------------------------------------------- everything in a cgroup


def unified() -> str:
    """Where this machine has cgroup v2; empty where it has not."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        mounted, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return mounted.split()[4]
    return ""


@contextmanager
def a_cgroup() -> Iterator[str]:
    """A new cgroup, until the end of the block.

    Raises:
        Lacking: none can be made here, or it cannot be killed.
    """
    above = unified()
    group = f"{above}/twinwatch-survival.{os.getpid()}"
    if not above:
        raise Lacking("cgroup v2")
    try:
        os.mkdir(group)
    except OSError as error:  # any errno: a sandbox may refuse in many ways
        raise Lacking(f"a cgroup v2 that may be written ({error.strerror})") from None
    try:
        if not os.path.exists(f"{group}/cgroup.kill"):
            raise Lacking("cgroup.kill (Linux 5.14)")
        yield group
    finally:
        deadline = time.monotonic() + PATIENCE_S
        while os.path.exists(group) and time.monotonic() < deadline:
            with suppress(OSError):  # any errno: EBUSY while the last ones are on their way out
                os.rmdir(group)
            pause()


def kill_cgroup(pair: Pair, _rng: random.Random, _gap_ns: int) -> int:
    Path(pair.cgroup, "cgroup.kill").write_text("1", encoding="ascii")
    deadline = time.monotonic() + PATIENCE_S
    while "populated 1" in Path(pair.cgroup, "cgroup.events").read_text(encoding="ascii"):
        if time.monotonic() > deadline:
            raise Trouble(f"what was killed in {pair.cgroup} does not die")
        pause()
    return 0


def in_cgroup(folder: str, trials: int, *, anchored: bool) -> Outcomes:
    """`cgroup.kill`, with the workers in it; the anchor is started again in it, as systemd would."""
    with a_cgroup() as group:
        return repeated(folder, trials, kill_cgroup, anchored=anchored, cgroup=group, workers_die=True)


# ---------------------------------------------------------------- one process group, one pkill


def kill_group(pair: Pair, rng: random.Random, _gap_ns: int) -> int:
    """The process group with the most guards in it.

    Raises:
        Lacking: this kernel cannot do it through a pidfd.
        Trouble: somebody else is in the group.
    """
    guards = pair.guards()
    groups = Counter(map(os.getpgid, guards))
    most = max(groups.values())
    group = rng.choice(sorted(pgid for pgid, size in groups.items() if size == most))
    leader = os.pidfd_open(group)
    try:
        members = {
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if group_of(pid) == group
        }
        if not members <= pair.guards():
            raise Trouble(f"others are in the process group {group} of a guard: {sorted(members)}")
        if process.send_group(leader, 9) is None:
            raise Lacking("a signal to a group through a pidfd (Linux 6.9)")
        process.wait_dead(leader, int(PATIENCE_S * 1000))
    finally:
        os.close(leader)
    return 0


def group_of(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return 0


def by_group(folder: str, trials: int, *, anchored: bool) -> Outcomes:
    return repeated(folder, trials, kill_group, anchored=anchored)


def by_pkill(folder: str, trials: int, *, anchored: bool) -> Outcomes:
    """One pass; with an anchor, that is hit as well, and started again."""
    return repeated(folder, trials, ours.pkill_once, anchored=anchored)


# ---------------------------------------------------------------- trial after trial


def repeated(
    folder: str,
    trials: int,
    attack: Callable[[Pair, random.Random, int], int],
    *,
    anchored: bool,
    cgroup: str = "",
    workers_die: bool = False,
) -> Outcomes:
    """One pair, attacked again and again; `room.py` does the same with one of its own."""
    rng = random.Random(trials)
    pair = Pair(f"{folder}/{'anchored' if anchored else 'bare'}", anchored=anchored, cgroup=cgroup)
    done: list[Trial] = []
    wrong: list[str] = []
    try:
        begin_all([pair])
        for number in range(trials):
            while not pair.is_calm():
                pause()
            if workers_die:
                wrong += births(pair, number + 1)
            done.append(ours.one_trial(pair, rng, 0, attack))
            if pair.is_down:
                revive_all([pair])
            pair.wait_whole()
            wrong += [] if workers_die else pair.compare_workers()
        wrong += births(pair, trials + 1) if workers_die else []
    finally:
        end_all([pair])
    return done, wrong


def births(pair: Pair, wanted: int) -> list[str]:
    """What is wrong, where each worker should have begun so often. Its record is a moment ahead of that."""
    deadline = time.monotonic() + PATIENCE_S
    files = [Path(pair.directory, f"lone-{instance}.births") for instance in range(WORKERS)]
    while True:
        counts = [
            len(file.read_text(encoding="ascii").splitlines()) if file.exists() else 0 for file in files
        ]
        if max(counts) > wanted or time.monotonic() > deadline:
            return [f"workers have begun {counts} times, not {wanted}", *pair.doubles()]
        if min(counts) == wanted:
            return pair.doubles()
        pause()
