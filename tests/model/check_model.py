"""Checks docs/model/pair.pml with spin: every promise in every configuration, and that each mutant is found.

Prints one line a run. Needs spin and gcc. Exit code: 0 all as expected, 1 something is not, 2 it cannot run.
"""

import argparse
import dataclasses
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from model_kit import MODEL, Result, Run, Search, absent, check
from model_runs import LIMITS, LONG, MUTANTS, SECOND_LINES, SHORT

README = MODEL.parent / "README.md"
TABLES = {
    "runs": SHORT,
    "mutants": MUTANTS,
    "second-lines": SECOND_LINES,
    "limits": LIMITS,
    "long": LONG,
}
HEAD = ("configuration", "switches", "states", "depth", "MiB", "seconds", "result")
LOOKED_FOR = {
    Search.STATES: "",
    Search.CYCLES: " (cycles)",
    Search.RECOVERY: " (LTL)",
    Search.BITSTATE: " (bitstate)",
}


def main() -> int:
    options = parse()
    if lacking := absent():
        print(f"check-model: {lacking} is not installed", file=sys.stderr)
        return 2
    if options.show:
        return show(options.show)
    names = ("long",) if options.long else tuple(name for name in TABLES if name != "long")
    are_as_expected = True
    for name in names:
        for run in TABLES[name]:
            if options.only in run.name:
                result = checked(run, options.limit)
                are_as_expected = are_as_expected and result.is_as_expected
                if options.write:
                    write(name, [result])
    return 0 if are_as_expected else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="check-model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--long", action="store_true", help="the large configurations: up to 5.5 GiB, half an hour or more"
    )
    parser.add_argument("--write", action="store_true", help="write what was found into docs/model/README.md")
    parser.add_argument("--only", metavar="TEXT", default="", help="only runs with this in their name")
    parser.add_argument(
        "--limit", metavar="SECONDS", type=int, default=0, help="at most this long for each run"
    )
    parser.add_argument("--show", metavar="NAME", default="", help="print the interleaving that a run finds")
    return parser.parse_args()


def checked(run: Run, limit_s: int) -> Result:
    run = dataclasses.replace(run, limit_s=limit_s) if limit_s else run
    with tempfile.TemporaryDirectory(prefix="check-model-") as folder:
        result = check(run, Path(folder))
    mark = "ok  " if result.is_as_expected else "BAD "
    print(mark, " | ".join(row(result)), flush=True)
    return result


# ------------------------------------------------------------------ tables


def row(result: Result) -> tuple[str, ...]:
    run = result.run
    switches = " ".join(
        switch for switch in run.switches.split() if not switch.endswith("=0") or "RES" in switch
    )
    return (
        run.name,
        f"`{switches}`" if switches else "",
        f"{result.states:,}",
        str(result.depth),
        str(result.memory_mb),
        f"{result.seconds:.1f}",
        verdict(result),
    )


def verdict(result: Result) -> str:
    if result.broken:
        return f"`{result.broken}`" + (f" ({result.run.race})" if result.run.race else "")
    extent = f"**not exhaustive** ({result.why_not})" if result.why_not else "exhaustive"
    return f"holds, {extent}{LOOKED_FOR[result.run.search] if not result.why_not else ''}"


def write(name: str, results: Sequence[Result]) -> None:
    """Put the rows into the table of that name; rows of runs that were not made now stay."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = README.read_text().partition(start)
    old, mark, after = rest.partition(end)
    if not mark:
        raise RuntimeError(f"{README.name} has no place for the table {name}")
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in old.splitlines()[2:]}
    rows |= {result.run.name: f"| {' | '.join(row(result))} |" for result in results}
    head = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    table = [*head, *(rows[run.name] for run in TABLES[name] if run.name in rows)]
    README.write_text(before + start + "\n".join(table) + "\n" + end + after)


# ------------------------------------------------------------------ an interleaving


def show(name: str) -> int:
    run = next((run for runs in TABLES.values() for run in runs if run.name == name and run.finds), None)
    if run is None:
        print(f"check-model: no run of this name finds anything: {name}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="check-model-") as folder:
        result = check(run, Path(folder))
        print("\n".join(steps(run, Path(folder))))
    print(verdict(result))
    return 0


def steps(run: Run, folder: Path) -> Iterator[str]:
    """What each step changes: number, whose step it was, the variables."""
    switches = [f"-D{switch}" for switch in run.switches.split()]
    switches += ["-DLTL"] if run.search is Search.RECOVERY else []
    command = ["spin", *switches, "-t", "-p", "-g", "-w", MODEL.name]
    text = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    steps_named = dict(
        re.findall(r"^#define ([A-Z_]+) (\d+)\b", MODEL.read_text().partition("CLOSED")[0], re.MULTILINE)
    )
    names = {number: step for step, number in steps_named.items() if step not in "AB"}
    old: dict[str, str] = {}
    parts = re.findall(r"^ *(\d+):\tproc +(\d+ \(:?\w+).*\n((?:\t\t.*\n)*)", text, re.MULTILINE)
    for (number, who), group in groupby(parts, key=lambda part: part[:2]):
        new = dict(re.findall(r"^\t\t(\w\w\S*) = (\d+)$", "".join(part[2] for part in group), re.MULTILINE))
        changed = {key: value for key, value in new.items() if old and old.get(key) != value}
        old |= new
        words = (
            f"{key} = {names.get(value, value) if key.startswith('pc[') else value}"
            for key, value in changed.items()
        )
        if changed:
            yield f"{number:>4} {who.replace(' (', ' ')}: {', '.join(words)}"


if __name__ == "__main__":
    sys.exit(main())
