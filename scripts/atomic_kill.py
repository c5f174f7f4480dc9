"""Does any set of processes survive one atomic kill? An experiment for docs/race-analysis.md.

Compiles scripts/atomic/guards.c, K processes that guard each other as well as ordinary processes can, and
attacks them: with signals one after the other, and with those acts in which the kernel itself ends them all.
Each trial is a PID namespace of its own, which ends with it: nothing outside is ever signalled.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import measured
from atomic import witness
from windows.ftrace import NoTraceError

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "scripts/atomic/guards.c"
DOCUMENT = ROOT / "docs/race-analysis.md"
NONE, SURVIVED, UNCLEAR, USED_UP = range(4)  # outcomes, as the program prints them
NO_NAMESPACE = 77
REMOVALS_MAX = 200

ATTACKS = {
    "loop": "one `kill(2)` after the other",
    "loops": "ten such passes",
    "pkill": "`pkill -KILL -x NAME`",
    "everybody": "`kill(-1, SIGKILL)` in a PID namespace",
    "group": "`kill(-group, SIGKILL)`",
    "init": "`SIGKILL` for the namespace's PID 1",
    "cgroup": "`cgroup.kill`, written once",
    "cgroup-twice": "`cgroup.kill`, written twice",
    "cgroup-frozen": "`cgroup.freeze`, then `cgroup.kill`",
    "freezer-v1": "cgroup v1: frozen, then each one killed",
}
KINDS = {
    "guard": "guarding each other",
    "apart": "guarding, each in a session of its own",
    "churn": "for ever forking successors",
}
SIZES = (2, 4, 8, 64)
# The hole in one write of cgroup.kill is narrow: it is looked for where it is widest.
HUNTED = {("cgroup", "churn"): 1, ("cgroup-twice", "churn"): 1, ("cgroup-frozen", "churn"): 1}
HUNT_FACTOR = 50
COSTLY = {("pkill", 64): 10}  # a program that is executed among so many that run: a fraction of the trials


@dataclass(frozen=True)
class Cell:
    """What came of one attack on one set. Times in microseconds, one a trial."""

    attack: str
    kind: str
    guards: int
    outcomes: list[int] = field(default_factory=list)
    took_us: list[float] = field(default_factory=list)

    def count(self, outcome: int) -> int:
        return self.outcomes.count(outcome)

    def document(self) -> dict[str, object]:
        return {
            "attack": self.attack,
            "kind": self.kind,
            "guards": self.guards,
            "trials": len(self.outcomes),
            "survived": self.count(SURVIVED),
            "unclear": self.count(UNCLEAR),
            "used_up": self.count(USED_UP),
            "took_us": {
                "median": round(statistics.median(self.took_us), 1),
                "worst": round(max(self.took_us), 1),
            },
        }


# ---------------------------------------------------------------- what the machine has


def compiled(folder: str) -> str:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        sys.exit(
            "atomic-kill: a C compiler is needed (Debian: apt install gcc libc6-dev); or name one with CC="
        )
    program = f"{folder}/guards"
    done = subprocess.run(
        [compiler, "-O2", "-o", program, SOURCE], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"atomic-kill: {compiler} failed:\n{done.stderr}")
    return program


def mounted(kind: str, option: str) -> Path | None:
    """Where a cgroup hierarchy is, if it can be written."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        place, _, rest = line.partition(" - ")
        found, _, options = rest.split(" ", 2)
        where = Path(place.split()[4])
        if found == kind and option in options.split(",") and os.access(where, os.W_OK):
            return where
    return None


def hierarchy(attack: str) -> Path | None:
    return mounted("cgroup", "freezer") if attack == "freezer-v1" else mounted("cgroup2", "rw")


def lacking(attack: str) -> str:
    """Why this attack cannot be made here; empty: it can."""
    if attack == "pkill" and not shutil.which("pkill"):
        return "no pkill is installed"
    if attack == "pkill" and os.geteuid():
        return "not root: /proc of a namespace cannot be mounted"
    if not attack.startswith(("cgroup", "freezer")):
        return ""
    if hierarchy(attack) is None:
        return "no cgroup hierarchy of this kind can be written"
    return ""


@contextmanager
def cgroup(attack: str) -> Iterator[list[str]]:
    """The last argument of the program: an empty cgroup, where the attack needs one."""
    above = hierarchy(attack) if attack.startswith(("cgroup", "freezer")) else None
    if above is None:
        yield []
        return
    made = above / f"twinwatch-atomic.{os.getpid()}"
    made.mkdir()
    try:
        yield [str(made)]
    finally:
        remove(made)


