"""`logs`: what workers wrote."""

import argparse
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinwatch.cli.events import follow, require_records
from twinwatch.cli.options import Commands, add_command, add_follow, find_target, lines_wanted

if TYPE_CHECKING:
    from twinwatch.cli.follow import Follower
    from twinwatch.cli.output import Output
    from twinwatch.core.spec import PairSpec


def add(commands: Commands) -> None:
    command = add_command(commands, "logs", "show what workers wrote", "example:\n  twinwatch logs -f web db:1")
    add_follow(command)
    command.add_argument("names", metavar="WORKER", nargs="+", help="NAME, NAME:INSTANCE or `all`")
    command.set_defaults(run=_logs)


def _logs(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.follow import Follower
    from twinwatch.cli.published import newest

    paths = find_target(args).paths
    require_records(paths)
    files = log_files(newest(paths), args.names, paths.logs)
    with ExitStack() as stack:
        sources = [
            Source(prefix, stack.enter_context(closing(Follower(path, last=lines_wanted(args)))))
            for prefix, path in _with_prefixes(files)
        ]
        _remark_absent(files, sources)
        for source in sources:
            _write(output, source.lines(is_last=not args.follow))
        if args.follow:
            follow(lambda: _write(output, (line for source in sources for line in source.lines())))
    return 0


@dataclass(frozen=True, slots=True)
class Source:
    """One log file, and what stands before each of its lines."""

    prefix: bytes
    follower: "Follower"

    def lines(self, *, is_last: bool = False) -> Iterator[bytes]:
        """Whole lines with their newline; of the last look also one that has no end."""
        for data in self.follower.step():
            yield self.prefix + data + b"\n"
        if is_last and self.follower.rest():
            yield self.prefix + self.follower.rest() + b"\n"


def log_files(spec: "PairSpec", names: list[str], folder: str) -> dict[str, str]:
    """Path -> label of the workers' log files; what shares a file is shown once.

    Raises:
        ControlError: there is no such worker.
    """
    import os

    from twinwatch.cli.event_line import is_meant
    from twinwatch.core.expand import log_file

    labels = {
        worker.name if instance == 0 else f"{worker.name}:{instance}": os.path.join(folder, log_file(worker, instance))
        for worker in spec.workers
        for instance in range(worker.instances)
    }
    found: dict[str, str] = {}
    for name in names:
        meant = [label for label in labels if is_meant(label, name)]
        if not meant and name != "all":
            raise _unknown_worker(name, spec)
        for label in meant:
            found.setdefault(labels[label], label)
    return found


def _unknown_worker(name: str, spec: "PairSpec") -> Exception:
    from twinwatch.config.fields import unknown
    from twinwatch.control.errors import NOT_INSTALLED, ControlError

    return ControlError(unknown("worker", name, (worker.name for worker in spec.workers)), NOT_INSTALLED)


def _with_prefixes(files: dict[str, str]) -> list[tuple[bytes, str]]:
    if len(files) < 2:
        return [(b"", path) for path in files]
    width = max(map(len, files.values()))
    return [(f"{label:{width}} | ".encode(), path) for path, label in files.items()]


def _remark_absent(files: dict[str, str], sources: list[Source]) -> None:
    from twinwatch.cli.output import remark

    for (path, label), source in zip(files.items(), sources, strict=True):
        if not source.follower.is_open:
            remark(f"twinwatch: {label} has written nothing yet to {path}")


def _write(output: "Output", lines: Iterable[bytes]) -> None:
    for line in lines:
        output.raw(line)
    output.flush()
