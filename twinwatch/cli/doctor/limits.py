"""What bounds a pair: its account, limits, cgroups, and what of /proc it may see."""

import os
import platform
import resource
import sys
from collections.abc import Iterator

from twinwatch.cli.doctor.finding import Finding, Verdict

_PROCESSES_FEW = 256
_DESCRIPTORS_FEW = 256
_PIDS_FEW = 32768
_OLDEST_PYTHON = (3, 11)


def findings(mounts: str) -> Iterator[Finding]:
    """`mounts`: the text of `/proc/self/mounts`."""
    yield python(sys.version_info[:2], f"{platform.python_implementation()} {platform.python_version()}")
    yield account(os.geteuid())
    yield descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield processes(resource.getrlimit(resource.RLIMIT_NPROC)[0], os.geteuid())
    yield pids(int(_read("/proc/sys/kernel/pid_max") or 0))
    yield sight(mounts, os.geteuid())
    yield cgroup(_own_cgroup(mounts, _read("/proc/self/cgroup")))


def python(version: tuple[int, ...], text: str) -> Finding:
    """The interpreter that watchers run in."""
    if version >= _OLDEST_PYTHON:
        return Finding("python", Verdict.OK, text, is_required=True)
    return Finding(
        "python", Verdict.MISSING, text, "nothing runs", "use Python 3.11 or newer", is_required=True
    )


def account(uid: int) -> Finding:
    """Root, or what is lost without it."""
    if uid == 0:
        return Finding("account", Verdict.OK, "root")
    cost = "workers run as you: `user` is refused, hard limits cannot be raised"
    return Finding(
        "account", Verdict.DEGRADED, f"UID {uid}, not root", cost, "run it as root where you need these"
    )


def descriptors(soft: int) -> Finding:
    """A watcher holds a pidfd for each worker, and workers inherit the limit."""
    return _limit("open files", soft, _DESCRIPTORS_FEW, "a watcher needs one for each worker", "ulimit -n")


def processes(soft: int, uid: int) -> Finding:
    """How many processes this account may have."""
    if uid == 0:
        return Finding("processes", Verdict.OK, "unlimited for root")
    return _limit("processes", soft, _PROCESSES_FEW, "births fail when it is reached", "ulimit -u")


def _limit(name: str, soft: int, few: int, cost: str, how: str) -> Finding:
    if soft == resource.RLIM_INFINITY:
        return Finding(name, Verdict.OK, "unlimited")
    if soft >= few:
        return Finding(name, Verdict.OK, f"at most {soft}")
    return Finding(name, Verdict.DEGRADED, f"at most {soft}", cost, f"raise it: {how} {few * 4}")


def pids(highest: int) -> Finding:
    """How soon PIDs are used again."""
    name = "range of PIDs"
    if highest >= _PIDS_FEW:
        return Finding(name, Verdict.OK, f"up to {highest}")
    cost = "PIDs are used again sooner; before Linux 6.9 the start time alone tells them apart"
    return Finding(name, Verdict.DEGRADED, f"up to {highest}", cost, f"sysctl kernel.pid_max={_PIDS_FEW}")


def sight(mounts: str, uid: int) -> Finding:
    """`hidepid` of /proc: processes of other users are out of sight."""
    name = "/proc shows all processes"
    hidden = _option(mounts, "/proc", "hidepid")
    if hidden in ("", "0", "off"):
        return Finding(name, Verdict.OK, "yes")
    if uid == 0:
        return Finding(name, Verdict.OK, f"to root (hidepid={hidden})")
    cost = "a worker that changed its user cannot be identified by its start time"
    return Finding(name, Verdict.DEGRADED, f"hidepid={hidden}", cost, "mount -o remount,hidepid=0 /proc")


def cgroup(path: str) -> Finding:
    """Whether this process may make cgroups (v2) below its own."""
    name = "cgroups of our own"
    if path and os.access(path, os.W_OK) and os.access(f"{path}/cgroup.procs", os.W_OK):
        return Finding(name, Verdict.OK, path)
    cost = "a daemon that left its group is known by its lock token alone"
    advice = "run it as root, or in a unit with Delegate=yes"
    return Finding(name, Verdict.MISSING, path or "no cgroup v2", cost, advice)


def _own_cgroup(mounts: str, own: str) -> str:
    """Directory of this process's cgroup (v2), empty where there is none."""
    points = [fields[1] for entry in mounts.splitlines() if (fields := entry.split(" "))[2] == "cgroup2"]
    paths = [entry.removeprefix("0::") for entry in own.splitlines() if entry.startswith("0::")]
    return (points[0] + paths[0]).rstrip("/") if points and paths else ""


def _option(mounts: str, point: str, option: str) -> str:
    """A mount option's value; of several mounts the last one is seen."""
    value = ""
    for entry in mounts.splitlines():
        fields = entry.split(" ")
        if fields[1] == point:
            pairs = (pair.partition("=") for pair in fields[3].split(","))
            value = next((right for left, _, right in pairs if left == option), "")
    return value


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, PermissionError):
        return ""
