"""The programs that virtual workers execute: each plays one kind of worker.

A command is (kind, argument, ...), the arguments integers: milliseconds or exit codes. `boot.py` is what `up`
executes: a watcher.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

from twinwatch.core.timing import MILLISECOND_NS
from twinwatch.core.values import Role
from twinwatch.linux.birth import Seat
from twinwatch.linux.paths import Paths
from twinwatch.watch import frame
from virtual.kernel import Kernel
from virtual.process import Ended, Process
from virtual.sockets import say


class Programs:
    """`start` gives the code of what a process has just executed."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._kinds: dict[str, Callable[..., None]] = {
            "serve": self._serve,
            "exit": self._exit,
            "stubborn": self._stubborn,
            "speak": self._speak,
            "family": self._family,
            "escape": self._escape,
        }

    def start(self, process: Process) -> Callable[[], None]:
        argv = process.argv
        if len(argv) > 3 and argv[3].endswith("/boot.py"):
            return lambda: _watch(*argv[4:])
        kind, *arguments = argv
        generation = int(process.environ["TWINWATCH_GENERATION"])
        process.program = (
            process.environ["TWINWATCH_WORKER"],
            int(process.environ["TWINWATCH_INSTANCE"]),
            generation,
        )
        return lambda: self._kinds[kind](*map(int, arguments))

    def rest(self, ms: int | None = None) -> None:
        self._kernel.point("rest")
        until = None if ms is None else self._kernel.now_ns + ms * MILLISECOND_NS
        self._kernel.wait(lambda: False, until)

    def leave(self, code: int) -> None:
        self._kernel.leave(self._kernel.current, code << 8)
        raise Ended

    def _serve(self) -> None:
        self.rest()

    def _exit(self, code: int, after_ms: int = 0) -> None:
        self.rest(after_ms)
        self.leave(code)

    def _stubborn(self) -> None:
        """Only KILL ends it."""
        self._kernel.current.handlers[signal.SIGTERM] = signal.SIG_IGN
        self.rest()

    def _speak(self, after_ms: int) -> None:
        """Gets ready, says so once, and serves."""
        self.rest(after_ms)
        path = self._kernel.current.environ["NOTIFY_SOCKET"]
        while not say(self._kernel, path, b"READY=1"):
            self.rest(20)
        self.rest()

    def _child(self, body: Callable[[], None]) -> None:
        self._kernel.point("fork")
        self._kernel.fork(self._kernel.current, body)

    def _family(self) -> None:
        """A member of its group outlives it, unless somebody ends it."""
        self._child(self.rest)
        self.rest()

    def _escape(self, code: int, after_ms: int) -> None:
        """A child leaves its session and keeps the token; then the leader ends."""

        def leave_session() -> None:
            own: Any = self._kernel.current
            own.session, own.leader = own.pid, own
            self.rest()

        self._child(leave_session)
        self.rest(after_ms)
        self.leave(code)


def _watch(runtime_base: str, state_base: str, pair: str, role: str, generation: str) -> None:
    frame.main(Paths(pair, runtime_base, state_base), Seat(Role[role.upper()], int(generation)))


def name_of(process: Process) -> str:
    return os.path.basename(process.argv[0]) if process.argv else process.comm
