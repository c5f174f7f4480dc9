"""Two kills with a gap between them, as exact as a process can make it."""

import gc
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from twinwatch.linux import process

SPIN_NS = 400_000  # the end of a gap is waited for awake; before that the processor is the pair's


def wait_until(at_ns: int) -> None:
    """Sleep, then spin: a sleep wakes up some 50 µs late, a spin takes a processor from the pair."""
    while (left_ns := at_ns - time.monotonic_ns()) > 0:
        if left_ns > SPIN_NS:
            time.sleep((left_ns - SPIN_NS) / 1e9)


def kill(pidfds: Iterable[int]) -> None:
    for pidfd in pidfds:
        process.send(pidfd, signal.SIGKILL)


def is_realtime() -> bool:
    """Whether this process may put itself before all ordinary ones."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection in the middle of a blow; and, where that is allowed, nobody who interrupts it.

    Else the first kill wakes up processes that delay the second one, by milliseconds, to their advantage.
    """
    gc.disable()
    realtime = is_realtime()
    if realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        if realtime:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        gc.enable()


def strike(first: int, gap_ns: int, second: Callable[[], Iterable[int]]) -> int:
    """Kill the process behind `first`, and the gap later those that `second` names; the gap as it was, in ns.

    Measured from just before the first kill to just before the second one: what `second` has to look up is
    part of it.
    """
    with undisturbed():
        first_ns = time.monotonic_ns()
        process.send(first, signal.SIGKILL)
        wait_until(first_ns + gap_ns)
        pidfds = second()
        second_ns = time.monotonic_ns()
        kill(pidfds)
    return second_ns - first_ns


def close(pidfds: Iterable[int]) -> None:
    for pidfd in pidfds:
        os.close(pidfd)
