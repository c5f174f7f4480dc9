"""The project's modules over a virtual kernel instead of the real one.

In every loaded module of the project each reference to a module or function that meets the kernel is replaced by
its virtual counterpart, and put back at the end. What could not be replaced is refused: by a look at the names
beforehand, and by an audit hook while virtual processes run, so no call slips through to the real kernel.
"""

import _signal  # type: ignore[import-not-found]
import copy
import ctypes
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from twinwatch.control import down, up
from twinwatch.linux import identity, limits
from twinwatch.watch import frame, lastwords
from twinwatch.watch.nursery import Nursery
from twinwatch.watch.reserve import BehindGate
from virtual.calls import VirtualOs
from virtual.kernel import Kernel
from virtual.modules import (
    VirtualCtypes,
    VirtualFcntl,
    VirtualGc,
    VirtualLibc,
    VirtualResource,
    VirtualSelect,
    VirtualSignal,
    VirtualTime,
)
from virtual.process import Process
from virtual.sockets import VirtualSocket
from virtual.stream import VirtualOpen

ROOMS = ("twinwatch.linux.", "twinwatch.watch.", "twinwatch.config.snapshot", "twinwatch.control.")
# Modules that no simulated process runs: what of `control` and `linux` only people's commands use.
LEFT_OUT = (
    *("twinwatch.control.install", "twinwatch.control.register", "twinwatch.control.registry"),
    *("twinwatch.linux.rotation", "twinwatch.linux.rotation_record", "twinwatch.control.status"),
)
HARMLESS = frozenset({"errno", "termios", "json", "struct", "heapq", "stat", "re", "twinwatch", "binascii"})
_SEEN_BY_KERNEL = (
    "open",
    "os.",
    "socket.",
    "subprocess.",
    "fcntl.",
    "signal.",
    "shutil.",
    "mmap.",
    "syslog.",
)


class RealCall(Exception):
    """A virtual process was about to meet the real kernel."""


class _Watchman:
    """The audit hook cannot be taken away again; it looks only while virtual processes run."""

    kernel: Kernel | None = None
    installed = False

    @classmethod
    def watch(cls, kernel: Kernel | None) -> None:
        cls.kernel = kernel
        if not cls.installed:
            cls.installed = True
            sys.addaudithook(cls.heard)

    @classmethod
    def heard(cls, event: str, _arguments: tuple[Any, ...]) -> None:
        kernel = cls.kernel
        if kernel is not None and event.startswith(_SEEN_BY_KERNEL) and kernel.current.greenlet is not None:
            raise RealCall(f"{kernel.current}: {event} {_arguments}")


