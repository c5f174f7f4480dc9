"""`status`: how the pair is."""

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from twinwatch.cli.options import Commands, add_command, find_target, interval

if TYPE_CHECKING:
    from twinwatch.cli.output import Output
    from twinwatch.cli.table import Block
    from twinwatch.control.target import Target

Status: TypeAlias = Mapping[str, Any]

REFUSED = 1
DEAD = 1
DOWN = 3
UNKNOWN = 4
_CODES = {"up": 0, "down": DOWN, "degraded": 150, "fatal": 151}
_SILENT_S = 180  # three of the longest intervals that a configuration may have
_NOT_THERE = frozenset({5, 7})  # of other commands: no such pair, not running

_EPILOG = """\
exit codes (as LSB init scripts have them):
    0  up: both watchers live, every worker that should run is running
    1  dead: it should run, but no watcher lives (the workers may)
    3  down
    4  it cannot be told
  150  degraded: a watcher or a worker is missing, or not ready
  151  fatal: a worker gave up

with --probe, as Docker and Kubernetes ask: 0 yes, 1 no or it cannot be told
  live   a watcher lives, or an anchor that brings them back: also while the
         pair is told to be down. What is not live has to be started anew
  ready  the pair is up
"""


def add(commands: Commands) -> None:
    """`status`."""
    command = add_command(commands, "status", "show watchers and workers", _EPILOG, json=True)
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "--watch",
        type=interval,
        nargs="?",
        const=2.0,
        metavar="SECONDS",
        help="show it again every 2 (or so many) seconds, until Ctrl-C",
    )
    how.add_argument("--probe", choices=tuple(PROBES), help="ask one thing; say nothing if it is so")
    command.set_defaults(run=_status, failure_code=failure_code)


def _status(args: argparse.Namespace, output: "Output") -> int:
    if args.probe is not None:
        args.failure_code = _refused
    target = find_target(args)
    if args.watch is not None:
        return _watch(target, args, output)
    from twinwatch.control.status import status

    found = status(target)
    if args.probe is not None:
        return _answer(args.probe, found, args, output)
    if args.json:
        output.json(found)
    else:
        from twinwatch.cli.status_view import blocks

        output.show(blocks(found))
    return exit_code(found)


def _watch(target: "Target", args: argparse.Namespace, output: "Output") -> int:
    """Ctrl-C is how it is meant to end."""
    try:
        if args.json:
            _watch_json(target, args.watch, output)
        output.refresh(lambda: _look(target), args.watch)
    except KeyboardInterrupt:
        return 0
    return 0


def _watch_json(target: "Target", interval_s: float, output: "Output") -> None:
    import time

    from twinwatch.control.status import status

    while True:
        output.json(status(target))
        output.flush()
        time.sleep(interval_s)


def _look(target: "Target") -> "list[Block]":
    """The status, or why there is none just now: watching goes on."""
    from twinwatch.cli.status_view import blocks
    from twinwatch.cli.table import Tone, line
    from twinwatch.control.errors import ControlError
    from twinwatch.control.status import status

    try:
        return blocks(status(target))
    except ControlError as error:
        return [line(str(error), Tone.BAD)]


def _answer(probe: str, status: Status, args: argparse.Namespace, output: "Output") -> int:
    """Who asks reads what is printed only where the answer is no."""
    is_so = PROBES[probe](status)
    if args.json:
        output.json(status)
    elif not is_so:
        output.line(f"{status['pair']}: not {probe}: {status['state']}")
    return 0 if is_so else REFUSED


def _refused(_code: int) -> int:
    """What cannot be told is no: other numbers mean other things to those who ask."""
    return REFUSED


def is_live(status: Status) -> bool:
    """Somebody guards, or brings back who does; nobody from outside has to. Not a word about the workers."""
    if living(status):
        return True
    anchor: Status = status["anchor"] or {"alive": False}
    return bool(anchor["alive"]) and (status["desired"] == "stop" or not _is_silent(anchor))


def _is_silent(anchor: Status) -> bool:
    """It lives, but has not beaten for so long that it will not revive anybody."""
    return (anchor.get("heartbeat_age_s") or 0) > _SILENT_S


def is_ready(status: Status) -> bool:
    return bool(status["state"] == "up")


PROBES: dict[str, Callable[[Status], bool]] = {"live": is_live, "ready": is_ready}


def exit_code(status: Status) -> int:
    """A status in one number."""
    if status["state"] != "down" and not living(status):
        return DEAD
    return _CODES.get(status["state"], UNKNOWN)


def failure_code(code: int) -> int:
    """The same for what could not be looked at."""
    return DOWN if code in _NOT_THERE else UNKNOWN


def living(status: Status) -> list[str]:
    """The watchers that live."""
    watchers: Mapping[str, Status | None] = status["watchers"]
    return [role for role, watcher in watchers.items() if watcher and watcher["alive"]]
