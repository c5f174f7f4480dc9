"""What the machine takes by itself, without any pair: the floor that a user judges the other figures by."""

import os
import shutil
import time
from collections.abc import Callable, Iterator

from twinwatch.bench.figures import share, spread
from twinwatch.control.errors import ControlError
from twinwatch.core import record
from twinwatch.core.record import Slot
from twinwatch.linux.clock import monotonic_ns

PROGRAM = "true"
SLEEP_NS = 10_000_000
REST_S = 0.5  # long enough for others to use the caches
PIECES = 8  # of the fixed work: long enough to be timed, short enough to show what it began with


def measure(rounds: int) -> dict[str, object]:
    """Times in nanoseconds, `warm` straight after the same, `cold` after a rest of REST_S.

    Raises:
        ControlError: there is no trivial program to start.
    """
    program = _trivial()
    rests = share(3 * rounds, 10)
    return {
        "spawn_warm_ns": spread([_spawn(program) for _ in range(3 * rounds)]),
        "spawn_cold_ns": spread(_rested(lambda: _spawn(program), rests)),
        "sleep_ns": SLEEP_NS,
        "sleep_late_ns": spread(_sleeps(3 * rounds)),
        "rest_ns": round(REST_S * 1e9),
        "work_warm_ns": spread([_work() for _ in range(3 * rounds)]),
        "work_cold_ns": spread(_rested(_work, rests)),
    }


def _rested(once: Callable[[], int], times: int) -> Iterator[int]:
    """Each time after a rest."""
    for _ in range(times):
        time.sleep(REST_S)
        yield once()


def _trivial() -> str:
    """Path of a program that does nothing."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise ControlError(f"no program called {PROGRAM} is found: put its directory into PATH")
    return program


def _spawn(program: str) -> int:
    """How long fork, exec and wait take together."""
    began_ns = monotonic_ns()
    os.waitpid(os.posix_spawn(program, [PROGRAM], os.environ), 0)
    return monotonic_ns() - began_ns


def _sleeps(times: int) -> Iterator[int]:
    """How late a sleep ends."""
    for _ in range(times):
        began_ns = monotonic_ns()
        time.sleep(SLEEP_NS / 1e9)
        yield monotonic_ns() - began_ns - SLEEP_NS


def _work() -> int:
    """What a watcher does all the time: a record packed, and read again."""
    began_ns = monotonic_ns()
    for number in range(PIECES):
        body = record.pack_slot(Slot(name="bench", generation=number))
        copy = record.pack_selector(1) + bytes(record.COPY_AT[1] - record.SELECTOR_SIZE)
        whole = (copy + record.pack_copy(1, body)).ljust(record.RECORD_SIZE, b"\0")
        record.unpack_slot(record.unpack_record(whole)[1])
    return monotonic_ns() - began_ns
