"""`events`: what happened to the pair."""

import argparse
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from twinwatch.cli.options import Commands, add_command, add_follow, duration, find_target, lines_wanted

if TYPE_CHECKING:
    from twinwatch.cli.event_line import Choice
    from twinwatch.cli.output import Output
    from twinwatch.linux.paths import Paths

_PAUSE_S = 0.2
_EPILOG = """\
examples:
  twinwatch events -f web           what happens to web from now on
  twinwatch events --since 1h a b   the last hour of both watchers
"""


def add(commands: Commands) -> None:
    """`events`."""
    command = add_command(commands, "events", "show what happened", _EPILOG, json=True)
    add_follow(command)
    command.add_argument(
        "--since", type=duration, metavar="DURATION", help="only of the last 10m, 1h30m, 2d …"
    )
    command.add_argument("names", metavar="WORKER", nargs="*", help="NAME, NAME:INSTANCE, or watcher a or b")
    command.set_defaults(run=_events)


def _events(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.event_line import Choice
    from twinwatch.cli.follow import Follower
    from twinwatch.linux.events import KEPT

    paths = find_target(args).paths
    require_records(paths)
    since = "" if args.since is None else _wall_text(time.time_ns() - int(args.since * 1e9))
    reader = Reader(Choice(tuple(args.names), since), is_json=args.json)
    with closing(Follower(paths.events, backups=KEPT)) as follower:
        first: Iterable[bytes] = reader.lines(follower.step())
        wanted = lines_wanted(args)
        write(output, first if wanted is None else deque(first, wanted))
        if args.follow:
            follow(lambda: write(output, reader.lines(follower.step())))
    reader.complain()
    return 0


class Reader:
    """Lines of the event log to lines that are shown."""

    def __init__(self, choice: "Choice", *, is_json: bool) -> None:
        self._choice = choice
        self._is_json = is_json
        self.unreadable = 0

    def lines(self, found: Iterable[bytes]) -> Iterator[bytes]:
        from twinwatch.cli.event_line import describe, in_order, parse

        events = []
        for data in found:
            event = parse(data)
            if event is None:
                self.unreadable += 1
            elif self._choice.takes(event):
                events.append((event, data))
        for event, data in in_order(events):
            yield data if self._is_json else describe(event).encode(errors="backslashreplace")

    def complain(self) -> None:
        from twinwatch.cli.output import remark

        if self.unreadable:
            remark(f"twinwatch: {self.unreadable} lines of the event log are no events: left out")


def write(output: "Output", lines: Iterable[bytes]) -> None:
    """Each line as it is."""
    for data in lines:
        output.raw(data + b"\n")
    output.flush()


def follow(step: Callable[[], None]) -> None:
    """Step until Ctrl-C: a log has no end that could be waited for, and inotify is not everywhere."""
    while True:
        time.sleep(_PAUSE_S)
        step()


def require_records(paths: "Paths") -> None:
    """Raises ControlError for a pair that this user never had."""
    import os

    from twinwatch.control.errors import NOT_INSTALLED, ControlError

    if not os.path.isdir(paths.state):
        raise ControlError(f"pair {paths.pair} is not known here: there is no {paths.state}", NOT_INSTALLED)


def _wall_text(at_ns: int) -> str:
    """A moment as events have it."""
    seconds, fraction = divmod(at_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction // 1_000_000:03d}Z"
