"""Options that several commands share, and the readers of their values."""

import argparse
import re
import signal
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # building the parser must stay quick
    from twinwatch.control.target import Target

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse gives it no public name

_UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit}(?![a-z]))?" for unit in _UNITS_S), re.ASCII)
_SIGNALS = {member.name.removeprefix("SIG"): int(member) for member in signal.Signals}


def shared() -> argparse.ArgumentParser:
    """Options of every command. None has a default: one given before the command must not be lost."""
    parent = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parent.add_argument_group("which pair, and how it is shown")
    group.add_argument("-c", "--config", metavar="CONFIG", help="the pair's configuration file")
    group.add_argument("-p", "--pair", metavar="PAIR", help="the pair's name")
    group.add_argument("--color", choices=("auto", "always", "never"), help="colours and tables (auto)")
    return parent


def add_command(
    commands: Commands, name: str, purpose: str, epilog: str = "", *, json: bool = False
) -> argparse.ArgumentParser:
    """A command with the shared options; `json`: it can print JSON."""
    command = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared()],
    )
    command.set_defaults(failure_code=int)
    if json:
        command.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    return command


def add_timeout(command: argparse.ArgumentParser, default_s: float | None, what: str) -> None:
    """`--timeout`; `what` it bounds."""
    usual = "as long as it takes" if default_s is None else f"{default_s:g}s"
    command.add_argument(
        "--timeout", type=duration, default=default_s, metavar="DURATION", help=f"{what} ({usual})"
    )


def add_follow(command: argparse.ArgumentParser) -> None:
    """`--follow` and `--lines`."""
    command.add_argument("-f", "--follow", action="store_true", help="go on with what is added, until Ctrl-C")
    command.add_argument(
        "-n", "--lines", type=count, metavar="N", help="only the last N (all; with -f the last 10)"
    )


def lines_wanted(args: argparse.Namespace) -> int | None:
    """How many of the last lines; None: all."""
    if args.lines is None:
        return 10 if args.follow else None
    wanted: int = args.lines
    return wanted


def duration(text: str) -> float:
    """`500ms`, `2s`, `1h30m` as seconds; a bare number is seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return float(text)
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 500ms, 10s or 1h30m")
    return sum(float(part) * unit for part, unit in zip(found.groups("0"), _UNITS_S.values(), strict=True))


def interval(text: str) -> float:
    """A duration to repeat something at."""
    value = duration(text)
    if value < 0.1:
        raise argparse.ArgumentTypeError("must be 100ms or more")
    return value


def count(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
    return int(text)


def signal_number(text: str) -> int:
    """`HUP`, `SIGHUP` or `1`."""
    if text.isdecimal() and 0 < int(text) < signal.NSIG:
        return int(text)
    number = _SIGNALS.get(text.upper().removeprefix("SIG"))
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a signal such as HUP, SIGHUP or 1")
    return number


def find_target(args: argparse.Namespace) -> "Target":
    """The pair that the command is about."""
    import os

    from twinwatch.control.target import find

    return find(args.config, args.pair, os.environ)
