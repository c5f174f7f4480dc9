"""Expected time until nobody of a pair is left, when every process of it is killed at random.

    extinction [--kills N] [--runs N] [--real [N]] [--seed N] [--data FILE] [--picture FILE]
               [--write]

Kills are independent: each process suffers them at the same mean rate. For a polling pair, event-driven
guards, and pairs of twinwatch with reserves and with an anchor this computes the mean time to extinction
(linear equations or a formula), checks it by simulation, and with --real by real pairs that are killed until
nobody is left. How long repairs take is measured first, on a throw-away pair of this machine.
"""

import argparse
import json
import random
import shlex
import signal
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measured
from extinct import formulas, real, simulate, solve, tables
from extinct.model import Guards, Reserved, System

from twinwatch.chaos import measures

# Seconds, on an idle 2-core virtual machine; for --kills 0. `anchor`: its claim when nobody else is left;
# `init`: until an init that waits a second has started it again.
ASSUMED = {"claim": 0.003, "start": 0.004, "fork": 0.003, "bear": 0.006}
ANCHORED = {"anchor": 0.03, "init": 1.0}
ASSUMED_SHARE = 0.5
POLLS_S = (1.0, 0.1)
LINE_HZ = tuple(100 * (100 * 3600) ** (step / 32 - 1) for step in range(33))  # one an hour to 100 a second
TOLD_HZ = {
    "once a day": 1 / 86_400,
    "an hour": 1 / 3600,
    "a minute": 1 / 60,
    "a second": 1.0,
    "20 a second": 20.0,
}
CHECKED_HZ = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
KILLS_MAX = 300  # of each process in a simulated run, in the mean: what is slower takes too long to simulate
POINTS_MAX = 4
REAL_HZ = {1: (20.0, 40.0), 2: (40.0, 80.0)}
KEPT, FAILED = 0, 1
DOCUMENT = Path(__file__).resolve().parents[1] / "docs/race-analysis.md"

Durations = dict[str, float]


@dataclass(frozen=True)
class Variant:
    """One kind of guards: its exact mean by rate, and one simulated run."""

    id: str
    title: str
    kills: int  # that leave nobody, if they come close enough to each other
    short: str  # the mean for rare kills, as text
    exact: Callable[[float], float]
    run: Callable[[float], Callable[[random.Random], float]]


def variants(durations_s: Durations, twin_share: float) -> Iterator[Variant]:
    bear_s = durations_s["bear"]
    for period_s in POLLS_S:
        yield _polling(period_s, bear_s)
    yield _solved("two", "two, woken by a death", Guards(2), durations_s, "1 / (2 λ² w)")
    yield _solved("three", "three, woken by a death", Guards(3), durations_s, "1 / (3 λ³ w²)")
    for reserve in (1, 2):
        system = Reserved(reserve, twin_share)
        yield _solved(f"reserve-{reserve}", f"twinwatch, reserve: {reserve}", system, durations_s)
    yield _solved(
        "anchored", "reserve: 2, and an anchor", Reserved(2, twin_share, anchored=True), durations_s
    )


def _polling(period_s: float, bear_s: float) -> Variant:
    return Variant(
        f"polling-{measures.span(period_s).replace(' ', '')}",
        f"two, looking every {measures.span(period_s)}",
        2,
        "1 / (λ² (T + 2 w))",
        lambda rate_hz: formulas.polling(rate_hz, period_s, bear_s),
        lambda rate_hz: lambda chance: simulate.run_polling(chance, rate_hz, period_s, bear_s),
    )


def _solved(name: str, title: str, system: System, durations_s: Durations, short: str = "") -> Variant:
    kills = solve.kills_needed(system, durations_s)
    draws = {key: simulate.exponential(value) for key, value in durations_s.items()}
    return Variant(
        name,
        title,
        kills,
        short or _leading(system, durations_s, kills),
        lambda rate_hz: solve.mean_s(system, rate_hz, durations_s),
        lambda rate_hz: simulate.Simulation(system, rate_hz, draws).run,
    )


def _leading(system: System, durations_s: Durations, kills: int) -> str:
    """The coefficient of rate^-kills as the rate goes to 0, as a window: E = 1 / (λ (λ w)^(kills - 1))."""
    rate_hz = 1e-9
    window_s = (rate_hz**kills * solve.mean_s(system, rate_hz, durations_s)) ** (-1 / (kills - 1))
    return f"1 / (λ (λ · {measures.span(window_s)}){str(kills - 1).translate(tables.RAISED)})"


def mean_of(run: Callable[[random.Random], float], runs: int, chance: random.Random) -> dict[str, float]:
    """Mean of simulated runs with its 95 % interval, in seconds."""
    mean, low, high = measures.mean_interval([run(chance) for _ in range(runs)])
    return {"mean_s": mean, "low_s": low, "high_s": high, "runs": runs}


