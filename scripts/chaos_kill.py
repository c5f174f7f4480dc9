"""Kill watchers and workers at random, look from outside, say whether a promise broke.

What is looked at: the state file, opened for reading only; pidfds of what it names; `/proc`; and, in
a throw-away pair, workers whose first act is to take a lock that the kernel gives to one process.
Only processes that the pair's state file records are killed, each through a pidfd whose identity was
checked.
"""

import argparse
import contextlib
import functools
import json
import os
import platform
import random
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

from twinwatch.cli.options import duration
from twinwatch.config import snapshot
from twinwatch.config.problem import ConfigError
from twinwatch.control import target
from twinwatch.control.errors import ControlError
from twinwatch.core import record, values
from twinwatch.core.record import Damage, Slot
from twinwatch.core.spec import PairSpec, Policy, WorkerSpec
from twinwatch.core.values import Desired, Identity, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.identity import (
    IdentityUnknown,
    ProcessGone,
    is_alive,
    is_dead,
    open_process,
    stat_fields,
)
from twinwatch.linux.paths import PathError, Paths

KEPT, BROKE, USAGE = 0, 1, 2
LOOK_S = 0.0005  # between two looks while something is waited for
READ_TRIES = 64
LONE_WORKER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../examples/lone_worker.py")
LONE_WORKERS = 4
WATCHERS = {role: f"watcher {role.label}" for role in values.WATCHER_ROLES}
COMMS = {b"twinwatch-a": "watcher a", b"twinwatch-b": "watcher b", b"twinwatch-rsv": "reserve"}

UNSEEN = (values.ExitKind.NONE, values.ExitKind.UNKNOWN)

Slots = dict[str, Slot]
Census = dict[tuple[str, str], list[int]]


class UsageError(Exception):
    """Nothing can be tested."""


class InterruptedEarly(BaseException):
    """Asked to end."""


