"""`state`: what the state file says, record by record."""

import argparse
from typing import TYPE_CHECKING

from twinwatch.cli.options import Commands, add_command, find_target

if TYPE_CHECKING:
    from twinwatch.cli.output import Output


def add(commands: Commands) -> None:
    """`state`."""
    epilog = "Rows and columns without a value are left out; --json prints everything."
    command = add_command(commands, "state", "print the state file", epilog, json=True)
    command.set_defaults(run=_state)


def _state(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.state_view import text
    from twinwatch.control.dump import dump

    found = dump(find_target(args))
    if args.json:
        output.json(found)
    else:
        output.stream.write(text(found))
    return 0
