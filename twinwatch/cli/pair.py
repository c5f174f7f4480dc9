"""`up`, `down`, `reload`: the pair as a whole."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from twinwatch.cli.check import configuration
from twinwatch.cli.options import Commands, add_command, add_timeout, find_target
from twinwatch.cli.status import DOWN

if TYPE_CHECKING:
    from twinwatch.cli.output import Output

_CHANGES = ("started", "stopped", "restarted", "unchanged")


def add(commands: Commands) -> None:
    """`up`, `down` and `reload`."""
    _add_up(commands)
    down = add_command(commands, "down", "stop the workers, then the pair; nothing comes back", json=True)
    down.add_argument(
        "--temporary",
        action="store_true",
        help="until the anchor or the machine is started again; without it, until `up`",
    )
    add_timeout(down, None, "give up after")
    down.set_defaults(run=_down)
    reload = add_command(
        commands, "reload", "act on the changed configuration; restart only what it changes", json=True
    )
    add_timeout(reload, 60, "give up after")
    reload.set_defaults(run=_reload)


def _add_up(commands: Commands) -> None:
    up = add_command(
        commands,
        "up",
        "start the pair, or make a living one whole",
        "Returns when both watchers live and the workers are started; 0 if all is well.",
        json=True,
    )
    up.add_argument("file", metavar="CONFIG", nargs="?", help="the file (default: as the pair is found)")
    up.add_argument(
        "--if-wished", action="store_true", help="do nothing where `down` said to stay down; exit 3"
    )
    add_timeout(up, 60, "give up after")
    up.set_defaults(run=_up)


def _up(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.output import remark
    from twinwatch.control.up import is_wished, up

    path = configuration(args)
    if args.if_wished and not is_wished(path, os.environ):
        return DOWN
    status = up(path, os.environ, timeout_s=args.timeout, progress=remark)
    _show_status(status, args, output)
    return 0 if status["state"] == "up" else 1


def _down(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.output import remark
    from twinwatch.control.down import down

    status = down(find_target(args), timeout_s=args.timeout, progress=remark, temporary=args.temporary)
    if args.json:
        output.json(status)
    else:
        output.line(f"{status['pair']}: {status['state']}")
    return 0 if status["state"] == "down" else 1


def _reload(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.output import remark
    from twinwatch.control.reload import reload

    changes: dict[str, Any] = reload(find_target(args), os.environ, timeout_s=args.timeout, progress=remark)
    if args.json:
        output.json(changes)
        return 0
    output.line(f"configuration {changes['config_generation']} is in force")
    for kind in _CHANGES:
        if changes[kind]:
            output.line(f"{kind}: {', '.join(changes[kind])}")
    return 0


def _show_status(status: dict[str, Any], args: argparse.Namespace, output: "Output") -> None:
    if args.json:
        output.json(status)
        return
    from twinwatch.cli.status_view import blocks

    output.show(blocks(status))
