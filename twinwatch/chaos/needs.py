"""What this machine can do: each need answers why it is not met, or nothing."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from twinwatch.chaos import hierarchy, private


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the caller has allowed."""

    clock: bool = False


Need = Callable[[Allowed], str]  # why not; empty: it is met

_LAST_PID = "/proc/sys/kernel/ns_last_pid"


def root(_allowed: Allowed) -> str:
    return "" if os.geteuid() == 0 else "not root"


def tmpfs(allowed: Allowed) -> str:
    """A small file system of its own, mounted where nobody else sees it."""
    if root(allowed):
        return "not root: it mounts a small file system for the pair"
    why = private.may_mount()
    return f"no small file system can be mounted: {why}" if why else ""


def freezer(_allowed: Allowed) -> str:
    return "" if hierarchy.freezers() else "no cgroup freezer (v2 or v1) that may be written"


def memory(_allowed: Allowed) -> str:
    return "" if hierarchy.find("memory") else "no memory cgroup (v2 or v1) that may be written"


def forks(_allowed: Allowed) -> str:
    """A pair of root is bound by a pids cgroup alone: RLIMIT_NPROC does not hold for root."""
    if hierarchy.find("pids") or os.geteuid() != 0:
        return ""
    return "no pids cgroup (v2 or v1) that may be written, and RLIMIT_NPROC does not bind root"


def clock(allowed: Allowed) -> str:
    if not allowed.clock:
        return "it steps the clock of the whole machine: only with --allow-clock"
    return "not root" if os.geteuid() != 0 else ""


def last_pid(_allowed: Allowed) -> str:
    """Somebody who may choose the next PID. A write of what is there already shows it."""
    if not os.path.exists(_LAST_PID):
        return "kernel lacks ns_last_pid (CONFIG_CHECKPOINT_RESTORE)"
    return "" if os.geteuid() == 0 else "not root: it chooses the PIDs of newborn processes"
