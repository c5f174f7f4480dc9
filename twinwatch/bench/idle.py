"""What the guards of a pair cost while nothing happens: counted by the kernel, looked at twice."""

import os
import time
from dataclasses import dataclass

from twinwatch.chaos import census
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.paths import Paths

SETTLE_S = 1.0  # after the start: what a newborn pair still has to do


@dataclass(frozen=True, slots=True)
class Spent:
    """Since the process began. `wakeups`: voluntary context switches, each the end of a wait."""

    cpu_ns: int
    wakeups: int


def measure(paths: Paths, seconds: float) -> dict[str, object]:
    """Of all guards together. CPU nanoseconds and wake-ups per second; PSS: shared pages are divided.

    A figure that this kernel does not tell is None.
    """
    time.sleep(SETTLE_S)
    began_ns, before = monotonic_ns(), _all(paths)
    time.sleep(seconds)
    lasted_s, after = (monotonic_ns() - began_ns) / 1e9, _all(paths)
    none, told = Spent(0, 0), os.path.exists("/proc/self/schedstat")
    grown = [(now, before.get(pid, none)) for pid, now in after.items()]
    return {
        "duration_ns": round(lasted_s * 1e9),
        "processes": len(after),
        "cpu_ns_per_s": round(sum(now.cpu_ns - old.cpu_ns for now, old in grown) / lasted_s)
        if told
        else None,
        "wakeups_per_s": round(sum(now.wakeups - old.wakeups for now, old in grown) / lasted_s, 1),
        "pss_bytes": sum(map(_pss, after)) or None,
    }


def _all(paths: Paths) -> dict[int, Spent]:
    return {guard.pid: _spent(guard.pid) for guard in census.guards(paths)}


def _spent(pid: int) -> Spent:
    """A guard has one thread, so what stands for the process is all of it."""
    cpu = census.proc(pid, "schedstat").split()
    return Spent(int(cpu[0]) if cpu else 0, _field(pid, "status", b"voluntary_ctxt_switches:"))


def _pss(pid: int) -> int:
    return _field(pid, "smaps_rollup", b"Pss:") * 1024


def _field(pid: int, name: str, key: bytes) -> int:
    """A number of `/proc/PID/NAME`; 0 where it is not told."""
    lines = census.proc(pid, name).splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(key)), 0)
