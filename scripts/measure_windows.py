"""How long each window of a pair is open after a kill: figures for docs/race-analysis.md.

Starts a throw-away pair with one worker and kills, again and again, one watcher, both in one burst, and the
worker. Root on a machine that has tracefs gets all windows, with the kernel's own times (`--how trace`).
Without, the state file is looked at every LOOK_US, and only what shows there is measured (`--how look`): then
the reader's own waking up is part of the figures.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import measured
from windows import figures, marks
from windows.figures import BOTH, ONE, TITLES, WORKER
from windows.ftrace import Event, NoTraceError, Trace
from windows.marks import Before, Marks, Story

from twinwatch.core.record import Slot
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Identity, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.identity import is_alive, open_process
from twinwatch.linux.statefile import StateFile

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs/race-analysis.md"
RESERVES = 2
BURST_MAX = 1000  # deaths of a worker that make it wait no longer, at most
TRIES_MAX = 5  # on a loaded machine a burst may be none
KILLS_MAX = BURST_MAX // TRIES_MAX  # of each kind
CONFIG = f"""
pair: windows
watch: {{interval: 200ms, timeout: 2s, reserve: {RESERVES}}}
workers:
  idle:
    command: [sleep, infinity]
    restart: {{backoff: {{burst: {BURST_MAX}}}}}
