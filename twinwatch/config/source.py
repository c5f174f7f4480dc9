"""Whether a configuration file can be trusted, and its bytes.

The file is opened once: what was checked (owner, mode, size) and what is read are the same inode.
Root takes no instructions from a file that somebody else can change.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import NoReturn

from twinwatch.config.problem import ConfigError, Problem
from twinwatch.core.record import SOURCE_MAX

SIZE_MAX = 4 * 1024 * 1024
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration file as it was read. `path` is its real path, `digest` SHA-256 in hex."""

    path: str
    device: int
    inode: int
    data: bytes
    digest: str


def read_source(path: str) -> Source:
    """Read a configuration file. Raises ConfigError with one problem."""
    if not path or "\0" in path:
        _refuse(path, "is not a path")
    try:
        real = os.path.realpath(path, strict=True)
        _check_path(path, real)
        # O_NONBLOCK: a FIFO must not make us wait. O_NOFOLLOW: `real` has no link left to follow.
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY)
        try:
            status = os.fstat(descriptor)
            _check_shape(path, status)
            _check_trust(path, real, status)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(SIZE_MAX + 1)
        finally:
            os.close(descriptor)
    except OSError as error:  # any errno: the user chose this path
        _refuse(path, f"cannot be read: {error.strerror or error}")
    if len(data) > SIZE_MAX:
        _refuse_size(path)
    return Source(real, status.st_dev, status.st_ino, data, hashlib.sha256(data).hexdigest())


def _check_path(path: str, real: str) -> None:
    try:
        length = len(real.encode())
    except UnicodeEncodeError:
        _refuse(path, "its path is not UTF-8 text")
    if length > SOURCE_MAX:
        _refuse(path, f"its real path is longer than {SOURCE_MAX} bytes: {real}")


def _check_shape(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        _refuse(path, "is a directory, not a configuration file")
    if not stat.S_ISREG(status.st_mode):
        _refuse(path, "is not a regular file")
    if status.st_size > SIZE_MAX:
        _refuse_size(path)


def _check_trust(path: str, real: str, status: os.stat_result) -> None:
    if os.geteuid() != 0:
        return
    if status.st_uid != 0:
        _refuse(path, f"belongs to uid {status.st_uid}, and root would obey it: chown root {real}")
    if status.st_mode & _OTHERS_WRITE:
        _refuse(path, f"can be changed by others than root: chmod go-w {real}")
    folder = os.path.dirname(real)
    mode = os.stat(folder).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        _refuse(path, f"can be replaced by anybody: chmod o-w {folder}")


def _refuse_size(path: str) -> NoReturn:
    _refuse(path, f"is larger than {SIZE_MAX // 1024 // 1024} MiB: not a configuration")


def _refuse(path: str, message: str) -> NoReturn:
    raise ConfigError([Problem(path, 0, 0, "", message)])
