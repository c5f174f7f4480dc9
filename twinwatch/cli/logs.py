"""`logs`: what workers wrote."""

import argparse
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from twinwatch.cli.events import follow, require_records
from twinwatch.cli.options import Commands, add_command, add_follow, find_target, lines_wanted

if TYPE_CHECKING:
    from twinwatch.cli.log_files import Source
    from twinwatch.cli.output import Output


def add(commands: Commands) -> None:
    """`logs`."""
    command = add_command(
        commands, "logs", "show what workers wrote", "example:\n  twinwatch logs -f web db:1"
    )
    add_follow(command)
    command.add_argument("names", metavar="WORKER", nargs="+", help="NAME, NAME:INSTANCE or `all`")
    command.set_defaults(run=_logs)


def _logs(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.log_files import log_files, open_sources
    from twinwatch.cli.published import newest

    paths = find_target(args).paths
    require_records(paths)
    files = log_files(newest(paths), args.names, paths.logs)
    with ExitStack() as stack:
        sources = open_sources(files, paths.state, lines_wanted(args), stack)
        _remark_absent(sources)
        _show(output, sources, is_last=not args.follow)
        if args.follow:
            follow(lambda: _show(output, sources, is_last=False))
    return 0


def _show(output: "Output", sources: "list[Source]", *, is_last: bool) -> None:
    from twinwatch.cli.output import remark

    for source in sources:
        _write(output, source.lines(is_last=is_last))
        if source.follower.lost:
            remark(f"twinwatch: {source.label}: {source.follower.lost} bytes are in no backup any more")
            source.follower.lost = 0


def _remark_absent(sources: "list[Source]") -> None:
    from twinwatch.cli.output import remark

    for source in sources:
        if not source.follower.is_open:
            remark(f"twinwatch: {source.label} has written nothing yet: there is no {source.path}")


def _write(output: "Output", lines: Iterable[bytes]) -> None:
    for line in lines:
        output.raw(line)
    output.flush()
