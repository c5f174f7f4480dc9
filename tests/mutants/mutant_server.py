"""Runs pytest again and again, each time in a fork of one interpreter that has loaded it already.

A line of JSON on standard input says what to run: `arguments`, `environ`, the file for its `output`, and after
how many seconds it is ended (`limit_s`). The answer is one line with its exit code. Nothing of the package or
its tests is loaded before the fork, and nothing that a mutant has started outlives its run: orphans come to
this process, which ends them.
"""

import ctypes
import importlib
import json
import os
import select
import signal
import sys
import traceback

import hypothesis.strategies  # noqa: F401 - slow to load
import pytest
from _pytest.config import default_plugins

KILLED = 128  # and the number of the signal, as shells say it
_PR_SET_CHILD_SUBREAPER = 36


def serve() -> None:
    for name in default_plugins:
        importlib.import_module(f"_pytest.{name}")
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        job = json.loads(line)
        limit_s = job.pop("limit_s")
        pid = os.fork()
        if pid == 0:
            run(**job)
        code = wait(pid, limit_s)
        while living := children():
            for left in living:
                end(left)
        print(code, flush=True)


def wait(pid: int, limit_s: int) -> int:
    """Its exit code; it is ended when its time is over."""
    pidfd = os.pidfd_open(pid)
    select.select([pidfd], [], [], limit_s)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else KILLED - code


def children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def end(pid: int) -> None:
    """Of a child, which keeps its PID until it is waited for."""
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pidfd)


def run(arguments: list[str], environ: dict[str, str], output: str) -> None:
    """In the fork. Does not return."""
    code = 1
    try:
        quiet, said = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for fd, number in ((quiet, 0), (said, 1), (said, 2)):
            os.dup2(fd, number)
        os.close(quiet)
        os.close(said)
        os.environ.update(environ)
        code = int(pytest.main(arguments))
    except BaseException:  # noqa: BLE001 - the outermost frame of a fork
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
