"""A gated child: forked ahead of need, it does nothing until it is recorded and let through.

What a fork inherits is the enemy. The child's first acts, with every signal blocked: reset the signal
handlers and the wake-up descriptor, close all descriptors but a fixed list, clear the mask. Then it
waits on two things: its gate (a pipe) and a pidfd of its parent, which the parent opened on itself
before the fork (R10: `getppid` may already name init; the write end may have leaked to a sibling).

The fixed list: 0, 1, 2, the gate's read end, the parent's pidfd, the report's write end, the notify socket.
"""

import _signal  # type: ignore[import-not-found]  # `signal` makes an enum of each of 64, thrice a fork
import errno
import os
import select
import signal
import struct
from dataclasses import dataclass
from enum import IntEnum

from twinwatch.core.values import Identity, Stage
from twinwatch.linux.identity import identify

_ORDER = struct.Struct("<BxxxIQQII")
ORDER_SIZE = _ORDER.size
_REPORT = struct.Struct("<BxxxI")
_EVERY_SIGNAL = signal.valid_signals()
IGNORED_SIGNALS = (signal.SIGUSR1, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
COMM_RESERVE = "twinwatch-rsv"
COMM_HOOK = "twinwatch-hook"  # let through its gate, and waiting for its `before_start` hook


class Let(IntEnum):
    """What a child is let through its gate as."""

    LEAVE = 0
    WORKER = 1
    ROLE = 2
    HOOK = 3


@dataclass(frozen=True, slots=True)
class Order:
    """`version`: of the slot as its child was recorded, under a header of `header_version`; 0: unknown."""

    let: Let
    slot: int = 0
    generation: int = 0
    config_generation: int = 0
    version: int = 0
    header_version: int = 0


@dataclass(slots=True)
class Child:
    """The parent's side of one gate."""

    pid: int
    pidfd: int
    identity: Identity
    gate: int
    report: int
    keeps_vigil: bool = False  # these two as told to the child: for its parent to remember
    is_awaited: bool = False

    def let_through(self, order: Order) -> bool:
        """Open the gate. False: the child is dead already (its pidfd says so too)."""
        message = _ORDER.pack(
            order.let,
            order.slot,
            order.generation,
            order.config_generation,
            order.version,
            order.header_version,
        )
        try:
            os.write(self.gate, message)
        except BrokenPipeError:
            return False
        finally:
            os.close(self.gate)
            self.gate = -1
        return True

    def read_report(self) -> tuple[Stage, int] | None:
        """Stage and errno of a failed start; None: it became its program, or died without a word.

        Raises:
            BlockingIOError: neither yet.
        """
        message = os.read(self.report, _REPORT.size)
        if len(message) < _REPORT.size:
            return None
        stage, number = _REPORT.unpack(message)
        return Stage(stage), number

    def close(self) -> None:
        for fd in (self.gate, self.report, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.gate = self.report = self.pidfd = -1


@dataclass(slots=True)
class Gate:
    """The child's side."""

    fd: int
    parent_pidfd: int
    report: int

    def take_order(self) -> Order | None:
        """The order that came through the gate; None at its end (a hint, never proof of death)."""
        message = os.read(self.fd, _ORDER.size)
        if len(message) < _ORDER.size:
            return None
        let, *rest = _ORDER.unpack(message)
        return Order(Let(let), *rest)

    def wait(self, timeout_ms: int) -> tuple[bool, bool]:
        """(the gate has something to read, the parent is dead)."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.register(self.parent_pidfd, select.POLLIN)  # R10
        ready = {fd for fd, _ in poll.poll(timeout_ms)}
        return self.fd in ready, self.parent_pidfd in ready

    def wait_parent(self, timeout_ms: int) -> bool:
        """Whether the parent is dead, waiting for it at most this long."""
        poll = select.poll()
        poll.register(self.parent_pidfd, select.POLLIN)
        return bool(poll.poll(timeout_ms))

    def fail(self, stage: Stage, number: int) -> None:
        """Report why the program could not be started. Its reader may be dead."""
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        try:
            os.write(self.report, _REPORT.pack(stage, number))
        except BrokenPipeError:
            return

    def close(self) -> None:
        for fd in (self.fd, self.parent_pidfd, self.report):
            os.close(fd)


def fork_gated(parent_pidfd: int, kept: tuple[int, ...] = ()) -> Child | Gate:
    """Fork. Returns a `Child` in the parent and a `Gate` in the child.

    `kept`: further descriptors that must outlive each of their holders (the notify socket).

    Raises:
        OSError: EAGAIN or ENOMEM from fork, EMFILE or ENFILE for want of descriptors; nothing is left.
    """
    pipes: list[int] = []
    mask = _signal.pthread_sigmask(signal.SIG_BLOCK, _EVERY_SIGNAL)
    try:
        pipes += os.pipe()
        pipes += os.pipe()
        pid = os.fork()
    except OSError as error:  # any errno: undone and passed on
        for fd in pipes:
            os.close(fd)
        _signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise OSError(error.errno, "cannot fork a gated child") from None
    gate_read, gate_write, report_read, report_write = pipes
    if pid == 0:
        gate = Gate(gate_read, parent_pidfd, report_write)
        ready = False
        try:
            _first_acts(gate, kept)
            ready = True
        finally:
            if not ready:  # whatever failed: it must not go on as a second one of its parent
                os._exit(1)
        return gate
    _signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(gate_read)
    os.close(report_write)
    os.set_blocking(report_read, False)
    pidfd = os.pidfd_open(pid)
    return Child(pid, pidfd, identify(pid, pidfd), gate_write, report_read)


def _first_acts(gate: Gate, kept: tuple[int, ...]) -> None:
    """Also a session of its own: a signal to one watcher's group, or to a worker's, reaches one process."""
    signal.set_wakeup_fd(-1)
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    close_all_but({0, 1, 2, gate.fd, gate.parent_pidfd, gate.report, *kept})  # R11
    os.setsid()
    set_comm(COMM_RESERVE)
    _signal.pthread_sigmask(signal.SIG_UNBLOCK, _EVERY_SIGNAL)


def reset_signals(*, unblock: bool = True) -> None:
    """Once, in a new interpreter: what a shell had ignored is not passed on to workers."""
    for number in _EVERY_SIGNAL - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN if number in IGNORED_SIGNALS else signal.SIG_DFL)
    if unblock:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_all_but(kept: set[int]) -> None:
    """Close every other descriptor, known or not."""
    low = 0
    for fd in sorted(kept):
        if low < fd:  # an empty range that starts at 0 would close everything
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 0x7FFF_FFFF)


def set_comm(name: str) -> None:
    """Name this process in `ps` and `/proc/PID/comm` (15 bytes)."""
    try:
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(name.encode()[:15])
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM):
            raise
