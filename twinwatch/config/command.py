"""What is executed: arguments, and whether the program is there to be executed.

No shell is ever between. The program is searched as the worker will search it, now, so that a
typing error is a line of the file and not a failed birth; what is found does not replace argv[0].
"""

import os
import shlex

from twinwatch.config.fields import Fields, RefusedError, sequence, text
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Kind, Node, Scalar
from twinwatch.core.expand import environ, expand
from twinwatch.core.spec import WorkerSpec

_SHELL_WORDS = frozenset({"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", "&>"})
_EMPTY = "is empty: the first word must name a program"


def read_command(fields: Fields, key: str = "command") -> tuple[str, ...]:
    """A command, as a list or as one line in shell quoting; empty where it was refused."""
    node = fields.node.entries.get(key)
    if isinstance(node, Scalar) and node.kind is Kind.TEXT:
        return fields.get(key, _split, ())
    count = fields.require(key, _count, 0)
    words = fields.items(key, text)
    return words if len(words) == count else ()


def check_program(node: Node, command: tuple[str, ...], search_path: str, worker: WorkerSpec) -> None:
    """Refuse a command of a worker whose program is not there, for any of its instances."""
    if not command or not worker.directory:
        return  # refused already
    for instance in range(worker.instances):
        path = environ(worker, [("PATH", search_path)], instance)["PATH"]
        check_executable(node, expand(command[0], instance), worker.directory, path)


def check_executable(node: Node, program: str, directory: str, search_path: str) -> None:
    """Refuse a program that is not there, as it would be searched from a directory."""
    complaint = _complaint(program, directory, search_path)
    if complaint:
        raise RefusedError(node, complaint)


def _split(node: Node) -> tuple[str, ...]:
    try:
        words = shlex.split(text(node))
    except ValueError as error:
        raise RefusedError(node, f"cannot be split into words: {error}") from None
    operator = next((word for word in words if word in _SHELL_WORDS), None)
    if operator:
        message = f"no shell is between that would understand {quoted(operator)}: say [sh, -c, '...']"
        raise RefusedError(node, message)
    if not words or not words[0]:
        raise RefusedError(node, _EMPTY)
    return tuple(words)


def _count(node: Node) -> int:
    items = sequence(node)
    if not items or (isinstance(items[0], Scalar) and not items[0].text):
        raise RefusedError(node, _EMPTY)
    return len(items)


def _complaint(program: str, directory: str, search_path: str) -> str:
    """Why a program cannot be executed; empty if it can."""
    if "/" in program:
        return _file_complaint(os.path.join(directory, program))
    places = (os.path.join(directory, folder, program) for folder in search_path.split(os.pathsep))
    if any(not _file_complaint(place) for place in places):
        return ""
    return f"program {quoted(program)} is not on the PATH ({quoted(search_path)})"


def _file_complaint(path: str) -> str:
    if not os.path.exists(path):
        return f"program {quoted(path)} does not exist"
    if not os.path.isfile(path):
        return f"program {quoted(path)} is not a file"
    if not os.access(path, os.X_OK):
        return f"program {quoted(path)} is not executable: chmod +x it"
    return ""
