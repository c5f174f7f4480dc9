"""Cgroups for a throw-away pair: where they may be made, and moving processes that are known into them.

Of a controller the v2 hierarchy is taken where it has it, else that of v1. A PID that is written to
`cgroup.procs` is checked before and after; the kernel offers nothing better.
"""

import contextlib
import errno
import os
import time
from dataclasses import dataclass

from twinwatch.core.values import Identity
from twinwatch.linux.cgroup import write
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, is_dead, open_process

_REMOVAL_S = 2.0
_CANNOT = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups of one controller may be made; `version` is 1 or 2."""

    controller: str
    version: int
    directory: str

    def group(self, name: str) -> "Group":
        return Group(self, f"{self.directory}/{name}")


@dataclass(frozen=True, slots=True)
class Group:
    """One cgroup."""

    above: Hierarchy
    path: str

    def make(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path)

    def child(self, name: str) -> "Group":
        return Group(self.above, f"{self.path}/{name}")

    @property
    def procs(self) -> str:
        return f"{self.path}/cgroup.procs"

    def freezing(self, *, on: bool) -> tuple[str, str]:
        """(file, text) that freezes or thaws it."""
        if self.above.version == 2:
            return f"{self.path}/cgroup.freeze", "1" if on else "0"
        return f"{self.path}/freezer.state", "FROZEN" if on else "THAWED"

    def is_frozen(self) -> bool:
        if self.above.version == 2:
            return "frozen 1" in read(f"{self.path}/cgroup.events")
        return read(f"{self.path}/freezer.state").strip() == "FROZEN"

    def processes(self, limit: int | None) -> tuple[str, str]:
        """(file, text) that bounds how many processes it may have; None: no bound."""
        return f"{self.path}/pids.max", "max" if limit is None else str(limit)

    def memory(self, limit: int | None) -> tuple[str, str]:
        """(file, text) that bounds its memory in bytes; None: no bound."""
        if self.above.version == 2:
            return f"{self.path}/memory.max", "max" if limit is None else str(limit)
        return f"{self.path}/memory.limit_in_bytes", str(-1 if limit is None else limit)

    def enter(self, identity: Identity) -> bool:
        """Move a known process into it. False: it is gone."""
        try:
            pidfd = open_process(identity)
        except (ProcessGone, IdentityUnknown):
            return False
        try:
            write(self.procs, str(identity.pid))
            return not is_dead(pidfd)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)


def read(path: str) -> str:
    """Text of a small file; empty where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, PermissionError):
        return ""


def find(controller: str) -> Hierarchy | None:
    """Where groups of this controller may be made; None: nowhere."""
    return next(iter(_all(controller)), None)


def freezers() -> list[Hierarchy]:
    """Of v2 and of v1: a KILL ends what the one has frozen, and waits for the thaw in the other."""
    return _all("freezer")


def _all(controller: str) -> list[Hierarchy]:
    found = []
    for version, top, own in _mounts(controller):
        for directory in dict.fromkeys((f"{top}{own}".rstrip("/"), top)):
            if _may_make(controller, version, directory):
                found.append(Hierarchy(controller, version, directory))
                break
    return found


def _mounts(controller: str) -> list[tuple[int, str, str]]:
    """(version, mount point, own cgroup) of the hierarchies that may have the controller; v2 first."""
    found = []
    own = [line.split(":", 2) for line in read("/proc/self/cgroup").splitlines()]
    for line in read("/proc/mounts").splitlines():
        _, top, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found.append((2, top, next((path for _, names, path in own if not names), "/")))
        elif kind == "cgroup" and controller in options.split(","):
            path = next((path for _, names, path in own if controller in names.split(",")), "/")
            found.append((1, top, path))
    return sorted(found, key=lambda mount: -mount[0])


def _may_make(controller: str, version: int, directory: str) -> bool:
    if not os.access(directory, os.W_OK):
        return False
    if version == 1 or controller == "freezer":  # every v2 group can be frozen
        return True
    return controller in read(f"{directory}/cgroup.subtree_control").split()


def empty(path: str, into: str) -> None:
    """Move whatever is in a group of ours to another one of ours, and remove it with those below it.

    What is left after a while is left: a group without processes costs nothing.
    """
    deadline = time.monotonic() + _REMOVAL_S
    while os.path.isdir(path):
        for name in os.listdir(path):
            if os.path.isdir(f"{path}/{name}"):
                empty(f"{path}/{name}", path)
        for pid in read(f"{path}/cgroup.procs").split():
            _move(int(pid), path, into)
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno not in _CANNOT or time.monotonic() > deadline:
                return
            time.sleep(0.01)


def _move(pid: int, path: str, into: str) -> None:
    """Only one that is seen in the group while its pidfd is open: not who has its PID by now."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            if str(pid) in read(f"{path}/cgroup.procs").split():
                with contextlib.suppress(FileNotFoundError):
                    write(f"{into}/cgroup.procs", str(pid))
        finally:
            os.close(pidfd)
