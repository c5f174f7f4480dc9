"""Drafts: a file is complete before it gets its name. Until then it has a name with its maker's PID.

Several may make one at the same time, so each has its own; whoever is killed in between leaves it.
"""

import os
from contextlib import suppress


def path_of(path: str, pid: int | None = None) -> str:
    """Where a process (by default this one) makes the file that is to be at `path`."""
    return f"{path}.{os.getpid() if pid is None else pid}"


def remove(path: str, pid: int) -> None:
    """Remove the draft of a process that is dead, if it left one."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path_of(path, pid))


def sweep(path: str) -> None:
    """Remove all drafts of this file whose makers are gone."""
    folder, name = os.path.split(path)
    for entry in os.listdir(folder):
        stem, _, pid = entry.rpartition(".")
        if stem == name and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            remove(path, int(pid))
