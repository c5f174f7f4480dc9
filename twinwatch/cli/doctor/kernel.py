"""Kernel features, each tried on this process and on children of its own."""

import ctypes
import errno
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twinwatch.cli.doctor.finding import Finding, Verdict, has
from twinwatch.core.values import Identity
from twinwatch.linux import process
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import (
    IdentityUnknown,
    ProcessGone,
    identify,
    identify_self,
    open_process,
    stat_fields,
)

_OLDEST = (5, 4)  # waitid(P_PIDFD)
_CHILD_CODE = 42
_WAIT_MS = 2000
_CLOSE_RANGE = 436  # the same number on every architecture that Python has wheels for
_NO_FD = 0x7FFF_FFFF
_ABSENT = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ENODEV})
_REAP_POLLS = 300
_REAP_PAUSE_MS = 10
_REAP_SOON_MS = 100  # for so long a watcher waits for the exit status of an adopted worker


def findings() -> Iterator[Finding]:
    """All of this file, the version first."""
    yield release(os.uname().release)
    opens = _opens_pidfd()
    yield has(
        "pidfd_open", given=opens, since="5.3", cost="a process cannot be told from its PID", is_required=True
    )
    if opens:
        yield from (check() for check in _CHECKS)


def release(text: str) -> Finding:
    """The kernel's version, as `uname -r` says it."""
    found = re.match(r"(\d+)\.(\d+)", text)
    if found and (int(found[1]), int(found[2])) >= _OLDEST:
        return Finding("kernel", Verdict.OK, text, is_required=True)
    oldest = ".".join(map(str, _OLDEST))
    return Finding(
        "kernel",
        Verdict.MISSING,
        text,
        "no pair can live here",
        f"use Linux {oldest} or newer",
        is_required=True,
    )


def _opens_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise
    return True


def waits_for_pidfd() -> Finding:
    """A status seen through a pidfd, and still there for the next look."""
    with _ended_child() as (_, pidfd):
        given = _has_code(process.child_status(pidfd, reap=True))
    cost = "no exit status is had without reaping"
    return has("waitid on a pidfd", given=given, since="5.4", cost=cost, is_required=True)


def numbers_processes() -> Finding:
    """An inode for each process, never used again in a boot."""
    cost = "a reused PID is told apart by its start time alone"
    return has("pidfd inodes", given=identify_self().inode != 0, since="6.9", cost=cost)


def opens_handles() -> Finding:
    """A name for a process that turns stale with it."""
    cost = "a process is found again by its PID, then checked, not by its handle"
    return has("pidfd file handles", given=_opens_own_handle(), since="6.14", cost=cost)


def _opens_own_handle() -> bool:
    handle = identify_self().handle
    if not handle:
        return False
    try:
        os.close(open_process(Identity(pid=os.getpid(), handle=handle)))
    except (IdentityUnknown, ProcessGone):
        return False
    return True


def keeps_exits() -> Finding:
    """How a process ended, told to others than its parent."""
    with _ended_child() as (pid, pidfd):
        child = identify(pid, pidfd)
        process.reap(pidfd)
        given = _has_code(process.stranger_status(pidfd, child))
    cost = "how an adopted worker ended can be `unknown` (see `on_unknown`)"
    return has("exit status after reaping", given=given, since="6.15", cost=cost)


def signals_groups() -> Finding:
    """The group that a dead leader leaves, reached without its PID."""
    own = os.pidfd_open(os.getpid())
    try:
        given = process.send_group(own, 0) is not None
    finally:
        os.close(own)
    cost = "members of a dead worker's group are looked for one by one in /proc"
    return has("signal to a pidfd's group", given=given, since="6.9", cost=cost)


def closes_ranges() -> Finding:
    """All descriptors closed in one call."""
    libc = ctypes.CDLL(None, use_errno=True)
    given = libc.syscall(_CLOSE_RANGE, ctypes.c_uint(_NO_FD), ctypes.c_uint(_NO_FD), 0) == 0
    return has("close_range", given=given, since="5.9", cost="a birth closes descriptors one by one: slower")


def collects_orphans() -> Finding:
    """Does whoever inherits an orphan collect it? Tried with one that ends at our word."""
    with _orphan() as (pid, let_end):
        fields = stat_fields(pid)
        heir = int(fields[1]) if fields else 0
        let_end()
        return collected(heir, _vanishing_ms(pid))


def collected(heir: int, after_ms: int | None) -> Finding:
    """What it costs when the heir of orphans is late, or (None) never comes."""
    name, advice = (
        "orphans are collected",
        "in a container, let `twinwatch anchor` be PID 1, or an init: docker run --init",
    )
    if after_ms is None:
        cost = "dead watchers and workers fill the process table"
        return Finding(name, Verdict.DEGRADED, f"not by PID {heir}", cost, advice)
    if after_ms > _REAP_SOON_MS:
        cost = "how an adopted worker ended can be `unknown` (see `on_unknown`)"
        return Finding(name, Verdict.DEGRADED, f"late by PID {heir}: after {after_ms} ms", cost, advice)
    return Finding(name, Verdict.OK, f"by PID {heir}")


_CHECKS: tuple[Callable[[], Finding], ...] = (
    waits_for_pidfd,
    numbers_processes,
    opens_handles,
    keeps_exits,
    signals_groups,
    closes_ranges,
    collects_orphans,
)


@contextmanager
def _ended_child() -> Iterator[tuple[int, int]]:
    """(PID, pidfd) of a child that exited with _CHILD_CODE and was not waited for."""
    pid = os.fork()
    if pid == 0:
        os._exit(_CHILD_CODE)
    pidfd = os.pidfd_open(pid)
    try:
        process.wait_dead(pidfd, _WAIT_MS)
        yield pid, pidfd
    finally:
        _collect(pid)
        os.close(pidfd)


@contextmanager
def _orphan() -> Iterator[tuple[int, Callable[[], None]]]:
    """(PID, what ends it) of a process whose parent is gone."""
    word_read, word_write = os.pipe()
    name_read, name_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_orphan(word_read, word_write, name_write)
    os.close(word_read)
    os.close(name_write)
    os.waitpid(pid, 0)
    ends = [word_write]
    try:
        yield int(os.read(name_read, 32)), lambda: os.close(ends.pop())
    finally:
        for end in (name_read, *ends):
            os.close(end)


def _become_orphan(word_read: int, word_write: int, name_write: int) -> None:
    """The child leaves at once; its own child says who it is, and ends when the last word is closed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.fork() == 0:
        os.close(word_write)
        os.write(name_write, b"%d" % os.getpid())
        os.read(word_read, 1)
    os._exit(0)


def _vanishing_ms(pid: int) -> int | None:
    """Looked for a bounded while: nothing tells of the end of a stranger's zombie."""
    began_ns = monotonic_ns()
    for _ in range(_REAP_POLLS):
        if not stat_fields(pid):
            return (monotonic_ns() - began_ns) // 1_000_000
        process.pause(_REAP_PAUSE_MS)
    return None


def _has_code(status: int | None) -> bool:
    return status == _CHILD_CODE << 8


def _collect(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return  # the check collected it
