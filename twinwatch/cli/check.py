"""`check`: whether a configuration is right."""

import argparse
import os
from typing import TYPE_CHECKING

from twinwatch.cli.options import Commands, add_command, find_target

if TYPE_CHECKING:
    from twinwatch.cli.output import Output

_WRONG = 2
_ONE = {"workers": "worker", "processes": "process"}


def add(commands: Commands) -> None:
    """`check`."""
    command = add_command(commands, "check", "check a configuration; nothing is started", json=True)
    command.add_argument("file", metavar="CONFIG", nargs="?", help="the file (default: as the pair is found)")
    command.set_defaults(run=_check)


def _check(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.config.problem import ConfigError

    if not args.json:
        output.line(_summary(args))
        return 0
    try:
        document = _document(args)
    except ConfigError as error:
        from dataclasses import asdict

        output.json({"schema": 1, "ok": False, "problems": [asdict(problem) for problem in error.errors]})
        return _WRONG
    output.json(document)
    return 0


def _summary(args: argparse.Namespace) -> str:
    document = _document(args)
    counts = ", ".join(_count(document[what], what) for what in ("workers", "processes"))
    return f"{document['file']}: ok: pair {document['pair']}, {counts}"


def _count(number: object, what: str) -> str:
    return f"{number} {what}" if number != 1 else f"1 {_ONE[what]}"


def _document(args: argparse.Namespace) -> dict[str, object]:
    from twinwatch.config.load import load

    path = configuration(args)
    spec = load(path, os.environ)
    return {
        "schema": 1,
        "ok": True,
        "file": path,
        "pair": spec.name,
        "workers": len(spec.workers),
        "processes": sum(worker.instances for worker in spec.workers),
        "problems": [],
    }


def configuration(args: argparse.Namespace) -> str:
    """The file that is named, or that the pair is found by."""
    from twinwatch.control.errors import NOT_CONFIGURED, ControlError

    path: str | None = args.file or find_target(args).config
    if path is None:
        raise ControlError(
            "which configuration? `twinwatch -p` names a pair only: add CONFIG", NOT_CONFIGURED
        )
    return path