class Reader:
    """The state file, opened for reading only."""

    def __init__(self, paths: Paths) -> None:
        self._fd = os.open(f"{paths.runtime}/state", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def close(self) -> None:
        os.close(self._fd)

    def _body(self, at: int) -> bytes:
        """A record's current copy, read again while a writer is seen in the middle of it."""
        for _ in range(READ_TRIES):
            with contextlib.suppress(Damage):
                return record.unpack_record(os.pread(self._fd, record.RECORD_SIZE, at))[1]
        return record.unpack_record(os.pread(self._fd, record.RECORD_SIZE, at))[1]

    def header(self) -> record.Header:
        return record.unpack_header(self._body(record.HEADER_AT))

    def slot(self, index: int) -> Slot:
        try:
            return record.unpack_slot(self._body(record.slot_at(index)))
        except Damage as damage:
            if damage.what == "never written":
                return Slot()
            raise

    def slots(self) -> Slots:
        """Both watchers' slots (`watcher a`) and those of all workers (`web:1`)."""
        found = {name: self.slot(role.slot) for role, name in WATCHERS.items()}
        others = map(self.slot, range(values.FIRST_WORKER_SLOT, self.header().slots))
        return found | {slot.label: slot for slot in others if slot.phase is not Phase.FREE}

    def reserves(self, role: Role, generation: int) -> list[Identity]:
        """Living reserves of this holder of the role."""
        at = record.RESERVES_AT + role.slot * record.RESERVES_SIZE
        listed = record.unpack_reserves(os.pread(self._fd, record.RESERVES_SIZE, at))
        return [one for one in listed.identities if is_alive(one)] if listed.generation == generation else []


def proc(pid: int, name: str) -> bytes:
    """A file of `/proc/PID`; empty where it is not to be seen."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def parent(pid: int) -> int:
    return int((stat_fields(pid) or [b"", b"0"])[1])


def census(paths: Paths) -> Census:
    """Living processes of the pair as `/proc` shows them, whatever the state file says.

    Keys are (watcher or `reserve`, "") and, for workers that hold their slot's token, (label, generation).
    """
    started_as = f"\0{paths.runtime_base}\0{paths.state_base}\0{paths.pair}\0".encode()
    found: Census = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        name = COMMS.get(proc(pid, "comm").strip())
        if name and started_as in proc(pid, "cmdline"):
            found.setdefault((name, ""), []).append(pid)
        elif key := worker_key(pid, paths):
            found.setdefault(key, []).append(pid)
    return alive_together(found)


def worker_key(pid: int, paths: Paths) -> tuple[str, str] | None:
    pairs = (entry.partition(b"=")[::2] for entry in proc(pid, "environ").split(b"\0"))
    environ = {name.decode(): value.decode() for name, value in pairs if name.startswith(b"TWINWATCH_")}
    if environ.get("TWINWATCH_PAIR") != paths.pair:
        return None
    name, instance = environ.get("TWINWATCH_WORKER", ""), environ.get("TWINWATCH_INSTANCE", "0")
    token = paths.token(name, int(instance))
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        if any(os.readlink(f"/proc/{pid}/fd/{fd}") == token for fd in os.listdir(f"/proc/{pid}/fd")):
            label = name if instance == "0" else f"{name}:{instance}"
            return label, environ.get("TWINWATCH_GENERATION", "")
    return None


def alive_together(found: Census) -> Census:
    """Of processes found one after the other those that live after the last was found.

    So two that are left did live at one instant, and not one before the other.
    """
    living = set()
    for pid in {pid for those in found.values() for pid in those}:
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            if not is_dead(pidfd):
                living.add(pid)
            os.close(pidfd)
    return {key: sorted(living & set(those)) for key, those in found.items() if living & set(those)}


def doubles(found: Census) -> Iterator[str]:
    """Roles and workers that live twice. A child is called like its parent until its first acts."""
    generations: dict[str, list[str]] = {}
    for (name, generation), those in found.items():
        if generation:
            generations.setdefault(name, []).append(generation)
        elif name != "reserve" and len(own := [pid for pid in those if parent(pid) not in those]) > 1:
            yield f"{name} lives {len(own)} times: PIDs {own}"
    for name, those_alive in generations.items():
        if len(those_alive) > 1:
            yield f"double start: generations {', '.join(sorted(those_alive))} of {name} live at once"


# ---------------------------------------------------------------- killing and judging


@dataclass(slots=True)
class Figures:
    """Milliseconds, one entry a kill: until what was killed runs again, until the pair is whole."""

    again_ms: list[float] = field(default_factory=list)
    whole_ms: list[float] = field(default_factory=list)


class Chaos:
    """One run against one living pair. `own` is set where the pair was made for it."""

    def __init__(self, paths: Paths, args: argparse.Namespace, own: "ThrowAway | None") -> None:
        self.paths, self.args, self.own = paths, args, own
        self.rng = random.Random(args.seed)
        kinds = ("a", "b", "both", "worker") if own or args.workers else ("a", "b", "both")
        self.figures = {kind: Figures() for kind in kinds}
        self.broken: list[tuple[str, str]] = []  # (promise, what)
        self.ended_themselves = 0
        self.gaps_ms: list[float] = []  # of `both`: until the second signal was sent
        self.reader = Reader(paths)
        self.spec: PairSpec = snapshot.read(paths.snapshots, self.reader.header().config_generation)
        self._held: dict[str, tuple[int, int]] = {}  # name: (generation, pidfd)
        self.say: Callable[[str], None] = progress if sys.stderr.isatty() else lambda _text: None

    def close(self) -> None:
        for _, pidfd in self._held.values():
            os.close(pidfd)
        self.reader.close()

    def run(self) -> None:
        """Kill until the time is over or a promise broke."""
        before = self.require_whole()
        self.hold(before)
        began = time.monotonic()
        while not self.broken and time.monotonic() - began < self.args.duration:
            pause(self.rng.uniform(0, self.args.pause))
            now = self.reader.slots()
            self.compare(before, now, {})
            before = now if self.broken else self.strike(now)
            kills = "  ".join(f"{kind} {len(those.whole_ms)}" for kind, those in self.figures.items())
            self.say(f"{time.monotonic() - began:5.1f} of {self.args.duration:g} s  {kills}")

    def lack(self, slots: Slots, before: Slots, killed: Slots) -> str:
        """What the pair still lacks; empty when it is whole again."""
        for role, name in WATCHERS.items():
            slot = slots[name]
            if not runs(slot) or (name in killed and slot.generation == killed[name].generation):
                return f"{name} is {seen(slot)}"
            if len(self.reader.reserves(role, slot.generation)) < self.spec.watch.reserve:
                return f"{name} lacks reserves"
        for name, old in before.items():
            slot = slots.get(name, Slot())
            must_run = old.phase is Phase.RUNNING and (self.own or name in killed)
            if (name in killed and slot.generation == old.generation) or (must_run and not runs(slot)):
                return f"worker {name} is {seen(slot)}"
        return ""

    def require_whole(self) -> Slots:
        """The slots of a whole pair. Raises UsageError where it is not whole to begin with."""
        deadline = time.monotonic() + self.args.patience
        while lack := self.lack(self.reader.slots(), {}, {}):
            if self.reader.header().desired is Desired.STOP or time.monotonic() > deadline:
                raise UsageError(f"pair {self.paths.pair} is not whole before the first kill: {lack}")
            pause(LOOK_S)
        return self.reader.slots()

    def victims(self, slots: Slots) -> tuple[str, Slots]:
        kind = self.rng.choice(list(self.figures))
        fit = sorted(name for name, slot in slots.items() if self.may_kill(name, slot))
        if kind == "worker" and fit:
            names = [self.rng.choice(fit)]
        elif kind in ("a", "b"):
            names = [f"watcher {kind}"]
        else:
            kind, names = "both", self.rng.sample(sorted(WATCHERS.values()), 2)
        return kind, {name: slots[name] for name in names}

    def worker(self, name: str, slot: Slot) -> WorkerSpec | None:
        """The worker of a slot; None for a watcher."""
        specs = self.spec.workers if name not in WATCHERS.values() else ()
        return next((spec for spec in specs if spec.name == slot.name), None)

    def may_kill(self, name: str, slot: Slot) -> bool:
        """A running worker that is restarted after a kill, however often."""
        spec = self.worker(name, slot)
        is_fit = spec is not None and spec.restart.policy is not Policy.NEVER and not spec.restart.limit
        return is_fit and slot.phase is Phase.RUNNING

    def patience_s(self, killed: Slots) -> float:
        """A worker of the user's may have to wait for its back-off, and to start."""
        specs = [spec for name, slot in killed.items() if (spec := self.worker(name, slot)) and not self.own]
        waits_ns = [2 * spec.restart.backoff.max_ns + spec.start_timeout_ns for spec in specs]
        return float(self.args.patience + max(waits_ns, default=0) / 1e9)

    def strike(self, before: Slots) -> Slots:
        """Kill once and wait; the slots afterwards."""
        kind, killed = self.victims(before)
        try:
            pidfds = [open_process(slot.identity) for slot in killed.values()]
        except (ProcessGone, IdentityUnknown):
            return self.wait_whole(Figures(), before, {}, time.monotonic())  # another one was faster
        began = time.monotonic()
        for pidfd in pidfds:
            process.send(pidfd, signal.SIGKILL)
        self.gaps_ms += [(time.monotonic() - began) * 1e3] if kind == "both" else []
        for pidfd in pidfds:
            process.wait_dead(pidfd, int(self.args.patience * 1e3))
            os.close(pidfd)
        now = self.wait_whole(self.figures[kind], before, killed, began)
        if not self.broken:
            self.compare(before, now, killed)
        return now

    def wait_whole(self, figures: Figures, before: Slots, killed: Slots, began: float) -> Slots:
        again_ms = 0.0
        while True:
            slots = self.reader.slots()
            lack = self.lack(slots, before, killed)
            spent_s = time.monotonic() - began
            if not again_ms and are_reborn(slots, killed):
                again_ms = spent_s * 1e3
            if not lack:
                figures.again_ms.append(again_ms)
                figures.whole_ms.append(spent_s * 1e3)
                return slots
            if spent_s > self.patience_s(killed):
                what = f"a kill of {' and '.join(killed)}" if killed else "others had a hand in it"
                self.broken.append(("P3 recovery", f"not whole again {spent_s:.1f} s after {what}: {lack}"))
                return slots
            pause(LOOK_S)

    def hold(self, slots: Slots) -> None:
        """Keep a pidfd of everything that is named: what has a successor must be dead."""
        for name, slot in slots.items():
            if self._held.get(name, (-1, -1))[0] == slot.generation:
                continue
            if name in self._held:
                os.close(self._held.pop(name)[1])
            with contextlib.suppress(ProcessGone, IdentityUnknown):
                if slot.identity:
                    self._held[name] = slot.generation, open_process(slot.identity)

    def compare(self, before: Slots, now: Slots, killed: Slots) -> None:
        """What must be true between two looks, with these kills in between."""
        for name, old in before.items():
            self.compare_slot(name, old, now.get(name, Slot()), is_killed=name in killed)
        self.hold(now)
        found = [*doubles(census(self.paths)), *(self.own.double_starts() if self.own else ())]
        self.broken += [("P1 exactly once", what) for what in found]

    def compare_slot(self, name: str, old: Slot, new: Slot, *, is_killed: bool) -> None:
        grown = new.generation - old.generation
        held_generation, pidfd = self._held.get(name, (-1, -1))
        if grown and held_generation == old.generation and not is_dead(pidfd):
            what = f"double start: {name} has generation {new.generation} while {old.generation} lives"
            self.broken.append(("P1 exactly once", what))
        if grown == is_killed:
            if not grown and new.identity != old.identity:
                self.broken.append(("P1 exactly once", f"{name}: another process of the same generation"))
        elif is_killed:
            what = f"one kill of {name} took its generation from {old.generation} to {new.generation}"
            self.broken.append(("P1 exactly once", what))
        elif not self.own and name not in WATCHERS.values() and ended_itself(new):
            self.ended_themselves += 1
        else:
            promise = "P9 no false alarm" if name in WATCHERS.values() else "P4 adoption"
            what = f"nobody killed {name}, yet its generation went from {old.generation} to {new.generation}"
            self.broken.append((promise, what))


def pause(seconds: float) -> None:
    select.select([], [], [], seconds)


def runs(slot: Slot) -> bool:
    return slot.phase is Phase.RUNNING and is_alive(slot.identity)


def are_reborn(slots: Slots, killed: Slots) -> bool:
    now = {name: slots.get(name, Slot()) for name in killed}
    return all(now[name].generation > old.generation and runs(now[name]) for name, old in killed.items())


def seen(slot: Slot) -> str:
    """The phase that a slot says, where its process bears it out."""
    is_gone = slot.phase in (Phase.RUNNING, Phase.STARTING) and not is_alive(slot.identity)
    return "dead" if is_gone else slot.phase.name.lower()


def ended_itself(slot: Slot) -> bool:
    """Its last end was seen, and was not our signal."""
    return slot.exit.kind not in UNSEEN and slot.exit.signal != signal.SIGKILL


# ---------------------------------------------------------------- a throw-away pair


class ThrowAway:
    """A pair of its own in a temporary directory, and nothing of it left behind."""

    def __init__(self) -> None:
        self.directory = os.path.realpath(tempfile.mkdtemp(prefix="twinwatch-chaos-"))
        run, lib = f"{self.directory}/run", f"{self.directory}/lib"
        self.paths = Paths(f"chaos-{os.getpid()}", run, lib)
        self.environ = os.environ | {
            "TWINWATCH_RUNTIME_DIR": run,
            "TWINWATCH_STATE_DIR": lib,
            "NO_COLOR": "1",
        }
        self.remembered: list[Identity] = []
        command = [sys.executable, "-I", "-S", LONE_WORKER, f"{self.directory}/lone-{{instance}}"]
        restart = {"backoff": {"burst": 1000}}
        workers = {"lone": {"command": command, "instances": LONE_WORKERS, "restart": restart}}
        with open(f"{self.directory}/twinwatch.yaml", "w", encoding="utf-8") as file:
            json.dump({"pair": self.paths.pair, "workers": workers}, file)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `twinwatch ARGUMENTS`."""
        command = [sys.executable, "-m", "twinwatch", *arguments]
        run = functools.partial(subprocess.run, env=self.environ, cwd=self.directory, check=False)
        return run(command, capture_output=True, text=True)

    def up(self) -> None:
        done = self.call("up", f"{self.directory}/twinwatch.yaml")
        if done.returncode:
            raise UsageError(f"the throw-away pair does not start: {done.stderr.strip()}")

    def double_starts(self) -> list[str]:
        """What a worker shouted that could not have its lock."""
        shouts = [name for name in os.listdir(self.directory) if name.endswith(".double")]
        return [f"double start: {name.removesuffix('.double')}: {self.read(name)}" for name in shouts]

    def read(self, name: str) -> str:
        with contextlib.suppress(FileNotFoundError), open(f"{self.directory}/{name}", "rb") as file:
            return file.read().decode(errors="replace").strip()
        return ""

    def wrong_births(self, slots: Slots) -> list[str]:
        """No generation began its program twice or out of turn (one killed early left no line)."""
        found = []
        for slot in (slot for name, slot in slots.items() if name not in WATCHERS.values()):
            births = [int(line) for line in self.read(f"lone-{slot.instance}.births").split()]
            if births != sorted(set(births)) or max(births, default=0) > slot.generation:
                found.append(f"{slot.label} began as {births}, its slot says {slot.generation}")
        return found

    def remember(self) -> None:
        """All that is recorded, so that it can be ended whatever happens."""
        with contextlib.suppress(FileNotFoundError, Damage):
            reader = Reader(self.paths)
            self.remembered += [slot.identity for slot in reader.slots().values()]
            for role in WATCHERS:
                self.remembered += reader.reserves(role, reader.slot(role.slot).generation)
            reader.close()

    def down(self) -> str:
        """The off switch; afterwards nothing lives, and nothing comes back. What is wrong, or empty."""
        self.remember()
        done = self.call("down", "-p", self.paths.pair, "--timeout", "20s")
        pause(0.5)
        left = census(self.paths)
        for identity in filter(is_alive, self.remembered):
            process.end(identity)
        if done.returncode:
            return f"down failed: {done.stderr.strip()}"
        return f"alive after down: {left}" if left else ""


# ---------------------------------------------------------------- report


def spread(times: list[float], digits: int = 1) -> dict[str, float] | None:
    """Median, 95th percentile (nearest rank) and maximum."""
    if not times:
        return None
    ordered = sorted(times)
    picked = statistics.median(ordered), ordered[-(-95 * len(ordered) // 100) - 1], ordered[-1]
    return dict(zip(("median", "p95", "max"), (round(value, digits) for value in picked), strict=True))


def report(chaos: Chaos, spent_s: float) -> None:
    found: dict[str, object] = {
        "schema": 1,
        "pair": chaos.paths.pair,
        "throw_away": chaos.own is not None,
        "seed": chaos.args.seed,
        "spent_s": round(spent_s, 1),
        "machine": f"Linux {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} CPUs",
        "kills": {kind: len(those.whole_ms) for kind, those in chaos.figures.items()},
        "again_ms": {kind: spread(those.again_ms) for kind, those in chaos.figures.items()},
        "whole_ms": {kind: spread(those.whole_ms) for kind, those in chaos.figures.items()},
        "both_gap_ms": spread(chaos.gaps_ms, 3),
        "workers_ended_themselves": chaos.ended_themselves,
        "broken": [{"promise": promise, "what": what} for promise, what in chaos.broken],
        "verdict": "broken" if chaos.broken else "kept",
    }
    chaos.say("")
    if chaos.args.json:
        print(json.dumps(found))
        return
    print(f"pair {found['pair']}, {found['spent_s']} s, seed {found['seed']}, {found['machine']}\n")
    print(f"{'':8}{'':>7}   {'runs again after, ms':^24}   {'whole again after, ms':^24}")
    print(f"{'killed':8}{'times':>7}" + f"   {'median':>8}{'p95':>8}{'max':>8}" * 2)
    for kind, those in chaos.figures.items():
        cells = [(spread(times) or {}).values() for times in (those.again_ms, those.whole_ms)]
        row = "".join("   " + "".join(f"{value:>8}" for value in cell) for cell in cells)
        print(f"{kind:8}{len(those.whole_ms):7}{row}")
    if gap := spread(chaos.gaps_ms, 3):
        print(f"\nboth: from the first signal to the second {gap['median']} ms, at most {gap['max']} ms")
    if chaos.ended_themselves:
        print(f"workers that ended by themselves: {chaos.ended_themselves} (not judged)")
    for promise, what in chaos.broken:
        print(f"BROKEN {promise}: {what}")
    print(f"verdict: {found['verdict']}")


def progress(text: str) -> None:
    print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos-kill",
        description="Kill watchers and workers at random, look from outside, say whether a promise broke.",
        epilog="Exit status: 0 all promises kept, 1 one broke, 2 usage, or nothing could be tested. Ctrl-C "
        "ends early, with the figures so far. A seed gives the same kills and pauses, not the same races. "
        "Workers that are never restarted or have a restart limit are not killed. More than 50 births of "
        "one watcher in 10 s are spaced by 0.5 s: a short --pause shows that.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--throw-away", action="store_true", help="a pair made for this (default)")
    which.add_argument("-p", "--pair", metavar="NAME", help="a living pair of yours")
    which.add_argument("-c", "--config", metavar="FILE", help="the living pair of this configuration")
    parser.add_argument("--workers", action="store_true", help="kill your own pair's workers as well")
    for name, default, what in (
        ("duration", 30.0, "how long (30s)"),
        ("pause", 0.4, "longest pause between kills (400ms)"),
        ("patience", 10.0, "not whole after this long: a promise broke (10s)"),
    ):
        parser.add_argument(f"--{name}", type=duration, default=default, metavar="TIME", help=what)
    parser.add_argument("--seed", type=int, metavar="N", help="of kills and pauses (random)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    return args


def on_signal(_number: int, _frame: FrameType | None) -> None:
    raise InterruptedEarly


def heed_signals(action: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, action)


def storm(paths: Paths, args: argparse.Namespace, own: ThrowAway | None) -> Chaos:
    """One run, its end, and its report."""
    try:
        chaos = Chaos(paths, args, own)
    except FileNotFoundError:
        raise UsageError(f"pair {paths.pair} is not running: nothing to kill") from None
    began = time.monotonic()
    try:
        chaos.run()
    except InterruptedEarly:
        print("\ninterrupted: the figures so far", file=sys.stderr)
    finally:
        heed_signals(signal.SIG_IGN)
        spent_s = time.monotonic() - began
        slots = chaos.reader.slots()
        chaos.close()
    if own is not None:
        chaos.broken += [("P1 exactly once", what) for what in own.wrong_births(slots)]
        if wrong := own.down():
            chaos.broken.append(("P8 no resurrection", wrong))
        if chaos.broken:
            print(own.call("events", "-p", paths.pair, "-n", "20").stdout, file=sys.stderr)
            print(own.read(f"lib/{paths.pair}/watchers.log")[-4000:], file=sys.stderr)
    report(chaos, spent_s)
    return chaos


def run(args: argparse.Namespace) -> Chaos:
    """The storm, against a pair that is there or one that is made for it."""
    if args.pair or args.config:
        return storm(target.find(args.config, args.pair, os.environ).paths, args, None)
    own = ThrowAway()
    try:
        own.up()
        return storm(own.paths, args, own)
    finally:
        heed_signals(signal.SIG_IGN)
        if os.path.exists(own.paths.runtime):
            own.down()
        shutil.rmtree(own.directory, ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 kept, 1 a promise broke, 2 usage."""
    args = parse(argv)
    heed_signals(on_signal)
    try:
        chaos = run(args)
    except (UsageError, ControlError, ConfigError, PathError) as error:
        print(f"scripts/chaos-kill: {error}", file=sys.stderr)
        return USAGE
    except InterruptedEarly:
        return USAGE
    has_killed = any(those.whole_ms for those in chaos.figures.values())
    return BROKE if chaos.broken else KEPT if has_killed else USAGE


if __name__ == "__main__":
    sys.exit(main())
