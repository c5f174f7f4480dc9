"""`log`: where a worker's output goes, when the file is rotated, and what may stand before it.

A file of the worker's own, or the time before each line of it, or a program of the user's that keeps what it
reads as it likes.
"""

from dataclasses import dataclass

from twinwatch.config.fields import (
    DURATION_MAX_NS,
    Fields,
    RefusedError,
    duration,
    flag,
    full_text,
    integer,
    size_from,
)
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Node
from twinwatch.config.workplace import Workplace
from twinwatch.core.spec import Rotate
from twinwatch.core.timing import SECOND_NS

ROTATE_SIZE_MIN = 4096  # a file is cut in whole blocks
KEEP_MAX = 1000


@dataclass(frozen=True, slots=True)
class Log:
    """What `log` says."""

    file: str = ""
    rotate: Rotate | None = None
    timestamps: bool = False
    command: tuple[str, ...] = ()


def read_log(place: Workplace, fields: Fields) -> Log:
    """The keys of `log`; none of them is needed."""
    given = fields.node.entries.keys()
    log = Log(
        file=fields.get("file", _file, ""),
        rotate=fields.section("rotate", _read_rotate, None),
        timestamps=fields.get("timestamps", flag, default=False),
        command=place.command(fields) if "command" in given else fields.get("command", _nothing, ()),
    )
    if "command" in given and log.timestamps:
        raise RefusedError(
            fields.at("timestamps"), "`command` gets each line as it is: leave out one of both"
        )
    if "command" in given and given & {"file", "rotate"}:
        key = "file" if "file" in given else "rotate"
        raise RefusedError(fields.at(key), "`command` keeps what it reads: twinwatch has no file of it")
    return log


def _nothing(_: Node) -> tuple[str, ...]:
    return ()


def _file(node: Node) -> str:
    path = full_text(node)
    if path.endswith("/"):
        raise RefusedError(node, f"{quoted(path)} is a directory: name a file in it")
    if not path.startswith("/") and ".." in path.split("/"):
        raise RefusedError(node, f"{quoted(path)} may leave the log directory: give an absolute path")
    return path


def _read_rotate(fields: Fields) -> Rotate:
    usual = Rotate()
    rotate = Rotate(
        size=fields.get("size", size_from(ROTATE_SIZE_MIN), usual.size),
        age_ns=fields.get("age", duration(SECOND_NS, DURATION_MAX_NS), usual.age_ns),
        keep=fields.get("keep", integer(1, KEEP_MAX), usual.keep),
        compress=fields.get("compress", flag, usual.compress),
    )
    if not fields.node.entries.keys() & {"size", "age"}:
        raise RefusedError(fields.node, "needs `size` or `age`: when is it due?", fields.node.label)
    return rotate
