"""`start`, `stop`, `restart`, `pause`, `resume`, `signal`: single workers."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from twinwatch.cli.options import Commands, add_command, add_timeout, find_target, signal_number

if TYPE_CHECKING:
    from twinwatch.cli.output import Output

_PURPOSES = {
    "start": "start workers, also those that gave up",
    "stop": "stop workers; they stay stopped",
    "restart": "stop workers and start them again",
    "pause": "leave workers running, unguarded",
    "resume": "guard paused workers again",
}


def add(commands: Commands) -> None:
    """A command for each thing that is done to a worker."""
    for name, purpose in _PURPOSES.items():
        command = add_command(commands, name, purpose)
        _add_names(command)
        command.add_argument("--no-wait", dest="wait", action="store_false", help="return at once")
        add_timeout(command, 60, "wait at most")
        command.set_defaults(run=_change)
    _add_signal(commands)


def _add_signal(commands: Commands) -> None:
    command = add_command(
        commands, "signal", "send a signal to workers", "example:\n  twinwatch signal HUP web"
    )
    command.add_argument("number", metavar="SIGNAL", type=signal_number, help="HUP, SIGHUP or 1")
    _add_names(command)
    command.add_argument("--group", action="store_true", help="to the whole process group")
    command.set_defaults(run=_signal)


def _add_names(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", metavar="WORKER", nargs="+", help="NAME, NAME:INSTANCE or `all`")


def _change(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.output import remark
    from twinwatch.control import workers

    changes: dict[str, Callable[..., list[str]]] = {
        "start": workers.start,
        "stop": workers.stop,
        "restart": workers.restart,
        "pause": workers.pause,
        "resume": workers.resume,
    }
    change = changes[args.command]
    for text in change(
        find_target(args), args.names, wait=args.wait, timeout_s=args.timeout, progress=remark
    ):
        output.line(text)
    return 0


def _signal(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.control import workers

    for text in workers.send_signal(find_target(args), args.names, args.number, group=args.group):
        output.line(text)
    return 0
