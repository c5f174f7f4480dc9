"""What takes a fault back, as plain data: so that another process can do it when this one was killed.

Each is a dictionary of JSON with its kind under `do`. Doing one twice changes nothing, but for `clock`.
"""

import contextlib
import errno
import os
import resource
import signal

from twinwatch.chaos import census, hierarchy, private
from twinwatch.core.values import Identity
from twinwatch.linux import cgroup, clock, process
from twinwatch.linux.identity import is_alive
from twinwatch.linux.paths import Paths

Undo = dict[str, object]

_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ESRCH})


def cont(identity: Identity) -> Undo:
    """A stopped process goes on."""
    return {"do": "cont", "who": _packed(identity)}


def write(path: str, text: str) -> Undo:
    """A file of a control group gets its former text."""
    return {"do": "write", "path": path, "text": text}


def unlink(path: str) -> Undo:
    return {"do": "unlink", "path": path}


def empty(path: str, into: str) -> Undo:
    """A control group of ours is removed; what is in it goes `into` another one."""
    return {"do": "empty", "path": path, "into": into}


def step_clock(by_ns: int) -> Undo:
    return {"do": "clock", "by_ns": by_ns}


def limits(paths: Paths, which: int, lowered: int, old: tuple[int, int]) -> Undo:
    """Every guard whose soft limit is the lowered one, inherited or not, gets the old one back."""
    pair = [paths.pair, paths.runtime_base, paths.state_base]
    return {"do": "limits", "pair": pair, "which": which, "lowered": lowered, "old": list(old)}


def end(directory: str, pair: str, groups: list[str]) -> Undo:
    """A throw-away pair ends, and nothing of it is left."""
    return {"do": "end", "directory": directory, "pair": pair, "groups": groups}


def perform(undo: Undo) -> None:
    """Take back; what is gone meanwhile needs nothing.

    Raises:
        OSError: the kernel refused.
    """
    match undo:
        case {"do": "cont", "who": list(who)}:
            process.end(_unpacked(who), signal.SIGCONT)
        case {"do": "write", "path": str(path), "text": str(text)}:
            _write(path, text)
        case {"do": "unlink", "path": str(path)}:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        case {"do": "empty", "path": str(path), "into": str(into)}:
            hierarchy.empty(path, into)
        case {"do": "clock", "by_ns": int(by_ns)}:
            clock.step_wall(by_ns)
        case {"do": "limits", "pair": [pair, run, lib], "which": int(which), "lowered": int(low), "old": old}:
            _raise_limits(Paths(str(pair), str(run), str(lib)), which, low, _pair_of(old))
        case {"do": "end", "directory": str(directory), "pair": str(pair), "groups": list(groups)}:
            private.end(directory, pair, [str(group) for group in groups])
        case _:
            raise ValueError(f"nothing undoes {undo}")


def _write(path: str, text: str) -> None:
    try:
        cgroup.write(path, text)
    except OSError as error:
        if error.errno not in _GONE:
            raise


def _raise_limits(paths: Paths, which: int, lowered: int, old: tuple[int, int]) -> None:
    for identity in census.guards(paths):
        with contextlib.suppress(ProcessLookupError):
            if resource.prlimit(identity.pid, which)[0] == lowered and is_alive(identity):
                resource.prlimit(identity.pid, which, old)


def _pair_of(value: object) -> tuple[int, int]:
    soft, hard = value if isinstance(value, list) else (0, 0)
    return int(soft), int(hard)


def _packed(identity: Identity) -> list[object]:
    return [identity.pid, identity.start_ticks, identity.inode, identity.handle.hex()]


def _unpacked(who: list[object]) -> Identity:
    pid, ticks, inode, handle = who
    return Identity(int(str(pid)), int(str(ticks)), int(str(inode)), bytes.fromhex(str(handle)))
