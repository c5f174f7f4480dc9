"""Which log files are meant, and their lines, each told apart by its worker's label."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

from twinwatch.cli.event_line import is_meant
from twinwatch.cli.follow import Follower
from twinwatch.cli.log_tail import LogTail
from twinwatch.control.errors import NOT_INSTALLED, ControlError
from twinwatch.core.expand import log_file
from twinwatch.core.spec import PairSpec
from twinwatch.core.values import label_of
from twinwatch.linux.rotation_record import path_of


@dataclass(frozen=True, slots=True)
class Source:
    """One log file. `prefix` stands before each of its lines."""

    label: str
    path: str
    prefix: bytes
    follower: Follower

    def lines(self, *, is_last: bool = False) -> Iterator[bytes]:
        """Whole lines with their newline; at the last look also one that has no end yet."""
        for data in self.follower.step():
            yield self.prefix + data + b"\n"
        if is_last and self.follower.rest():
            yield self.prefix + self.follower.rest() + b"\n"


def log_files(spec: PairSpec, names: list[str], folder: str) -> dict[str, str]:
    """Path -> label of the workers that are meant; a file that several share is there once.

    Raises:
        ControlError: there is no such worker.
    """
    paths = {
        label_of(worker.name, instance): log_file(worker, instance)
        for worker in spec.workers
        for instance in range(worker.instances)
    }
    found: dict[str, str] = {}
    for name in names:
        labels = [label for label in paths if is_meant(label, name)]
        if not labels and name != "all":
            raise _unknown(name, spec)
        for label in labels:
            found.setdefault(os.path.join(folder, paths[label]), label)
    return found


def open_sources(files: dict[str, str], state: str, last: int | None, stack: ExitStack) -> list[Source]:
    """`last`: how many of the lines that are there; None: all. The stack closes them.

    `state`: the pair's state directory, where it is written down how the files were rotated.
    """
    width = max(map(len, files.values()), default=0)
    return [
        Source(
            label,
            path,
            f"{label:{width}} | ".encode() if len(files) > 1 else b"",
            stack.enter_context(closing(_follower(path, state, last))),
        )
        for path, label in files.items()
    ]


def _follower(path: str, state: str, last: int | None) -> Follower:
    return Follower(path, last=last, tail=lambda fd: LogTail(fd, path, path_of(state, path)))


def _unknown(name: str, spec: PairSpec) -> ControlError:
    from twinwatch.config.fields import unknown

    return ControlError(unknown("worker", name, (worker.name for worker in spec.workers)), NOT_INSTALLED)