class Sandbox:
    """What stands for the real modules."""

    def __init__(self, kernel: Kernel, start: Callable[[Process], Callable[[], None]]) -> None:
        self.kernel = kernel
        self.os = VirtualOs(kernel, start)
        self.open = VirtualOpen(self.os)
        self.time = VirtualTime(kernel)
        libc = VirtualLibc(kernel)
        self.modules: dict[int, Any] = {
            id(os): self.os,
            id(fcntl): VirtualFcntl(kernel),
            id(select): VirtualSelect(kernel),
            id(signal): (virtual_signal := VirtualSignal(kernel)),
            id(_signal): virtual_signal,
            id(socket): VirtualSocket(kernel, self.os),
            id(time): self.time,
            id(gc): VirtualGc(),
            id(resource): VirtualResource(),
            id(ctypes): VirtualCtypes(libc),
            id(sys): SimpleNamespace(
                stderr=SimpleNamespace(flush=lambda: None),
                executable="/python",
                argv=[],
                exception=sys.exception,
            ),
            id(lastwords): SimpleNamespace(tell=self._tell, brief=lambda error: type(error).__name__),
            id(time.monotonic_ns): self.time.monotonic_ns,
            id(time.time_ns): self.time.time_ns,
        }
        self._libc = libc

    def _tell(self, error: BaseException) -> None:
        """An error that nobody expected ends a watcher: the reader of the outcome judges it."""
        where = list(traceback.walk_tb(error.__traceback__))
        lines = ", ".join(f"{step.f_code.co_name}:{line}" for step, line in where[-4:])
        self.kernel.crashes.append(f"{self.kernel.current}: {type(error).__name__}: {error} ({lines})")

    # ------------------------------------------------------------ a fork's two sides

    def fork_of_nursery(self, original: Callable[..., object]) -> Callable[..., object]:
        """The child runs the same method again, on a copy of what it was at the fork, and begins a life of its own."""

        def fork(nursery: Nursery, *, is_awaited: bool = False) -> object:
            stand_in = copy.copy(nursery)
            pair = nursery._pair
            notify = copy.copy(pair.notify)
            if notify is not None:
                notify._socket = copy.copy(notify._socket)
            stand_in._pair = replace(pair, seat=replace(pair.seat), notify=notify)
            stand_in._loop = copy.copy(nursery._loop)
            stand_in._ready = dict(nursery._ready)

            def live() -> BehindGate:
                try:
                    original(stand_in, is_awaited=is_awaited)
                except BehindGate as behind:
                    return behind.with_traceback(None)
                raise AssertionError("a forked child went on as its parent")

            return self._forking(lambda: frame.begin(live), lambda: original(nursery, is_awaited=is_awaited))

        return fork

    def fork_of_seed(self, original: Callable[..., None]) -> Callable[..., None]:
        def seed(paths: Any, state: Any) -> None:
            self._forking(lambda: original(paths, state), lambda: original(paths, state))

        return seed

    def _forking(self, again: Callable[[], Any], go_on: Callable[[], Any]) -> Any:
        process = self.kernel.current
        process.fork_log, process.fork_again = [], again
        try:
            return go_on()
        finally:
            process.fork_log = process.fork_again = None

    # ------------------------------------------------------------ in and out

    def replacement(self, module: ModuleType, name: str, value: object) -> object | None:
        """What stands for a name of a module; None: it stays. Raises RealCall for what nobody stands for."""
        if id(value) in self.modules:
            return self.modules[id(value)]
        owner = getattr(value, "__module__", None)
        is_real = isinstance(value, ModuleType) and value.__name__.partition(".")[0] not in HARMLESS
        if is_real or owner in ("posix", "time", "fcntl", "select", "_socket", "_signal"):
            if isinstance(value, type):
                return None
            raise RealCall(f"{module.__name__}.{name} is not replaced")
        return None

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        for module in project_modules():
            for name, value in list(vars(module).items()):
                if name.startswith("__"):
                    continue
                found = self.replacement(module, name, value)
                if found is not None:
                    patch.setattr(module, name, found)
            patch.setattr(module, "open", self.open, raising=False)
            if hasattr(module, "_libc"):
                patch.setattr(module, "_libc", self._libc)
        patch.setattr(identity, "_pidfs", None)
        patch.setattr(identity, "_handle_type", 0)
        patch.setattr(limits, "_former", None)
        patch.setattr(down, "exclusive", lambda *_: nullcontext())  # `filelock` is not simulated
        patch.setattr(down, "status_of", lambda _paths: {})
        patch.setattr(Nursery, "_fork", self.fork_of_nursery(Nursery._fork))
        patch.setattr(up, "_seed", self.fork_of_seed(up._seed))


def project_modules() -> list[ModuleType]:
    names = sorted(name for name in sys.modules if name.startswith(ROOMS) and not name.startswith(LEFT_OUT))
    return [sys.modules[name] for name in names]


@contextmanager
def sandboxed(kernel: Kernel, start: Callable[[Process], Callable[[], None]]) -> Iterator[Sandbox]:
    """The project over `kernel` until the end of the block; then everything is as it was, and nobody is left."""
    sandbox = Sandbox(kernel, start)
    with pytest.MonkeyPatch.context() as patch:
        sandbox.apply(patch)
        _Watchman.watch(kernel)
        try:
            yield sandbox
        finally:
            kernel.end()
            _Watchman.watch(None)
