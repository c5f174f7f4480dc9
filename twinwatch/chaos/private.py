"""A place that only one run sees: a small file system in a mount namespace; and the end of all of it."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys

from twinwatch.chaos import census, hierarchy
from twinwatch.linux import process
from twinwatch.linux.paths import RUNTIME_VARIABLE, STATE_VARIABLE, Paths

SIZE = 64 << 20
_DOWN_S = 20
_ROUNDS = 20

_CLONE_NEWNS = 0x20000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 0x4000, 1 << 18
_MNT_DETACH = 2


def paths_of(directory: str, pair: str) -> Paths:
    return Paths(pair, f"{directory}/disk/run", f"{directory}/disk/lib")


def environ_of(directory: str) -> dict[str, str]:
    """What a command about the throw-away pair is called with."""
    run, lib = f"{directory}/disk/run", f"{directory}/disk/lib"
    return os.environ | {RUNTIME_VARIABLE: run, STATE_VARIABLE: lib, "NO_COLOR": "1"}


def mount(directory: str) -> None:
    """A file system of SIZE bytes in `directory`, seen by this process and what it starts from now on.

    Raises:
        OSError: this process may not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "unshare")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount /")
    options = f"size={SIZE},mode=0700".encode()
    flags = _MS_NOSUID | _MS_NODEV
    _check(libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", flags, options), directory)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def may_mount() -> str:
    """Why this process may not mount anything, found out in a child; empty: it may."""
    pid = os.fork()
    if pid == 0:
        try:
            mount("/tmp")  # noqa: S108 - in a namespace that ends with this child
            os._exit(0)
        except OSError as error:  # any errno: it is what is asked for
            os._exit(error.errno or 1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return os.strerror(status) if status else ""


def call(directory: str, *arguments: str, groups: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run `twinwatch ARGUMENTS` about the throw-away pair, as a member of these control groups."""
    join = 'while [ "$1" != -- ]; do echo 0 >"$1"; shift; done; shift; exec "$@"'
    command = ["sh", "-c", join, "sh", *groups, "--", sys.executable, "-m", "twinwatch", *arguments]
    return subprocess.run(
        command, env=environ_of(directory), cwd=directory, capture_output=True, text=True, check=False
    )


def down(directory: str, pair: str) -> str:
    """The off switch. What is wrong, or empty."""
    done = call(directory, "down", "-p", pair, "--timeout", f"{_DOWN_S}s")
    return done.stderr.strip() if done.returncode else ""


def end(directory: str, pair: str, groups: list[str]) -> None:
    """Whatever state the pair is in: it ends, with its directory and its control groups."""
    paths = paths_of(directory, pair)
    if os.path.exists(directory):
        if os.path.exists(paths.state):
            down(directory, pair)
        extinguish(paths)
        _end_workers(paths)
        ctypes.CDLL(None).umount2(os.fsencode(f"{directory}/disk"), _MNT_DETACH)
        shutil.rmtree(directory, ignore_errors=True)
    for group in groups:
        hierarchy.empty(group, os.path.dirname(group))


def extinguish(paths: Paths) -> None:
    """End every guard: all are stopped before the first is killed, so that none revives another."""
    stopped = set(census.guards(paths))
    for identity in stopped:
        process.end(identity, signal.SIGSTOP)
    for _ in range(_ROUNDS):
        new = set(census.guards(paths)) - stopped
        for identity in new:
            process.end(identity, signal.SIGSTOP)
        stopped |= new
        if not new:
            break
    for identity in stopped:
        process.end(identity)


def _end_workers(paths: Paths) -> None:
    """What `down` did not end is found by its token."""
    for pids in census.census(paths).values():
        for pid in pids:
            identity = census.of_pair(pid, paths)
            if identity:
                process.end(identity)