"""
PACE_MS = 120  # between two kills: the births of a role stay within its burst
PATIENCE_S = 60
LOOK_US = 20  # and the system's own slack of some 50
SETTLE_MS = 20  # after the pair is whole: what is still to be traced
SETTLES_MAX = 100
DEPTH_SHOWN_US = (100, 500, 1000, 2000, 3000, 5000, 10_000, 20_000, 40_000)


@dataclass
class Results:
    """`lost`: kills of which the trace does not show a claim, by what is missing."""

    marks: dict[str, list[Marks]] = field(default_factory=dict)
    depth: dict[str, list[list[tuple[int, int]]]] = field(default_factory=dict)
    claims: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


def count(table: dict[str, int], what: str) -> None:
    table[what] = table.get(what, 0) + 1


# ---------------------------------------------------------------- the pair


class Living:
    """The pair that is measured: its state file, and harm done to it."""

    def __init__(self, folder: str) -> None:
        self.state = StateFile(f"{folder}/run/windows", 10**9)

    def slot(self, index: int) -> Slot:
        return self.state.slot(index)

    def reserves(self, role: Role) -> list[Identity]:
        slot, listed = self.slot(role.slot), self.state.reserves(role)
        return [*filter(is_alive, listed.identities)] if listed.generation == slot.generation else []

    def is_whole(self) -> bool:
        slots = [self.slot(index) for index in (*(role.slot for role in WATCHER_ROLES), FIRST_WORKER_SLOT)]
        return all(slot.phase is Phase.RUNNING and is_alive(slot.identity) for slot in slots) and all(
            len(self.reserves(role)) == RESERVES for role in WATCHER_ROLES
        )

    def wait_whole(self, newer: dict[int, int]) -> None:
        """Whole, with a newer generation in each of these slots."""

        def is_there() -> bool:
            born = all(self.slot(index).generation > known for index, known in newer.items())
            return born and self.is_whole()

        wait(is_there, "the pair is whole", pause_us=5000)

    def before(self) -> Before:
        return Before(
            {role.slot: self.slot(role.slot).identity.pid for role in WATCHER_ROLES},
            {role.slot: tuple(one.pid for one in self.reserves(role)) for role in WATCHER_ROLES},
        )

    def kill(self, indices: tuple[int, ...]) -> int:
        """Signal the processes of these slots in one burst; when the first was sent."""
        pidfds = [open_process(self.slot(index).identity) for index in indices]
        began_ns = time.monotonic_ns()
        for pidfd in pidfds:
            process.send(pidfd, signal.SIGKILL)
        for pidfd in pidfds:
            os.close(pidfd)
        return began_ns


def wait(is_true: Callable[[], object], what: str, pause_us: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > deadline:
            sys.exit(f"measure-windows: waited {PATIENCE_S} s in vain until {what}")
        time.sleep(pause_us / 1e6)


def targets(kind: str, number: int) -> tuple[int, ...]:
    """Slots whose processes are killed: of the watchers each in turn."""
    roles = tuple(role.slot for role in WATCHER_ROLES)
    return {ONE: (roles[number % 2],), BOTH: roles, WORKER: (FIRST_WORKER_SLOT,)}[kind]


# ---------------------------------------------------------------- by the kernel's trace


def trace_until_seen(pair: Living, trace: Trace, kind: str, number: int, results: Results) -> None:
    """One kill that the trace shows, after a few tries at most."""
    for tries in range(TRIES_MAX):
        if tries:
            process.pause(PACE_MS)
        if trace_one(pair, trace, kind, number, results):
            return


def trace_one(pair: Living, trace: Trace, kind: str, number: int, results: Results) -> bool:
    """One kill: its marks, and how deep the pair was meanwhile. False: the trace does not show it."""
    indices = targets(kind, number)
    old = {index: pair.slot(index) for index in indices}
    before = pair.before()
    trace.drain()
    pair.kill(indices)
    pair.wait_whole({index: slot.generation for index, slot in old.items()})
    events: list[Event] = []
    for _ in range(SETTLES_MAX):
        process.pause(SETTLE_MS)
        events = sorted(events + trace.drain(), key=lambda event: event.at_ns)
        try:
            story = tell(events, before, kind, old, pair)
        except LookupError as error:
            count(results.lost, str(error))
            return False
        if {"whole", "executed"} & story.marks.keys():
            break
    results.marks.setdefault(kind, []).append(story.marks)
    if kind is ONE:
        count(results.claims, "by its twin" if "opened" in story.marks else "by a reserve of its own")
    if kind is not WORKER:
        results.depth.setdefault(kind, []).append(marks.depth(events, before.guards, story.marks))
    return True


def tell(events: list[Event], before: Before, kind: str, old: dict[int, Slot], pair: Living) -> Story:
    index = next(iter(old))
    if kind is BOTH:
        return marks.of_both(events, before, RESERVES)
    now = pair.slot(index)
    if now.generation != old[index].generation + 1:
        raise LookupError("more than one birth")
    if kind is ONE:
        return marks.of_one(events, before, index, now.identity.pid, RESERVES)
    return marks.of_worker(events, before, index, old[index].identity.pid, now.identity.pid)


# ---------------------------------------------------------------- by looking


def look_at_one(pair: Living, kind: str, number: int, results: Results) -> None:
    """One kill of watchers: the marks of the first of them that is filled again."""
    indices = targets(kind, number)
    old = {index: pair.slot(index).generation for index in indices}
    seen: Marks = {"sent": pair.kill(indices)}

    def newborn() -> int | None:
        return next((index for index in indices if pair.slot(index).generation > old[index]), None)

    wait(lambda: newborn() is not None, "a slot is filled", LOOK_US)
    index = newborn()
    role = next(role for role in WATCHER_ROLES if role.slot == index)
    seen["recorded"] = pair.slot(role.slot).born_ns
    while not {"watching", "listed"} <= seen.keys():
        slot, now_ns = pair.slot(role.slot), time.monotonic_ns()
        if slot.phase is Phase.RUNNING:
            seen.setdefault("watching", now_ns)
        if len(pair.reserves(role)) == RESERVES:
            seen.setdefault("listed", now_ns)
        if now_ns - seen["sent"] > PATIENCE_S * 10**9:
            sys.exit(f"measure-windows: waited in vain: {seen}")
        time.sleep(LOOK_US / 1e6)
    results.marks.setdefault(kind, []).append(seen)
    pair.wait_whole(old)


# ---------------------------------------------------------------- a run


def strike(kinds: tuple[str, ...], kills: int, one: Callable[[str, int], None]) -> None:
    """All kinds in turn, with a pause after each kill."""
    for number in range(kills):
        for kind in kinds:
            one(kind, number)
            process.pause(PACE_MS)
        if sys.stderr.isatty():
            print(f"\r{(number + 1) * len(kinds)} kills", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def measure(pair: Living, trace: Trace | None, kills: int) -> tuple[Results, dict[str, float]]:
    """The results, and what tracing costs: medians of W11a with it and without, by the pair's own clock."""
    results = Results()
    if trace is None:
        strike((ONE, BOTH), kills, lambda kind, number: look_at_one(pair, kind, number, results))
        return results, {}
    strike(
        (ONE, BOTH, WORKER), kills, lambda kind, number: trace_until_seen(pair, trace, kind, number, results)
    )
    if trace.lost:
        sys.exit("measure-windows: the kernel lost events: the figures would be wrong")
    untouched, touched = Results(), Results()
    for number in range(min(kills, 50)):  # in turn: whatever else the machine does, it does to both
        for on, into in ((False, untouched), (True, touched)):
            trace.switch(on=on)
            look_at_one(pair, ONE, number, into)
            process.pause(PACE_MS)
            trace.drain()
    window = next(window for window in figures.WINDOWS if window.id == "W11a")
    costs = {"untraced": untouched, "traced": touched}
    return results, {
        name: figures.quantile(sorted(figures.samples(window, found.marks[ONE])), 0.5)
        for name, found in costs.items()
    }


