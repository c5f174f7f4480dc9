"""SIGKILL or SIGSTOP at the N-th system call of a process that lives: strace injects it."""

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import pytest
from live_pair import until

from twinwatch.core.values import Identity

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="interpreter absent: strace")


class Injection:
    """strace on some processes: the signal comes at the entry of their N-th system call."""

    def __init__(self, identities: list[Identity], name: str, nth: int) -> None:
        self._pids = [identity.pid for identity in identities]
        attach = [word for pid in self._pids for word in ("-p", str(pid))]
        inject = f"inject=all:signal={name}:when={nth}"
        self._strace = subprocess.Popen(
            ["strace", "-qq", "-o", "/dev/null", "-e", "trace=all", "-e", inject, *attach],
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        until(self._is_set, "strace is attached")
        return self

    def _is_set(self) -> bool:
        """Attached; or at its end already: a tick of the watcher was the N-th call."""
        return self._strace.poll() is not None or all(map(is_traced_or_gone, self._pids))

    def wait_struck(self) -> None:
        """Wait for the N-th call: whoever ticks makes it, sooner or later. A stopped one is ended by its twin."""
        until(lambda: self._strace.poll() is not None, "the injection has struck")

    def __exit__(self, *_: object) -> None:
        self._strace.send_signal(signal.SIGTERM)
        self._strace.wait()


def is_traced_or_gone(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return "TracerPid:\t0\n" not in status or "State:\tZ" in status
    except (FileNotFoundError, ProcessLookupError):
        return True
