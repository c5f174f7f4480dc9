"""What a worker's new process gets but for its command: directory, variables, mask, account, limits."""

import os
import re

from twinwatch.config.account import read_account
from twinwatch.config.fields import Fields, RefusedError, expected, full_text, text
from twinwatch.config.limits import read_rlimits
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Kind, Node, Scalar
from twinwatch.core.spec import WorkerSpec

_UMASK = re.compile(r"0[0-7]{0,3}", re.ASCII)


def read_process(folder: str, fields: Fields) -> WorkerSpec:
    """A worker with these keys only; its `directory` is empty where it was refused."""
    given = "directory" in fields.node.entries
    return WorkerSpec(
        name="",
        command=(),
        directory=fields.get("directory", lambda node: _directory(node, folder), "" if given else folder),
        environment=fields.section("environment", _read_environment, ()),
        umask=fields.get("umask", _umask, WorkerSpec("", ()).umask),
        account=read_account(fields),
        rlimits=fields.section("rlimits", read_rlimits, ()),
    )


def _directory(node: Node, folder: str) -> str:
    given = full_text(node)
    if given.startswith("~"):
        raise RefusedError(node, "`~` is not expanded: write the absolute path")
    path = os.path.join(folder, given)
    if not os.path.isdir(path):
        raise RefusedError(node, f"directory {quoted(path)} does not exist")
    return path


def _read_environment(fields: Fields) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(fields.each(_variable)))


def _variable(name: str, node: Node) -> str:
    if not name or "=" in name:
        raise RefusedError(node, f"{quoted(name)} cannot name a variable", node.label)
    if isinstance(node, Scalar) and node.kind in {Kind.INTEGER, Kind.NUMBER}:
        return node.text
    return text(node)


def _umask(node: Node) -> int:
    if (
        not isinstance(node, Scalar)
        or node.kind not in {Kind.TEXT, Kind.INTEGER}
        or not _UMASK.fullmatch(node.text)
    ):
        raise expected("an octal umask with a leading 0, such as 022", node)
    return int(node.text, 8)
