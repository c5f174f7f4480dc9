"""What all checks of one service share, and how they are timed and run."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from twinwatch.core.timing import SECOND_NS
from twinwatch.services.checks.execute import Runner
from twinwatch.services.checks.kept import Kept
from twinwatch.services.checks.pulse import Pulse
from twinwatch.services.checks.reach import Names
from twinwatch.services.checks.resources import Families
from twinwatch.services.room import Room

CONNECTIONS_MAX = 400  # probes at once that have a socket; others wait for their turn
COMMANDS_MAX = 100  # and that have a process


@dataclass(slots=True)
class Tools:
    room: Room
    pulse: Pulse
    kept: Kept
    runner: Runner
    names: Names = field(default_factory=Names)
    families: Families = field(default_factory=Families)
    connections: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS_MAX))
    commands: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(COMMANDS_MAX))


class Repeated:
    """Something that is done at a time, and again at a time that it says itself; never twice at once."""

    def __init__(self, do: Callable[[], Coroutine[object, object, int]], first_ns: int) -> None:
        self._do = do
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[int] | None = None
        self._is_closed = False
        self._timer = self._loop.call_at(first_ns / SECOND_NS, self._begin)

    def close(self) -> None:
        self._is_closed = True
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._do())
        self._task.add_done_callback(self._again)

    def _again(self, task: "asyncio.Task[int]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._loop.call_exception_handler(
                {"message": "a check crashed", "exception": error, "task": task}
            )
        elif not self._is_closed:
            self._timer = self._loop.call_at(task.result() / SECOND_NS, self._begin)
