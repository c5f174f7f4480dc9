"""A cgroup (v2) for each generation, where one may be made: limits for it, and an end for all of it.

They are made in the cgroup that the pair was started in, which must be delegated to it. A cgroup with limits
for its children may hold no process itself, so the watchers move into a leaf of their own (`settle`).
"""

import errno
import os
from contextlib import suppress

from twinwatch.core.spec import Cgroup, WorkerSpec

_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_PERIOD_US = 100_000
RELEASE_MOUNT = "/run/twinwatch.cgroup"  # of the v1 hierarchy `name=twinwatch`
_REFUSED = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENOTEMPTY})


def root() -> str:
    """Where the v2 hierarchy is mounted; empty: nowhere."""
    return next((path for path in _ROOTS if os.path.exists(f"{path}/cgroup.procs")), "")


def parent(pid: int | str = "self") -> str:
    """The directory of the cgroup that a process was started in; empty: none that may be written."""
    top = root()
    if not top:
        return ""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        own = next((line.strip()[3:] for line in file if line.startswith("0::")), "/")
    if own.startswith("/.."):  # outside of what this cgroup namespace shows
        return ""
    path = os.path.normpath(f"{top}/{own}")
    marker = path.find("/twinwatch.")  # a leaf, seen from inside
    path = path[:marker] if marker >= 0 else path
    return path if os.access(path, os.W_OK) else ""


def name_of(pair: str, worker: str, instance: int, generation: int) -> str:
    return f"twinwatch.{pair}.{worker}.{instance}.{generation}"


def guards(pair: str) -> str:
    """The leaf of the watchers."""
    return f"{parent()}/twinwatch.{pair}.guards"


def settle(pair: str) -> None:
    """Move this process, and all that it will start, out of the way of limits."""
    os.makedirs(guards(pair), exist_ok=True)
    write(f"{guards(pair)}/cgroup.procs", str(os.getpid()))


def missing(limits: Cgroup, directory: str) -> list[str]:
    """Which of the limits cannot be had in a child of `directory`, by the controller that is not there."""
    try:
        with open(f"{directory}/cgroup.controllers", encoding="utf-8") as file:
            there = set(file.read().split())
    except FileNotFoundError:
        there = set()
    wanted = {"memory": limits.memory_max, "pids": limits.pids_max, "cpu": limits.cpu}
    return [controller for controller, value in wanted.items() if value and controller not in there]


def enter(pair: str, spec: WorkerSpec, instance: int, generation: int) -> None:
    """In a gated child: move into a cgroup of its own, with its limits. Without `cgroup:` nothing is done.

    Raises:
        OSError: a limit that was asked for cannot be set.
    """
    if spec.cgroup is None:
        return
    above = parent()
    if not above:
        raise OSError(errno.EOPNOTSUPP, "no writable cgroup v2")
    if missing(spec.cgroup, above):
        raise OSError(errno.EOPNOTSUPP, "controller missing")
    own = f"{above}/{name_of(pair, spec.name, instance, generation)}"
    for controller in ("memory", "pids", "cpu"):
        if getattr(spec.cgroup, {"memory": "memory_max", "pids": "pids_max", "cpu": "cpu"}[controller]):
            write(f"{above}/cgroup.subtree_control", f"+{controller}")
    os.makedirs(own, exist_ok=True)
    if spec.cgroup.memory_max:
        write(f"{own}/memory.max", str(spec.cgroup.memory_max))
    if spec.cgroup.pids_max:
        write(f"{own}/pids.max", str(spec.cgroup.pids_max))
    if spec.cgroup.cpu:
        write(f"{own}/cpu.max", f"{int(spec.cgroup.cpu * _PERIOD_US / 100)} {_PERIOD_US}")
    write(f"{own}/cgroup.procs", str(os.getpid()))


def _own(pair: str, spec: WorkerSpec, instance: int, generation: int) -> str:
    """The directory of a generation's cgroup, '' where it has none."""
    above = parent() if spec.cgroup is not None else ""
    path = f"{above}/{name_of(pair, spec.name, instance, generation)}"
    return path if above and os.path.isdir(path) else ""


def join_guards(pair: str) -> None:
    """Be in the group whose emptiness has the kernel call for help, and have it call.

    Where there is none (`anchor install --init release-agent` makes it) nothing is done.
    """
    group = f"{RELEASE_MOUNT}/{pair}"
    if os.access(f"{group}/cgroup.procs", os.W_OK):
        write(f"{group}/notify_on_release", "1")
        write(f"{group}/cgroup.procs", "0")


def leave_guards(pair: str) -> None:
    """Leave that group: it is for guards alone, and empty when the last of them is dead."""
    if os.access(f"{RELEASE_MOUNT}/{pair}/cgroup.procs", os.W_OK):
        write(f"{RELEASE_MOUNT}/cgroup.procs", "0")


def is_populated(pair: str, spec: WorkerSpec, instance: int, generation: int) -> bool:
    """Whether a process of this generation lives, wherever it went. An empty cgroup is removed."""
    own = _own(pair, spec, instance, generation)
    if not own:
        return False
    try:
        os.rmdir(own)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return error.errno == errno.EBUSY
    return False


def kill(pair: str, spec: WorkerSpec, instance: int, generation: int) -> None:
    """KILL every process of a generation at once (Linux 5.14)."""
    own = _own(pair, spec, instance, generation)
    if own:
        with suppress(FileNotFoundError):
            write(f"{own}/cgroup.kill", "1")


def write(path: str, text: str) -> None:
    """Into a control file. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
