"""The whole command line, read. Nothing else is imported here, so that `--help` is quick."""

import argparse

from twinwatch import __version__
from twinwatch.cli import anchor, chaos, check, events, logs, pair, register, state, status, workers
from twinwatch.cli.doctor import command as doctor
from twinwatch.cli.options import shared

_DESCRIPTION = "Two watcher processes that guard each other, and your workers."

_EPILOG = """\
examples:
  twinwatch check shop.yaml         is this configuration right?
  twinwatch up shop.yaml            start the pair and its workers
  twinwatch -p shop status --watch  look at it
  twinwatch -p shop restart web:1   one instance; without :1 all of them
  twinwatch -p shop down            stop it all

the pair is found by, in this order:
  -p PAIR, -c CONFIG, $TWINWATCH_CONFIG, ./twinwatch.yaml, /etc/twinwatch/twinwatch.yaml

exit codes:
  0 done   1 failed   2 usage, or wrong configuration   4 not allowed
  5 no such worker   6 no configuration found   7 not running   130 interrupted
  `status` has its own: see `twinwatch status --help`.

environment:
  TWINWATCH_CONFIG  the configuration       TWINWATCH_DEBUG=1  errors with traceback
  NO_COLOR          no colour on a terminal
"""

_DEFAULTS: dict[str, object] = {"config": None, "pair": None, "color": "auto", "json": False}


def build() -> argparse.ArgumentParser:
    """The parser; each command sets `run`, a function of (arguments, output) that gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="twinwatch",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared()],
    )
    parser.add_argument("--version", action="version", version=f"twinwatch {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True, dest="command")
    for group in (check, pair, anchor, status, workers, register, logs, events, state, chaos, doctor):
        group.add(commands)
    return parser


def parse(argv: list[str] | None, args: argparse.Namespace) -> None:
    """Read `argv` into `args`. Shared options may stand before or after the command."""
    for name, value in _DEFAULTS.items():
        setattr(args, name, value)
    build().parse_args(argv, args)