def run(twinwatch: list[str], environ: dict[str, str]) -> None:
    done = subprocess.run(twinwatch, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"measure-windows: {' '.join(twinwatch)}: {done.stdout}{done.stderr}")


def with_pair(trace: Trace | None, kills: int) -> tuple[Results, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="twinwatch-windows.") as folder:
        config = f"{folder}/windows.yaml"
        Path(config).write_text(CONFIG, encoding="utf-8")
        environ = os.environ | {
            "TWINWATCH_RUNTIME_DIR": f"{folder}/run",
            "TWINWATCH_STATE_DIR": f"{folder}/lib",
        }
        twinwatch = [sys.executable, "-m", "twinwatch"]
        try:
            run([*twinwatch, "up", config], environ)
            pair = Living(folder)
            try:
                pair.wait_whole({})
                return measure(pair, trace, kills)
            finally:
                pair.state.close()
        finally:
            run([*twinwatch, "down", "-p", "windows"], environ)


def document(
    results: Results, costs: dict[str, float], how: str, where: dict[str, object]
) -> dict[str, object]:
    return {
        "schema": 1,
        "machine": where,
        "command": measured.command("scripts/measure-windows", sys.argv[1:]),
        "how": how,
        "kills": sum(map(len, results.marks.values())),
        "settings": {"interval_ms": 200, "timeout_ms": 2000, "reserve": RESERVES},
        "claims": results.claims,
        "unseen": results.lost,
        "tracing_cost_us": {name: round(value, 1) for name, value in costs.items()},
        "windows": figures.document(results.marks),
        "depth": {kind: figures.depths(curves) for kind, curves in results.depth.items()},
    }


def described(found: dict[str, object]) -> str:
    """The machine, and how it was measured, in words."""
    claims, costs = found["claims"], found["tracing_cost_us"]
    lines = [
        f"{found['kills']} kills on {measured.described(found['machine'])}.",
    ]
    if claims:
        said = ", ".join(f"{number} times {who}" for who, number in sorted(claims.items()))
        lines.append(f"The killed watcher's role was filled {said}.")
    if costs:
        lines.append(
            f"Median of W11a by the product's own clock: {costs['untraced']:.0f} µs untraced, "
            f"{costs['traced']:.0f} µs traced."
        )
    if found["unseen"]:
        said = ", ".join(f"{number} × {what}" for what, number in sorted(found["unseen"].items()))
        lines.append(f"Kills left out: {said}.")
    return "\n".join(lines)


def body(found: dict[str, object]) -> str:
    """What stands in the document."""
    depth = figures.depth_markdown(found["depth"], DEPTH_SHOWN_US) if found["depth"] else ""
    parts = (described(found).replace("\n", " "), figures.markdown(found["windows"]), depth)
    return "\n\n".join(part for part in parts if part)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="measure-windows", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", "--kills", type=int, default=200, help="of each kind (default: 200)")
    parser.add_argument("--how", choices=("auto", "trace", "look"), default="auto", help="default: auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw them (needs twinwatch[report])")
    parser.add_argument("--write", action="store_true", help=f"rewrite the tables in docs/{DOCUMENT.name}")
    chosen = parser.parse_args()
    if not 1 <= chosen.kills <= KILLS_MAX:
        parser.error(f"--kills: 1 to {KILLS_MAX}")
    return chosen


def main() -> None:
    chosen = arguments()
    where, trace = measured.machine(), None
    if chosen.how != "look":
        try:
            trace = Trace(marks.WANTED)
        except NoTraceError as error:
            if chosen.how == "trace":
                sys.exit(f"measure-windows: {error}")
            print(f"measure-windows: {error}: looking instead", file=sys.stderr)
    try:
        results, costs = with_pair(trace, chosen.kills)
    finally:
        if trace is not None:
            trace.close()
    found = document(results, costs, "trace" if trace else "look", where)
    print(described(found))
    print(figures.text(found["windows"]))
    for kind, points in found["depth"].items():
        least = min(point["least"] for point in points)
        print(f"{TITLES[kind]}: at least {least} of {2 * (1 + RESERVES)} guards left")
    if chosen.picture:
        from twinwatch.chaos import pictures

        chosen.picture.write_text(pictures.windows(found), encoding="utf-8")
    if chosen.json:
        chosen.json.write_text(f"{json.dumps(found, indent=1)}\n", encoding="utf-8")
    if chosen.write:
        measured.put(DOCUMENT, "windows", body(found))


if __name__ == "__main__":
    main()
