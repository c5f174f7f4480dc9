"""The pair as `/proc` shows it, whatever its state file says: who lives, and who lives twice."""

import contextlib
import os
from collections.abc import Iterator

from twinwatch.core.values import NOBODY, Identity, label_of
from twinwatch.linux.identity import identify, is_dead, stat_fields
from twinwatch.linux.paths import Paths

COMMS = {b"twinwatch-a": "watcher a", b"twinwatch-b": "watcher b", b"twinwatch-rsv": "reserve"}

Census = dict[tuple[str, str], list[int]]


def proc(pid: int, name: str) -> bytes:
    """A file of `/proc/PID`; empty where it is not to be seen."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def pids() -> list[int]:
    """All that `/proc` lists, in ascending order as a scan by name meets them."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _parent(pid: int) -> int:
    return int((stat_fields(pid) or [b"", b"0"])[1])


def _mark(paths: Paths) -> bytes:
    """What the command line of watchers, reserves and gated children has, and no other one."""
    return f"\0{paths.runtime_base}\0{paths.state_base}\0{paths.pair}\0".encode()


def is_guard(pid: int, paths: Paths) -> bool:
    """Whether it is a watcher, a reserve or a gated child of this pair."""
    return _mark(paths) in proc(pid, "cmdline")


def guards(paths: Paths) -> list[Identity]:
    """Every living guard, recorded or not. A PID is looked at again after its pidfd was opened."""
    found = []
    for pid in pids():
        if not is_guard(pid, paths):
            continue
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            try:
                identity = identify(pid, pidfd)
                if is_guard(pid, paths) and not is_dead(pidfd):
                    found.append(identity)
            finally:
                os.close(pidfd)
    return found


def group_of(pid: int) -> tuple[int, int]:
    """Process group and session; zeros where it is not to be seen."""
    fields = stat_fields(pid)
    return (int(fields[2]), int(fields[3])) if fields else (0, 0)


def census(paths: Paths) -> Census:
    """Living processes of the pair.

    Keys are (watcher or `reserve`, "") and, for workers that hold their slot's token, (label, generation).
    """
    found: Census = {}
    for pid in pids():
        name = COMMS.get(proc(pid, "comm").strip())
        if name and is_guard(pid, paths):
            found.setdefault((name, ""), []).append(pid)
        elif key := _worker_key(pid, paths):
            found.setdefault(key, []).append(pid)
    return _alive_together(found)


def _worker_key(pid: int, paths: Paths) -> tuple[str, str] | None:
    pairs = (entry.partition(b"=")[::2] for entry in proc(pid, "environ").split(b"\0"))
    environ = {
        name.decode(): value.decode(errors="replace")
        for name, value in pairs
        if name.startswith(b"TWINWATCH_") and name.isascii()
    }
    if environ.get("TWINWATCH_PAIR") != paths.pair:
        return None
    name, instance = environ.get("TWINWATCH_WORKER", ""), environ.get("TWINWATCH_INSTANCE", "0")
    token = paths.token(name, int(instance))
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        if any(_link(pid, fd) == token for fd in os.listdir(f"/proc/{pid}/fd")):
            return label_of(name, int(instance)), environ.get("TWINWATCH_GENERATION", "")
    return None


def of_pair(pid: int, paths: Paths) -> Identity:
    """Who has this PID, if it is a guard or a worker of the pair; else nobody.

    It is looked at again after its pidfd was opened.
    """
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            identity = identify(pid, pidfd)
            if (is_guard(pid, paths) or _worker_key(pid, paths)) and not is_dead(pidfd):
                return identity
        finally:
            os.close(pidfd)
    return NOBODY


def _link(pid: int, fd: str) -> str:
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    return ""


def _alive_together(found: Census) -> Census:
    """Of processes found one after the other those that live after the last was found.

    So two that are left did live at one instant, and not one before the other.
    """
    living = set()
    for pid in {pid for those in found.values() for pid in those}:
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            if not is_dead(pidfd):
                living.add(pid)
            os.close(pidfd)
    return {key: sorted(living & set(those)) for key, those in found.items() if living & set(those)}


def doubles(found: Census) -> Iterator[str]:
    """Roles and workers that live twice. A child is called like its parent until its first acts."""
    generations: dict[str, list[str]] = {}
    for (name, generation), those in found.items():
        if generation:
            generations.setdefault(name, []).append(generation)
        elif name != "reserve" and len(own := [pid for pid in those if _parent(pid) not in those]) > 1:
            yield f"{name} lives {len(own)} times: PIDs {own}"
    for name, those_alive in generations.items():
        if len(those_alive) > 1:
            yield f"double start: generations {', '.join(sorted(those_alive))} of {name} live at once"


def descriptors(pid: int) -> list[int]:
    """Numbers of its open descriptors; none where it is not to be seen."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    return []