def remove(made: Path) -> None:
    """The kernel lets go of the last process of a cgroup a moment after its death."""
    for left in range(REMOVALS_MAX, 0, -1):
        try:
            made.rmdir()
        except OSError:  # any errno
            if left == 1:
                raise
            os.sched_yield()
        else:
            return


# ---------------------------------------------------------------- the experiment


def trials_of(attack: str, kind: str, size: int, trials: int) -> int:
    if size == HUNTED.get((attack, kind)):
        return trials * HUNT_FACTOR
    return max(trials // COSTLY.get((attack, size), 1), 1)


def plan(attacks: list[str], sizes: list[int], *, hunt: bool) -> Iterator[tuple[str, str, int]]:
    for attack in attacks:
        for kind in KINDS:
            hunted = [HUNTED[attack, kind]] if hunt and (attack, kind) in HUNTED else []
            for size in [*hunted, *sizes]:
                yield attack, kind, size


def experiment(program: str, cell: Cell, trials: int, seed: int) -> Cell:
    with cgroup(cell.attack) as last:
        command = [program, cell.attack, cell.kind, str(cell.guards), str(trials), str(seed), *last]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"atomic-kill: {done.stderr.strip() or done.returncode}", file=sys.stderr)
        sys.exit(NO_NAMESPACE if done.returncode == NO_NAMESPACE else 1)
    for line in done.stdout.splitlines():
        outcome, took_ns = map(int, line.split())
        cell.outcomes.append(outcome)
        cell.took_us.append(took_ns / 1000)
    return cell


def witnessed(program: str, trials: int, seed: int) -> dict[str, object]:
    """Hunt under a trace, and say of each survivor how it came about; `why` not, where that cannot be."""
    if why := lacking("cgroup"):
        return {"why": why}
    with cgroup("cgroup") as last:
        try:
            done, told = witness.hunt([program, "cgroup", "churn", "1", str(trials), str(seed), *last])
        except NoTraceError as error:
            return {"why": str(error)}
    return {"trials": done, "survivors": told}


def share(cell: dict[str, object]) -> str:
    """Trials with survivors, of all whose outcome is known."""
    told = cell["trials"] - cell["unclear"] - cell["used_up"]
    return f"{cell['survived']}/{told}"


def rows(found: dict[str, object]) -> Iterator[tuple[str, str, list[str], str]]:
    """Attack, kind, a cell a size, and how long the attack took."""
    cells = {(cell["attack"], cell["kind"], cell["guards"]): cell for cell in found["cells"]}
    for attack in dict.fromkeys(cell["attack"] for cell in found["cells"]):
        for kind in KINDS:
            these = [cells.get((attack, kind, size)) for size in found["sizes"]]
            hunted = cells.get((attack, kind, HUNTED.get((attack, kind))))
            took = " … ".join(
                f"{cell['took_us']['median']:.0f}" for cell in (these[0], these[-1]) if cell is not None
            )
            shown = [share(cell) if cell else "" for cell in these]
            yield attack, kind, [*shown, share(hunted) if hunted else ""], took


def text(found: dict[str, object]) -> str:
    head = [f"K = {size}" for size in found["sizes"]] + ["hunted"]
    lines = [f"{'attack':<14} {'kind':<6}" + "".join(f" {name:>9}" for name in head) + "  median µs"]
    for attack, kind, shown, took in rows(found):
        lines.append(f"{attack:<14} {kind:<6}" + "".join(f" {cell:>9}" for cell in shown) + f"  {took}")
    return "\n".join(lines)


