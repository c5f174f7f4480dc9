"""`anchor`: the third guard, in the foreground."""

import argparse
import os
from typing import TYPE_CHECKING

from twinwatch.cli.check import configuration
from twinwatch.cli.options import Commands, add_command

if TYPE_CHECKING:
    from twinwatch.cli.output import Output


def add(commands: Commands) -> None:
    """`anchor`."""
    anchor = add_command(commands, "anchor", "be the third guard of a pair, for an init to respawn")
    anchor.add_argument("file", metavar="CONFIG", nargs="?", help="the file (default: as the pair is found)")
    anchor.add_argument("--watchdog-device", metavar="DEV", help="feed it while both twins beat")
    anchor.add_argument("--ready-fd", type=int, metavar="N", help="write a newline to it when all is ready")
    anchor.set_defaults(run=_run)


def _run(args: argparse.Namespace, _output: "Output") -> int:
    from twinwatch.control.anchor import anchor

    anchor(configuration(args), os.environ, watchdog_device=args.watchdog_device, ready_fd=args.ready_fd)
