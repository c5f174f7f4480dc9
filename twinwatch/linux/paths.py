"""Where a pair lives: its runtime directory (lost at a reboot) and its state directory (kept).

Both are made with mode 0700 and must belong to the caller; a symlink in their place is refused, and so
is a network file system, where record locks are another machine's affair.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass

RUNTIME_VARIABLE = "TWINWATCH_RUNTIME_DIR"
STATE_VARIABLE = "TWINWATCH_STATE_DIR"
ROOT_RUNTIME = "/run/twinwatch"
ROOT_STATE = "/var/lib/twinwatch"

_NETWORK_FILE_SYSTEMS = {
    0x6969: "NFS",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x517B: "SMB",
    0x00C36400: "Ceph",
    0x5346414F: "AFS",
    0x01021997: "9P",
    0x65735546: "FUSE",
}


class PathError(Exception):
    """A directory that cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The two directories of one pair, and all that is in them."""

    pair: str
    runtime_base: str
    state_base: str

    @property
    def runtime(self) -> str:
        return f"{self.runtime_base}/{self.pair}"

    @property
    def contact(self) -> str:
        """Where workers meet the pair, also those of other users: heartbeat files, the notify socket."""
        return f"{self.runtime_base}/{self.pair}.workers"

    @property
    def notify_socket(self) -> str:
        return f"{self.contact}/notify"

    def heartbeat(self, name: str, instance: int) -> str:
        return f"{self.contact}/{name}.{instance}"

    @property
    def registered(self) -> str:
        """Workers that registered themselves (JSON)."""
        return f"{self.state}/registered.json"

    @property
    def state(self) -> str:
        return f"{self.state_base}/{self.pair}"

    @property
    def operator_lock(self) -> str:
        """Held by a command that changes the pair as a whole; outlives both directories."""
        return f"{self.state_base}/{self.pair}.lock"

    @property
    def alive_lock(self) -> str:
        return f"{self.state}/alive"

    @property
    def anchor_lock(self) -> str:
        """Held by the anchor for life: there is one at most."""
        return f"{self.state}/anchor"

    @property
    def wishes(self) -> str:
        return f"{self.state}/desired.json"

    @property
    def events(self) -> str:
        return f"{self.state}/events.jsonl"

    @property
    def own_log(self) -> str:
        """Standard error of the watchers and reserves, and of no other process."""
        return f"{self.state}/watchers.log"

    @property
    def logs(self) -> str:
        return f"{self.state}/log"

    @property
    def snapshots(self) -> str:
        return f"{self.state}/config"

    @property
    def tokens(self) -> str:
        return f"{self.state}/token"

    def token(self, name: str, instance: int) -> str:
        return f"{self.tokens}/{name}.{instance}"


def locate(pair: str, environ: Mapping[str, str]) -> Paths:
    """The pair's directories for the calling user.

    Raises:
        PathError: no home for them can be named.
    """
    runtime, state = environ.get(RUNTIME_VARIABLE), environ.get(STATE_VARIABLE)
    if os.geteuid() == 0:
        return _real(pair, runtime or ROOT_RUNTIME, state or ROOT_STATE)
    if not runtime:
        base = environ.get("XDG_RUNTIME_DIR")
        runtime = f"{base}/twinwatch" if base else f"/tmp/twinwatch-{os.geteuid()}"  # noqa: S108 - checked
    if not state:
        home = environ.get("HOME")
        base = environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "")
        if not base.startswith("/"):
            raise PathError(f"neither HOME nor XDG_STATE_HOME is set: set {STATE_VARIABLE}")
        state = f"{base}/twinwatch"
    return _real(pair, runtime, state)


def _real(pair: str, runtime: str, state: str) -> Paths:
    """Without symlinks on the way: `/proc/PID/fd` shows such paths, and remains are found by them."""
    return Paths(pair, os.path.realpath(runtime), os.path.realpath(state))


def prepare(paths: Paths) -> None:
    """Make and check every directory that a living pair needs.

    Raises:
        PathError: one of them is not the caller's, is a symlink, or is on a network file system.
    """
    for directory in (paths.runtime_base, paths.runtime, paths.state_base, paths.state):
        make_private(directory, shared=directory in (paths.runtime_base, paths.state_base))
    for directory in (paths.logs, paths.snapshots, paths.tokens):
        make_private(directory)
    make_private(paths.contact, shared=True)
    check_local(paths.runtime)
    check_local(paths.state)


def make_private(directory: str, *, shared: bool = False) -> None:
    """Make a directory of mode 0700 (0711 if `shared`), or check the one that is there."""
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        os.mkdir(directory, 0o711 if shared else 0o700)
        os.chmod(directory, 0o711 if shared else 0o700)
    except FileExistsError:
        check_owned(directory)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.ELOOP):
            raise PathError(f"cannot make {directory}: {os.strerror(error.errno)}") from None
        raise


def check_owned(directory: str) -> None:
    """Raises PathError for a symlink, a file, or a directory that others own or may write."""
    status = os.stat(directory, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise PathError(f"{directory} is a symlink: remove it")
    if not stat.S_ISDIR(status.st_mode):
        raise PathError(f"{directory} is not a directory: remove it")
    if status.st_uid != os.geteuid():
        raise PathError(
            f"{directory} belongs to UID {status.st_uid}, not to you (UID {os.geteuid()}): "
            f"use another pair name, or end that pair as its owner"
        )
    if status.st_mode & 0o022:
        raise PathError(f"{directory} may be written by others: chmod go-w {directory}")


def check_local(directory: str) -> None:
    kind = _file_system(directory)
    if kind in _NETWORK_FILE_SYSTEMS:
        name = _NETWORK_FILE_SYSTEMS[kind]
        raise PathError(f"{directory} is on {name}, where locks cannot be trusted: choose a local directory")


def _file_system(directory: str) -> int:
    """The magic number that fstatfs(2) gives."""
    buffer = (ctypes.c_long * 32)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(directory), ctypes.byref(buffer)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), directory)
    return int(buffer[0]) & 0xFFFFFFFF