def markdown(found: dict[str, object]) -> str:
    """A row an attack, a column a kind: trials with survivors of all, size by size where there are any."""
    sizes = ", ".join(map(str, found["sizes"]))
    head = [f"the kill (K = {sizes})", *KINDS.values(), "the first took, µs"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    by_attack: dict[str, list[tuple[str, str]]] = {}
    for attack, kind, shown, took in rows(found):
        by_attack.setdefault(attack, []).append((summed(attack, kind, shown), took))
    for attack, columns in by_attack.items():
        cells = [cell for cell, _ in columns]
        lines.append(f"| {' | '.join([ATTACKS[attack], *cells, columns[0][1]])} |")
    return "\n".join(lines)


def summed(attack: str, kind: str, shown: list[str]) -> str:
    """`0/400` where nobody survived, else a share for each size; and what the hunt found."""
    *by_size, hunted = shown
    told = [tuple(map(int, cell.split("/"))) for cell in by_size if cell]
    text = ", ".join(filter(None, by_size))
    if told and not any(survived for survived, _ in told):
        text = f"0/{sum(trials for _, trials in told)}"
    return f"{text}; {hunted} at K = {HUNTED[attack, kind]}" if hunted else text


def described(found: dict[str, object]) -> str:
    cells = found["cells"]
    trials, untold = sum(c["trials"] for c in cells), sum(c["unclear"] + c["used_up"] for c in cells)
    said = f"{trials} trials on {measured.described(found['machine'])}."
    return f"{said} In {untold} of them the outcome could not be told; they count in no cell."


def testimony(found: dict[str, object]) -> str:
    """What the trace shows of survivors of one write of cgroup.kill."""
    if "why" in found:
        return f"No trace of survivors: {found['why']}."
    lines = [
        f"Under a trace, {len(found['survivors'])} of {found['trials']} survived a write of `cgroup.kill`."
    ]
    lines += [
        f"The write took {told['wrote_us']:.1f} µs; the survivor was born after {told['born_us']:.1f} µs; "
        f"signals sent: {told['signals']}, {'to its parent, ' * told['to_parent']}"
        f"after {told['signal_us']:.1f} µs."
        for told in found["survivors"]
        if told
    ]
    return "\n".join(lines)


def run(chosen: argparse.Namespace) -> dict[str, object]:
    absent = {attack: why for attack in chosen.attack if (why := lacking(attack))}
    wanted = [attack for attack in chosen.attack if attack not in absent]
    found: dict[str, object] = {
        "schema": 1,
        "machine": measured.machine(),
        "command": measured.command("scripts/atomic-kill", sys.argv[1:]),
        "seed": chosen.seed,
        "sizes": chosen.size,
        "unavailable": absent,
        "cells": [],
        "witnessed": {},
    }
    with tempfile.TemporaryDirectory(prefix="twinwatch-atomic.") as folder:
        program = compiled(folder)
        for attack, kind, size in plan(wanted, chosen.size, hunt=not chosen.no_hunt):
            trials = trials_of(attack, kind, size, chosen.trials)
            cell = experiment(program, Cell(attack, kind, size), trials, chosen.seed)
            found["cells"].append(cell.document())
            if sys.stderr.isatty():
                print(f"\r{attack} {kind} {size}\033[K", end="", file=sys.stderr, flush=True)
        if chosen.witness:
            found["witnessed"] = witnessed(program, chosen.witness, chosen.seed)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return found


def body(found: dict[str, object]) -> str:
    """What stands in the document."""
    told = testimony(found["witnessed"]).replace("\n", " ") if found["witnessed"] else ""
    return "\n\n".join(part for part in (described(found), markdown(found), told) if part)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="atomic-kill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", "--trials", type=int, default=100, help="of each cell (default: 100)")
    parser.add_argument("--attack", action="append", choices=ATTACKS, help="default: all")
    parser.add_argument(
        "-K", "--size", action="append", type=int, help=f"default: {', '.join(map(str, SIZES))}"
    )
    parser.add_argument("--no-hunt", action="store_true", help=f"without the {HUNT_FACTOR}-fold trials")
    parser.add_argument(
        "--witness", type=int, default=0, metavar="N", help="also N trials of the hunt under a trace (root)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the pauses before the attacks (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--write", action="store_true", help=f"rewrite the table in docs/{DOCUMENT.name}")
    chosen = parser.parse_args()
    chosen.attack, chosen.size = chosen.attack or [*ATTACKS], chosen.size or [*SIZES]
    if chosen.trials < 1 or not all(1 <= size <= max(SIZES) for size in chosen.size):
        parser.error(f"--trials: at least 1; --size: 1 to {max(SIZES)}")
    return chosen


def main() -> None:
    chosen = arguments()
    found = run(chosen)
    print(described(found))
    for attack, why in found["unavailable"].items():
        print(f"not tried: {attack}: {why}")
    if found["cells"]:
        print(text(found))
    if found["witnessed"]:
        print(testimony(found["witnessed"]))
    if chosen.json:
        chosen.json.write_text(f"{json.dumps(found, indent=1)}\n", encoding="utf-8")
    if chosen.write:
        measured.put(DOCUMENT, "atomic", body(found))


if __name__ == "__main__":
    main()
