"""`chaos`: do harm to a pair, look from outside, say whether a promise broke."""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twinwatch.cli.options import Commands, add_command, duration, find_target

if TYPE_CHECKING:
    from twinwatch.chaos.run import Options
    from twinwatch.cli.output import Output
    from twinwatch.cli.table import Block, Cell

KEPT, BROKE, USAGE = 0, 1, 2
GAP_S = (0.0, 0.010)

_EPILOG = """\
A pair of yours is struck only when it is named (-p or -c), by kills of its watchers unless more is asked for.
A throw-away pair is made in a temporary directory, and nothing of it is left.

exit codes:
  0 all promises kept   1 one broke; it says which   2 usage, or nothing could be tested

Ctrl-C ends early, takes back what is being done, and shows the figures so far. A seed gives the same
strikes and pauses, not the same races. Workers
that are never restarted, or have a restart limit, are not killed.

examples:
  twinwatch chaos --list                                what there is, and what this machine lacks
  twinwatch chaos --throw-away --faults all --seed 1    everything, against a pair made for it
  twinwatch -p shop chaos --duration 60s                kills of your watchers
  twinwatch -p shop chaos --workers --fault kill-both --gap 2ms
"""


def add(commands: Commands) -> None:
    """`chaos`."""
    command = add_command(
        commands, "chaos", "do harm to a pair at random, and say whether a promise broke", _EPILOG, json=True
    )
    add_options(command)
    command.set_defaults(run=run, failure_code=lambda _code: USAGE)


def add_options(command: argparse.ArgumentParser) -> None:
    """All but which pair is meant."""
    command.add_argument("--throw-away", action="store_true", help="a pair that is made for this")
    command.add_argument("--fault", action="append", metavar="NAME", default=[], help="this one; repeatable")
    command.add_argument("--faults", metavar="SET", help="all, kills, watchers or others")
    command.add_argument("--list", action="store_true", help="show the faults, do nothing")
    for name, default, what in (
        ("duration", 30.0, "how long (30s)"),
        ("pause", 0.4, "longest pause between strikes (400ms)"),
        ("patience", 10.0, "not whole after this long: a promise broke (10s)"),
    ):
        command.add_argument(f"--{name}", type=duration, default=default, metavar="TIME", help=what)
    command.add_argument(
        "--gap", type=duration, metavar="TIME", help="between the two kills of kill-both (drawn, 0 to 10ms)"
    )
    command.add_argument("--strikes", type=_count, metavar="N", help="end after so many (no limit)")
    command.add_argument("--seed", type=int, metavar="N", help="of faults, targets and times (random)")
    command.add_argument("--workers", action="store_true", help="strike your own pair's workers as well")
    command.add_argument(
        "--revive", action="store_true", help="`twinwatch up` your own pair if no guard of it is left"
    )
    command.add_argument(
        "--allow-clock", action="store_true", help="clock-step may step the clock of this machine"
    )
    command.add_argument(
        "--output", metavar="DIR", help="write result.json and, with twinwatch[report], report.html"
    )


def run(args: argparse.Namespace, output: "Output") -> int:
    """The command."""
    from twinwatch.chaos import run as chaos
    from twinwatch.control.errors import ControlError

    if args.list:
        return _list(args, output)
    is_named = args.pair is not None or args.config is not None
    if args.throw_away == is_named:
        raise ControlError("which pair? one of -p PAIR, -c CONFIG and --throw-away", USAGE)
    options = options_of(args)
    say = _progress if sys.stderr.isatty() else lambda _text: None
    try:
        if args.throw_away:
            found = chaos.throw_away(options, say)
        else:
            found = chaos.against(find_target(args).paths, options, say)
    except chaos.Interrupted:
        return USAGE  # before anything was struck
    say("")
    _write(found, args.output)
    if args.output is None and not args.json:
        _show_evidence(found)
    if args.json:
        output.json(found)
    else:
        output.show(view(found))
    return verdict(found)


def verdict(found: Mapping[str, Any]) -> int:
    """The exit code."""
    if found["broken"]:
        return BROKE
    return KEPT if found["events"] else USAGE


def options_of(args: argparse.Namespace) -> "Options":
    """What the command line asks for; the seed drawn, where none is given."""
    import random

    from twinwatch.chaos.run import Options

    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    return Options(
        seed=seed,
        faults=_faults(args),
        named=frozenset(args.fault),
        command=_command(args, seed),
        duration_s=args.duration,
        strikes=args.strikes,
        pause_s=args.pause,
        gap_s=GAP_S if args.gap is None else (args.gap, args.gap),
        patience_s=args.patience,
        workers=args.workers,
        revive=args.revive,
        allow_clock=args.allow_clock,
    )


def _faults(args: argparse.Namespace) -> tuple[str, ...]:
    """What is named, else a set; unasked all of them, or of a pair of the user's the kills that are usual."""
    from twinwatch.chaos import menu
    from twinwatch.control.errors import ControlError

    for name in args.fault:
        if name not in menu.BY_NAME:
            raise ControlError(f"no fault is called {name}: see `twinwatch chaos --list`", USAGE)
    if args.faults is not None and args.faults not in menu.SETS:
        raise ControlError(f"--faults {args.faults}: one of {', '.join(menu.SETS)}", USAGE)
    chosen = set(args.fault)
    if args.faults is not None or not chosen:
        unasked = "all" if args.throw_away else "watchers"
        fits = menu.SETS[args.faults or unasked]
        chosen |= {fault.name for fault in menu.MENU if fits(fault)}
        if args.workers and args.faults is None:
            chosen.add("kill-worker")
    return tuple(fault.name for fault in menu.MENU if fault.name in chosen)


