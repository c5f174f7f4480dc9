"""The outermost frame: whatever happens in a command ends here as one line and an exit code."""

import argparse
import io
import os
import sys
import traceback

from twinwatch.cli import parser

DEBUG_VARIABLE = "TWINWATCH_DEBUG"
INTERRUPTED = 128 + 2
PIPE_BROKEN = 128 + 13


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code. Usage errors and `--help` leave by SystemExit, as argparse does."""
    _tame_streams()
    args = argparse.Namespace(failure_code=int)  # until the command line is read
    try:
        try:
            return _run(argv, args)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return PIPE_BROKEN
    except Exception as error:
        return _tell(error, args)


def _run(argv: list[str] | None, args: argparse.Namespace) -> int:
    parser.parse(argv, args)
    from twinwatch.cli.output import for_terminal

    code: int = args.run(args, for_terminal(args.color, sys.stdout, os.environ))
    return code


def _tell(error: Exception, args: argparse.Namespace) -> int:
    """The user's error in one line; ours is raised again."""
    from twinwatch.cli.failure import explain

    failure = explain(error)
    if failure is None:
        raise error
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(error)
    for line in failure.lines:
        print(line, file=sys.stderr)
    code: int = args.failure_code(failure.code)
    return code


def _tame_streams() -> None:
    """Printing fails for want of a reader only: not for a closed stream or an odd locale."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for life
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_stdout() -> None:
    """What is still buffered is nobody's: the interpreter must not fail on it at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
