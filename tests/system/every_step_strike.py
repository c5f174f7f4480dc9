"""A strike at the N-th system call, and all N of an operation, one after the other.

`Strike` holds processes that live, or a command that has not begun, until the test lets them go: so the count
begins exactly where the operation begins. `all_steps` plays the operation once untouched, which says how many
calls it makes, and then with a strike at N = 1, 2, 3 …: at least as far as that, and until several in a row have
come too late, because the operation was over before.

Without TWINWATCH_TEST_LONG=1 only every k-th step is played. Where it begins is drawn from pytest-randomly's seed,
so that it is another one in each run: the seed in the header repeats it. TWINWATCH_TEST_STEP=N plays step N alone.
"""

import json
import os
import platform
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import every_step_tracer
import pytest
from live_pair import PATIENCE_S, until

from twinwatch.core.values import Identity

STEPS_MAX = 2000  # of one operation: more is an operation that does not end
NEVER = 1_000_000
TRIES = 20
BEYOND = 3  # steps in a row that come too late: the number of calls varies, with the ticks in between
SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
TRACER = every_step_tracer.__file__


def lacks() -> str:
    """Why nothing can be traced here; empty where it can."""
    scope = int(SCOPE.read_text()) if SCOPE.exists() else 0
    if scope > 2 or (scope and os.geteuid() != 0):
        return "kernel lacks permission to trace a process that is no child (ptrace_scope)"
    if not every_step_tracer.NAMES:
        return f"kernel lacks: no numbers of system calls are known here for {platform.machine()}"
    return ""


needs_ptrace = pytest.mark.skipif(bool(lacks()), reason=lacks() or "kernel lacks nothing")


class Strike:
    """SIGKILL before, or SIGSTOP after, the N-th call of one of `traced`, or of a command.

    `only_changes`: count only calls that change something outside of the process.
    """

    def __init__(
        self,
        name: str,
        nth: int,
        traced: Sequence[Identity] = (),
        *,
        only_changes: bool = False,
        command: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self._traced = {identity.pid: identity for identity in traced}
        target = command or ["-p", *map(str, self._traced)]
        which = "changes" if only_changes else "all"
        self._tracer = subprocess.Popen(
            [sys.executable, "-I", "-S", TRACER, name, str(nth), which, *target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            cwd=cwd,
        )
        self._poll = select.poll()
        self._poll.register(self._tracer.stdout, select.POLLIN)
        self._text = b""
        self._is_over = False
        self.struck: dict[str, object] = {}
        self.through: dict[str, object] = {}
        self.code: int | None = None  # how the command has ended

    # ------------------------------------------------------------ what has happened

    def _take(self, wait_s: float) -> None:
        if self._is_over or not self._poll.poll(wait_s * 1000):
            return
        data = os.read(self._tracer.stdout.fileno(), 65536)
        self._is_over = not data
        *lines, self._text = (self._text + data).split(b"\n")
        for message in map(json.loads, lines):
            self._note(message.pop("is"), message)

    def _note(self, what: str, message: dict[str, object]) -> None:
        if what == "struck":
            self.struck = message
        elif what == "through":
            self.through = message
        elif what == "ended":
            self.code = message["code"]

    @property
    def is_struck(self) -> bool:
        self._take(0)
        return bool(self.struck)

    @property
    def is_through(self) -> bool:
        """Ended, or executed its program, unstruck."""
        self._take(0)
        return bool(self.through)

    @property
    def has_ended(self) -> bool:
        self._take(0)
        return self.code is not None

    @property
    def who(self) -> Identity:
        """Who was struck."""
        return self._traced[self.struck["pid"]]

    @property
    def pid(self) -> int:
        return self.struck["pid"]

    @property
    def calls(self) -> int:
        return (self.struck or self.through or {"calls": 0})["calls"]

    def __str__(self) -> str:
        story = self.struck or self.through
        return f"call {story.get('calls')} ({' '.join(story.get('trail', []))})"

    # ------------------------------------------------------------ doing

    def __enter__(self) -> Self:
        self._take(PATIENCE_S)  # "held"
        return self

    def go(self) -> None:
        with suppress(BrokenPipeError):  # who was to be traced has died before
            self._tracer.stdin.write(b"go\n")
            self._tracer.stdin.flush()

    def wait_struck(self) -> None:
        """Wait for the N-th call: whoever ticks makes it, sooner or later."""
        until(lambda: self.is_struck, "it is struck")

    def let_go(self) -> None:
        """Trace no longer: what was not struck by now is not."""
        self._tracer.send_signal(signal.SIGTERM)
        until(self._is_told, "the tracer has let go")

    def _is_told(self) -> bool:
        self._take(0)
        return self._is_over

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):  # what it did not read any more
            self._tracer.stdin.close()
        self._tracer.send_signal(signal.SIGTERM if self._is_over else signal.SIGKILL)
        self._tracer.stdout.close()
        self._tracer.wait()


# ---------------------------------------------------------------- all of them


def is_long() -> bool:
    return os.environ.get("TWINWATCH_TEST_LONG") == "1"


def all_steps(play: Callable[[int], Strike], what: str, every: int = 1, least: int = 1) -> None:
    """`play(N)` plays the operation with a strike at N, and says how it went; NEVER: without one.

    Fails where the operation has less than `least` calls: then something else than it was struck. Says how
    many calls it makes, and how many steps were struck before it was over.
    """
    only = os.environ.get("TWINWATCH_TEST_STEP")
    if only:
        play(int(only))
        return
    size = next((size for size in (play(NEVER).calls for _ in range(TRIES)) if size >= least), 0)
    assert size, f"{what}: less than {least} calls, {TRIES} times"
    every, beyond = (1, BEYOND) if is_long() else (every, 1)
    played, struck, late = 0, 0, 0
    nth = random.randrange(every) + 1
    while nth <= size or late < beyond:
        assert nth < STEPS_MAX, f"{what}: no end of it"
        is_struck = bool(play(nth).struck)
        played += 1
        struck += is_struck
        late = 0 if is_struck else late + 1
        nth += every
    print(f"{what}: {size} calls untouched; {played} steps from 1 to {nth - every}, {struck} of them struck")
    assert struck, f"{what}: not one strike came before the end"
