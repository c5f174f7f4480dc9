"""Removes each guard of the code in turn, and asks the tests whether they notice.

A guard is a statement whose comment begins with a race id (`# R07`). Its mutant is run against the tests of
that race which play it with the guard: one of them has to fail. `--file` asks more of a module: each
condition turned round, each operand and each act left out, against the unit, contract and race tests.
Works in a copy of the checkout; the checkout itself is only read (but for `--write`).
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 4  # of a scene in a mutant of a module: what is noticed late is looked at by eye
LIMIT_S = 30  # of each test there
sys.path[:0] = [str(ROOT / "tests/mutants")]

import mutant_generic  # noqa: E402 - from where tests are
from mutant_bench import Bench, Verdict  # noqa: E402
from mutant_rules import complaints  # noqa: E402
from mutant_sites import find_all, read_code  # noqa: E402
from mutant_table import DOCUMENT, Row, ask_all, known_of, line_of, put_table  # noqa: E402


def main() -> int:
    arguments = parse()
    if arguments.file:
        return ask_files(arguments.file, only_list=arguments.list)
    code = read_code()
    sites = find_all(code)
    wrong = complaints(sites, code)
    if wrong:
        sys.exit("\n".join(f"mutate-guards: {line}" for line in wrong))
    unknown = set(arguments.ids) - {site.race for site in sites}
    if unknown:
        sys.exit(f"mutate-guards: no guard carries {', '.join(sorted(unknown))}")
    wanted = [site for site in sites if not arguments.ids or site.race in arguments.ids]
    if arguments.list:
        for site in wanted:
            print(line_of(Row(site, known_of(site, code), None)))
        return 0
    rows = ask_all(wanted, code, lambda row: print(line_of(row), flush=True))
    alive = [row for row in rows if row.outcome is None or row.outcome.verdict is not Verdict.KILLED]
    print(f"{len(rows)} guards removed in turn, {len(rows) - len(alive)} noticed")
    if arguments.write and not arguments.ids and not alive:
        put_table(ROOT / DOCUMENT, rows)
    return 1 if alive else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutate-guards", description=__doc__.partition("\n\n")[0])
    parser.add_argument("ids", nargs="*", metavar="RNN", help="only the guards of these races")
    parser.add_argument("--list", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--write", action="store_true", help=f"write the table into {DOCUMENT}")
    parser.add_argument(
        "--file",
        action="append",
        metavar="MODULE",
        help="all mutants of a module, as twinwatch/linux/lock.py",
    )
    return parser.parse_args()


def ask_files(paths: list[str], *, only_list: bool) -> int:
    alive = 0
    for path in paths:
        if path not in mutant_generic.TESTS:
            sys.exit(f"mutate-guards: {path}: say in tests/mutants/mutant_generic.py which tests to ask")
        found = list(mutant_generic.mutants_of(path, (ROOT / path).read_text("utf-8")))
        if only_list:
            print("\n".join(f"{path}:{line} {mutant.words}" for line, mutant in found))
            continue
        alive += ask_file(path, found)
    return 1 if alive else 0


def ask_file(path: str, found: list) -> int:
    """Print each mutant that no test noticed; how many they are."""
    begun = time.monotonic()
    tests = mutant_generic.TESTS[path]
    survivors = 0
    with Bench() as bench:
        whole = bench.run(tests, guarded_only=True)
        if whole.verdict is not Verdict.SURVIVED:
            sys.exit(f"mutate-guards: without a mutant: {whole}")
        for line, mutant in found:
            outcome = bench.run(tests, mutant, guarded_only=True, patience_s=PATIENCE_S, limit_s=LIMIT_S)
            is_noticed = outcome.verdict is not Verdict.SURVIVED
            if not is_noticed or not (outcome.test or outcome.why):
                survivors += 1
                print(f"{outcome.verdict.value} {path}:{line} {mutant.words} {outcome.why}", flush=True)
    spent = time.monotonic() - begun
    print(f"{path}: {len(found)} mutants, {survivors} not noticed, {spent:.0f} s", flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())