def compute(variant: Variant, runs: int, seed: int) -> dict[str, Any]:
    """One variant of the document: line and simulated points."""
    chance = random.Random(f"{seed} {variant.id}")
    checked = [rate for rate in CHECKED_HZ if 1.5 < variant.exact(rate) * rate < KILLS_MAX][:POINTS_MAX]
    return {
        "id": variant.id,
        "title": variant.title,
        "kills": variant.kills,
        "short": variant.short,
        "line": [[rate, variant.exact(rate)] for rate in LINE_HZ],
        "told": [[name, variant.exact(rate)] for name, rate in TOLD_HZ.items()],
        "simulated": [
            {"rate_hz": rate, "exact_s": variant.exact(rate), **mean_of(variant.run(rate), runs, chance)}
            for rate in checked
        ],
        "real": [],
    }


# ---------------------------------------------------------------- real pairs


def kill_real(
    repairs: real.Repairs, durations_s: Durations, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Real extinctions beside what the model says with the repairs of this machine."""
    draws = {name: simulate.measured(samples) for name, samples in repairs.samples_s.items()}
    for reserve, rates in REAL_HZ.items():
        system = Reserved(reserve, repairs.twin_share)
        for rate_hz in rates:
            chance = random.Random(f"{options.seed} real {reserve} {rate_hz}")
            found = []
            for number, end in enumerate(real.extinctions(reserve, rate_hz, options.real, chance), 1):
                progress(f"reserve {reserve}, {rate_hz:g} kills/s: {number} of {options.real} extinct")
                found.append(end)
            mean, low, high = measures.mean_interval([end.seconds for end in found])
            seen_hz = sum(end.rate_hz * end.seconds for end in found) / sum(end.seconds for end in found)
            run = simulate.Simulation(system, seen_hz, draws).run
            yield {
                "reserve": reserve,
                "asked_hz": rate_hz,
                "rate_hz": seen_hz,
                "mean_s": mean,
                "low_s": low,
                "high_s": high,
                "runs": len(found),
                "kills": statistics.fmean(end.kills for end in found),
                "births": statistics.fmean(end.births for end in found),
                "births_most": max(end.births for end in found),
                "clipped": sum(end.clipped for end in found),
                "exact_s": solve.mean_s(system, seen_hz, durations_s),
                "measured": mean_of(run, options.runs, chance),
            }


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)


def parse(arguments: Iterable[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="extinction", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    number = {"type": int, "metavar": "N"}
    parser.add_argument(
        "--kills", **number, default=60, help="to measure repairs by; 0: take usual ones (default: 60)"
    )
    parser.add_argument("--runs", **number, default=500, help="simulated at each point (default: 500)")
    parser.add_argument(
        "--real", **number, nargs="?", const=30, default=0, help="real extinctions a point (30)"
    )
    parser.add_argument("--seed", **number, default=1, help="of simulations and real kills (default: 1)")
    parser.add_argument("--data", metavar="FILE", help="write the result document as JSON")
    parser.add_argument(
        "--picture", metavar="FILE", help="write the picture as SVG (needs the extra `report`)"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/race-analysis.md")
    options = parser.parse_args(list(arguments))
    if options.runs < 2 or options.real == 1 or min(options.kills, options.real) < 0:
        parser.error("an interval needs two runs or more")
    if options.real and not options.kills:
        parser.error("--real needs measured repairs: leave --kills 0 out")
    return options


def main(arguments: Iterable[str]) -> int:
    options = parse(arguments)
    document: dict[str, Any] = {
        "schema": 1,
        "machine": measured.machine(),
        "seed": options.seed,
        "command": shlex.join(["scripts/extinction", *arguments]),
    }
    durations_s, share = dict(ASSUMED), ASSUMED_SHARE
    try:
        repairs = real.measure(options.kills) if options.kills else None
        if repairs:
            durations_s = {name: statistics.fmean(samples) for name, samples in repairs.samples_s.items()}
            share = repairs.twin_share
            document["repairs"] = repairs.samples_s
        durations_s |= ANCHORED
        document |= {"durations_s": durations_s, "twin_share": share}
        document["variants"] = [compute(v, options.runs, options.seed) for v in variants(durations_s, share)]
        document["real"] = list(kill_real(repairs, durations_s, options)) if repairs and options.real else []
    except real.Failed as failed:
        print(f"extinction: {failed}", file=sys.stderr)
        return FAILED
    for point in document["real"]:
        own = next(v for v in document["variants"] if v["id"] == f"reserve-{point['reserve']}")
        own["real"].append({key: point[key] for key in ("rate_hz", "mean_s", "low_s", "high_s", "runs")})
    text = "\n\n".join(tables.all_of(document))
    print(text)
    if options.write:
        measured.put(DOCUMENT, "extinction", "\n\n".join(tables.brief(document)))
    if options.data:
        with open(options.data, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=1) + "\n")
    if options.picture:
        from twinwatch.chaos import pictures

        with open(options.picture, "w", encoding="utf-8") as file:
            file.write(pictures.extinction(document))
    return KEPT


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started is ended
    sys.exit(main(sys.argv[1:]))
