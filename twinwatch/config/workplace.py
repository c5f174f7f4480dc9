"""What the keys of a worker are read against, and what can be judged only when all of it has been read.

A probe's program is searched with the worker's own PATH, a port may hold the number of the instance: so a
reader judges what it can, and leaves the rest to `later`.

Invariant: `later` is asked once, with the complete worker; each entry refuses with the node it is about.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from twinwatch.config.command import check_program, read_command
from twinwatch.config.fields import Fields, RefusedError, full_text
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Node
from twinwatch.core.expand import INSTANCE, expand
from twinwatch.core.spec import WorkerSpec

Judgement = Callable[[WorkerSpec], None]


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a worker is to run."""

    folder: str  # the configuration file's
    directory: str  # the worker's; empty: it was refused
    search_path: str  # PATH, where a worker does not set its own
    later: list[Judgement]

    def command(self, fields: Fields, key: str = "command") -> tuple[str, ...]:
        """A command that is run as the worker is, like its own one."""
        words = read_command(fields, key)
        self.later.append(partial(check_program, fields.at(key), words, self.search_path))
        return words

    def each_instance(self, node: Node, text: str, check: Callable[[Node, str], None]) -> None:
        """Check a text with the number of every instance in it."""
        check(node, expand(text, 0))

        def rest(worker: WorkerSpec) -> None:
            for instance in range(1, worker.instances):
                check(node, expand(text, instance))

        if INSTANCE in text:
            self.later.append(rest)


def path_from(base: str) -> Callable[[Node], str]:
    """A file's path, absolute or from `base`; it need not exist."""

    def read(node: Node) -> str:
        given = full_text(node)
        if given.startswith("~"):
            raise RefusedError(node, "`~` is not expanded: write the absolute path")
        if given.endswith("/"):
            raise RefusedError(node, f"{quoted(given)} is a directory: name a file in it")
        return os.path.join(base, given)

    return read
