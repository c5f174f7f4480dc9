"""The record of a rotated log: a small file in the pair's own state directory, where no worker can write.

It is replaced as a whole, durably, before what it announces is done.
"""

import hashlib
import json
import os
from dataclasses import asdict

from twinwatch.core.rotating import Record, Stage
from twinwatch.linux.rotation import write_all

_FOLDER = "rotation"
_NAME_MAX = 100


def folder_of(state_directory: str) -> str:
    return f"{state_directory}/{_FOLDER}"


def path_of(state_directory: str, log: str) -> str:
    """Where the record of the log with this path is."""
    digest = hashlib.sha256(os.fsencode(log)).hexdigest()[:16]
    return f"{folder_of(state_directory)}/{os.path.basename(log)[:_NAME_MAX]}.{digest}"


def load(path: str) -> Record | None:
    """None: there is no record, or none that can be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            fields = json.load(file)
        nested = {"segments": tuple(fields["segments"]), "stage": Stage(fields["stage"])}
        return Record(**fields | nested)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def save(path: str, record: Record) -> None:
    """Complete on disk before it gets its name, and its name before this returns."""
    draft = f"{path}.draft"
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        write_all(fd, json.dumps(asdict(record)).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(draft, path)
    sync(folder)


def sync(folder: str) -> None:
    """Make names of a directory durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def all_of(state_directory: str) -> list[str]:
    """Paths of all records."""
    try:
        names = sorted(os.listdir(folder_of(state_directory)))
    except FileNotFoundError:
        return []
    return [f"{folder_of(state_directory)}/{name}" for name in names if not name.endswith(".draft")]
