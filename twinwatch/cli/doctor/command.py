"""`doctor`: what this machine gives, what is missing, and what that costs."""

import argparse
import os
from typing import TYPE_CHECKING

from twinwatch.cli.options import Commands, add_command

if TYPE_CHECKING:
    from twinwatch.cli.doctor.finding import Finding
    from twinwatch.cli.output import Output
    from twinwatch.cli.table import Block

_EPILOG = """\
Looks at the machine, never at a pair of yours. Exit code 1: something is missing without which no pair can
live; with --bench: nothing could be measured, or a worker was touched that should not have been.

--bench starts a pair of its own in a temporary directory, with workers that do nothing, and kills it part by
part, for half a minute. Nothing of it is left, after Ctrl-C neither.
"""

_ROUNDS_MAX = 1000


def add(commands: Commands) -> None:
    """`doctor`."""
    command = add_command(commands, "doctor", "tell what this machine gives to a pair", _EPILOG, json=True)
    command.add_argument("--bench", action="store_true", help="measure what a pair gets here")
    command.add_argument(
        "--rounds",
        type=_rounds,
        metavar="N",
        help="of --bench: N deaths of one worker, all else in proportion (20)",
    )
    command.set_defaults(run=_doctor)


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _ROUNDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_ROUNDS_MAX}")
    return int(text)


def _doctor(args: argparse.Namespace, output: "Output") -> int:
    if args.bench:
        from twinwatch.cli.doctor import bench

        return bench.run(args.rounds, output, json=args.json)
    if args.rounds is not None:
        from twinwatch.control.errors import USAGE, ControlError

        raise ControlError("--rounds is for --bench: add it", USAGE)
    found = examine()
    is_well = not any(finding.is_fatal for finding in found)
    if args.json:
        from dataclasses import asdict

        output.json({"schema": 1, "ok": is_well, "findings": [asdict(finding) for finding in found]})
    else:
        output.show(blocks(found))
    return 0 if is_well else 1


def examine() -> "list[Finding]":
    """Everything there is to be looked at."""
    from twinwatch.cli.doctor import kernel, limits, places

    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        mounts = file.read()
    return [*kernel.findings(), *places.findings(os.environ, mounts), *limits.findings(mounts)]


def blocks(found: "list[Finding]") -> "list[Block]":
    """A table of all, then what to do about those that are not well."""
    from twinwatch.cli.doctor.finding import Verdict
    from twinwatch.cli.human import clean
    from twinwatch.cli.table import Cell, Table, Tone, line

    tones = {Verdict.OK: Tone.GOOD, Verdict.DEGRADED: Tone.DOUBTFUL, Verdict.MISSING: Tone.BAD}
    rows = tuple(
        (Cell(one.name), Cell(one.verdict, tones[one.verdict]), Cell(clean(one.found))) for one in found
    )
    shown: list[Block] = [Table(("CHECK", "VERDICT", "FOUND"), rows)]
    for one in found:
        if one.verdict is not Verdict.OK:
            shown += [
                line(""),
                line(f"{one.name}: {one.verdict}", tones[one.verdict]),
                line(f"  costs: {clean(one.cost)}"),
                line(f"  to do: {clean(one.advice)}"),
            ]
    return shown
