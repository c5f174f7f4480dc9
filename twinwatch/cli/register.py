"""`register`, `unregister`: processes that the pair did not start."""

import argparse
from typing import TYPE_CHECKING

from twinwatch.cli.options import Commands, add_command, add_timeout, find_target, interval

if TYPE_CHECKING:
    from twinwatch.cli.output import Output

_EXAMPLE = """\
example, in a shell script:
  beat=$(twinwatch register backup --timeout 10s --pid $$ -- /usr/local/bin/backup.sh)
  while work; do touch "$beat"; done

From the first beat on (a `touch`, or see docs/heartbeat.md) silence for `--misses` times `--timeout` ends
the process, and the command starts it again.
"""


def add(commands: Commands) -> None:
    """Both commands."""
    command = add_command(
        commands, "register", "guard a process that the pair did not start", _EXAMPLE, json=True
    )
    command.add_argument("name", metavar="NAME", help="what the worker is called from now on")
    command.add_argument(
        "--timeout",
        dest="silence",
        type=interval,
        required=True,
        metavar="DURATION",
        help="without a beat: a miss",
    )
    command.add_argument(
        "--misses", type=_misses, default=3, metavar="N", help="so many in a row convict (3)"
    )
    command.add_argument("--pid", type=int, metavar="PID", help="the process (who calls this command)")
    command.add_argument("--directory", metavar="DIR", default=".", help="where the command is run (here)")
    command.add_argument("command_line", metavar="COMMAND", nargs="+", help="what starts it again, behind --")
    command.set_defaults(run=_register)

    forget = add_command(commands, "unregister", "guard a registered process no more; it runs on", json=True)
    forget.add_argument("name", metavar="NAME")
    add_timeout(forget, 30, "wait at most")
    forget.set_defaults(run=_unregister)


def _misses(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("must be 1 to 1000")
    return int(text)


def _register(args: argparse.Namespace, output: "Output") -> int:
    import os

    from twinwatch.cli.output import remark
    from twinwatch.control.register import Registration, register
    from twinwatch.core.timing import SECOND_NS

    asked = Registration(
        args.name,
        os.getppid() if args.pid is None else args.pid,
        tuple(args.command_line),
        args.directory,
        int(args.silence * SECOND_NS),
        args.misses,
    )
    answer = register(find_target(args), asked, timeout_s=30, progress=remark)
    if args.json:
        output.json(answer)
    else:
        output.line(str(answer["heartbeat"]))
    return 0


def _unregister(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.output import remark
    from twinwatch.control.register import unregister

    answer = unregister(find_target(args), args.name, timeout_s=args.timeout, progress=remark)
    if args.json:
        output.json(answer)
    else:
        output.line(f"{args.name}: is not guarded any more")
    return 0
