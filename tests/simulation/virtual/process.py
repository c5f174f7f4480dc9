"""A process of the virtual kernel, and the exceptions by which its code is left."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from virtual.things import Description

HELD = 1 << 62


class Ended(BaseException):
    """Unwinds the code of a process that exists no more: none of its further calls has an effect."""


class Executed(BaseException):
    """Unwinds the code of a process that has become another program."""

    def __init__(self, body: Callable[[], None]) -> None:
        super().__init__()
        self.body = body


@dataclass(eq=False)
class Process:
    pid: int
    parent: "Process | None"
    start_ticks: int = 0
    inode: int = 0
    handle: bytes = b""
    fds: dict[int, tuple[Description, bool]] = field(default_factory=dict)  # (what, close on exec)
    comm: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    leader: Any = None  # of its group: a process, because its number may be another one's by now
    session: int = 0
    mask: set[int] = field(default_factory=set)
    handlers: dict[int, Any] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)
    wakeup_fd: int = -1
    # life
    status: int | None = None  # raw wait status
    is_exiting: bool = False
    is_zombie: bool = False
    is_collected: bool = False
    is_subreaper: bool = False
    is_stopped: bool = False
    is_frozen: bool = False
    kill_pending: bool = False
    held_until_ns: int = 0
    # code
    greenlet: Any = None
    body: Callable[[], None] | None = None
    executing: Executed | None = None
    call: tuple[Any, ...] | None = None  # the call that it is about to make
    waiting: tuple[Callable[[], object], int | None] | None = None  # (is ready, deadline)
    runs: int = 0
    # a fork that is under way: see `forking`
    fork_log: list[tuple[str, Any]] | None = None
    fork_again: Callable[[], None] | None = None
    replay: deque[tuple[str, Any]] | None = None
    # what the observer knows of it
    is_pair: bool = False
    is_stranger: bool = False
    program: tuple[str, int, int] | None = None  # (worker, instance, generation)
    through_step: int = 0  # when it read an order at its gate
    held_ns: int = 0  # when it was last held, stopped or frozen

    def __repr__(self) -> str:
        return f"{self.comm}/{self.pid}"

    @property
    def group(self) -> int:
        return (self.leader or self).pid

    @property
    def is_living(self) -> bool:
        """Neither dead nor about to be."""
        return not self.is_exiting

    @property
    def letter(self) -> str:
        """The state in /proc/PID/stat."""
        if self.is_zombie:
            return "Z"
        if self.is_frozen:
            return "D"
        if self.is_stopped:
            return "T"
        return "S" if self.waiting else "R"
