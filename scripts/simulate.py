"""Simulate pairs over the virtual kernel (`docs/simulation.md`): one seed again, or many and a table.

The same seed and profile always do the same, step by step. With --seed the outcome of one life is printed,
with --trace each of its steps as well. With --seeds A-B many are lived, and each that broke a promise is
named with the command that does it again. Exit code 1: a promise was broken.
"""

import argparse
import multiprocessing
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/simulation")]

from virtual.marks import ALL  # noqa: E402
from virtual.profiles import PROFILES  # noqa: E402
from virtual.run import Outcome, simulate  # noqa: E402

_SHOWN_MAX = 40


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="live this one life")
    parser.add_argument(
        "--seeds", metavar="A-B", default="1-20", help="live these, in each profile (default: 1-20)"
    )
    parser.add_argument(
        "--profile", choices=PROFILES, help="what goes wrong (default with --seeds: all of them in turn)"
    )
    parser.add_argument("--trace", action="store_true", help="with --seed: print every step")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    return parser.parse_args()


def live(case: tuple[str, int]) -> Outcome:
    profile, seed = case
    return simulate(seed, profile)


def show_one(seed: int, profile: str, *, trace: bool) -> int:
    outcome = simulate(seed, profile, trace=trace)
    if trace:
        print("\n".join(outcome.trace))
    print(
        f"{profile}/{seed}: {outcome.steps} steps, {outcome.virtual_s:.3f} virtual seconds, {outcome.digest}"
    )
    for crash in outcome.crashes:
        print(f"crash: {crash}")
    for name, count in sorted((outcome.marks + Counter(outcome.faults)).items()):
        print(f"{count:6} {name}")
    for complaint in outcome.complaints:
        print(f"broken: {complaint}")
    return bool(outcome.complaints)


def show_many(cases: list[tuple[str, int]], jobs: int) -> int:
    marks: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    steps, virtual_s, broken = 0, 0.0, 0
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for outcome in pool.imap_unordered(live, cases, chunksize=4):
            marks += outcome.marks
            faults += Counter(outcome.faults)
            steps += outcome.steps
            virtual_s += outcome.virtual_s
            if outcome.complaints:
                broken += 1
                print(f"{outcome.complaints[0]}\n    {outcome.replay}", flush=True)
    print(f"{len(cases)} lives, {steps} steps, {virtual_s:.0f} virtual seconds; {broken} broke a promise")
    for title, counts in (("states reached", marks), ("what went wrong", faults)):
        print(f"\n{title}:")
        for name, count in counts.most_common(_SHOWN_MAX):
            print(f"{count:8} {name}")
    missed = [name for name in ALL if not marks[name]]
    print("\nnot reached: " + (", ".join(missed) or "none"))
    return bool(broken)


def main() -> int:
    arguments = read_arguments()
    if arguments.seed is not None:
        return show_one(arguments.seed, arguments.profile or "kills", trace=arguments.trace)
    first, _, last = arguments.seeds.partition("-")
    profiles = [arguments.profile] if arguments.profile else list(PROFILES)
    seeds = range(int(first), int(last or first) + 1)
    return show_many([(profile, seed) for seed in seeds for profile in profiles], arguments.jobs)


if __name__ == "__main__":
    sys.exit(main())