def _command(args: argparse.Namespace, seed: int) -> str:
    """What repeats the run."""
    import shlex

    words = ["twinwatch", "chaos"]
    words += ["--throw-away"] if args.throw_away else []
    words += ["-p", args.pair] if args.pair is not None else []
    words += ["-c", args.config] if args.config is not None else []
    for name in args.fault:
        words += ["--fault", name]
    words += ["--faults", args.faults] if args.faults is not None else []
    words += ["--seed", str(seed), "--duration", f"{args.duration:g}s"]
    words += ["--strikes", str(args.strikes)] if args.strikes is not None else []
    for name, usual in (("pause", 0.4), ("patience", 10.0), ("gap", None)):
        value = getattr(args, name)
        words += [f"--{name}", f"{value * 1e3:g}ms"] if value != usual else []
    for name in ("workers", "revive", "allow_clock"):
        words += [f"--{name.replace('_', '-')}"] if getattr(args, name) else []
    return shlex.join(words)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of strikes")
    return int(text)


def _list(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.chaos import menu
    from twinwatch.chaos.needs import Allowed
    from twinwatch.cli.table import Cell, Table, Tone

    own = args.pair is None and args.config is None
    terms = menu.Terms(
        own=own,
        workers=own or args.workers,
        revive=own or args.revive,
        allowed=Allowed(clock=args.allow_clock),
    )
    offers = menu.offers(terms)
    if args.json:
        output.json(
            {
                "schema": 1,
                "faults": [
                    {
                        "name": one.fault.name,
                        "what": one.fault.what,
                        "available": not one.why,
                        "why": one.why or None,
                    }
                    for one in offers
                ],
            }
        )
        return KEPT
    rows = tuple(
        (
            Cell(one.fault.name, Tone.STRONG),
            Cell("no" if one.why else "yes", Tone.DOUBTFUL if one.why else Tone.GOOD),
            Cell(f"{one.fault.what} ({one.why})" if one.why else one.fault.what),
        )
        for one in offers
    )
    output.show([Table(("FAULT", "HERE", "WHAT IT DOES"), rows)])
    return KEPT


def _progress(text: str) -> None:
    print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def _show_evidence(found: Mapping[str, Any]) -> None:
    """Of a throw-away pair nothing else is left of it."""
    from twinwatch.cli.output import remark

    for name, lines in found["evidence"].items():
        remark("\n".join([f"--- {name.replace('_', ' ')}", *lines]))


def _write(found: dict[str, Any], directory: str | None) -> None:
    """`result.json`, and the report where it can be drawn."""
    if directory is None:
        return
    import json

    from twinwatch.cli.output import remark

    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/result.json", "w", encoding="utf-8") as file:
        json.dump(found, file, indent=2)
        file.write("\n")
    try:
        from twinwatch.chaos import report

        report.write(found, directory)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"matplotlib", "numpy"}:
            raise
        remark("twinwatch: no report.html without pictures: pip install 'twinwatch[report]'")


# ---------------------------------------------------------------- what people read


def view(found: Mapping[str, Any]) -> "list[Block]":
    """The result as a table, what broke, and how it is repeated."""
    from twinwatch.cli.table import Table, Tone, line

    about = found["machine"]
    titles = ("FAULT", "TIMES", "AGAIN", "p95", "max", "WHOLE", "p95 ", "max ", "GAP")
    names = [one["name"] for one in found["faults"] if one["name"] in found["summary"]]
    rows = tuple(_row(name, found["summary"][name]) for name in names)
    blocks: list[Block] = [
        line(
            f"pair {found['pair']}, {found['duration_s']} s, seed {found['seed']}, "
            f"Linux {about['kernel']}, Python {about['python']}, {about['cpus']} CPUs"
        ),
        line(""),
    ]
    if rows:
        blocks += [
            Table(titles, rows, frozenset(titles[1:])),
            line("ms until what was killed runs AGAIN, until the pair is WHOLE; GAP: between the signals"),
        ]
    blocks += [
        line(f"not done: {one['name']}: {one['why']}", Tone.FAINT)
        for one in found["faults"]
        if one["asked"] and not one["available"]
    ]
    blocks += [line(text, Tone.DOUBTFUL) for text in _remarks(found)]
    blocks += [
        line(f"BROKEN {one['promise']} {one['title']}, at {one['at_s']:g} s: {one['what']}", Tone.BAD)
        for one in found["broken"]
    ]
    tone = Tone.BAD if found["broken"] else Tone.GOOD
    return [*blocks, line(f"verdict: {found['verdict']}", tone), line(f"again: {found['command']}")]


def _row(name: str, one: Mapping[str, Any]) -> "tuple[Cell, ...]":
    from twinwatch.cli.table import Cell

    cells = [name, str(one["count"])]
    for key in ("again_ms", "whole_ms"):
        times = one[key] or {}
        cells += [f"{times[part]:g}" if times else "-" for part in ("median", "p95", "max")]
    gap = one["gap_ms"]
    return tuple(map(Cell, [*cells, f"{gap['median']:g}" if gap else "-"]))


def _remarks(found: Mapping[str, Any]) -> list[str]:
    texts = []
    for name, one in found["summary"].items():
        if one["extinct"]:
            texts.append(f"{name}: {one['extinct']} of {one['count']} left no guard")
    if found["events"] and found["events"][-1]["outcome"] == "extinct" and not found["events"][-1]["revived"]:
        texts.append("no guard of the pair is left: `twinwatch up` starts it, its workers run on")
    if found["workers_ended_themselves"]:
        texts.append(f"workers that ended by themselves: {found['workers_ended_themselves']} (not judged)")
    if found["crashes"]:
        texts.append(f"watchers that crashed: {len(found['crashes'])}; the last: {found['crashes'][-1]}")
    return texts
