"""What outlives this service: failures in a row, strikes, and how watched files were, by generation.

One file, replaced as a whole. What is in it belongs to the generation with this number and this birth; for
another one it is nothing. A file that cannot be read or written costs rows that begin anew, never a verdict.
"""

import asyncio
import errno
import json
import os
from dataclasses import dataclass, field
from typing import Any

from twinwatch.core.probing import Fingerprint, Strikes

LAYOUT = 1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOENT, errno.EMFILE, errno.ENFILE)

Life = tuple[int, int]  # a generation and its birth: numbers alone begin anew with a new state file


@dataclass(slots=True)
class Memory:
    """Of one generation of one worker instance. `bad`: failures in a row by the key of a probe."""

    life: Life
    was_ready: bool = False
    bad: dict[str, int] = field(default_factory=dict)
    strikes: dict[str, Strikes] = field(default_factory=dict)
    files: dict[str, Fingerprint] = field(default_factory=dict)


class Kept:
    """All memories by label."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._memories = _read(path)
        self._is_changed = False
        self._is_due = False

    def of(self, label: str, life: Life) -> Memory:
        memory = self._memories.get(label)
        if memory is None or memory.life != life:
            memory = self._memories[label] = Memory(life)
        return memory

    def keep_only(self, labels: set[str]) -> None:
        gone = self._memories.keys() - labels
        for label in gone:
            del self._memories[label]
        if gone:
            self.changed()

    def changed(self) -> None:
        """A memory is not as the file has it: write it as soon as all that happened at once is in it."""
        self._is_changed = True
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self.write)

    def write(self) -> None:
        """Call it from time to time: the disk may not have taken it."""
        self._is_due = False
        if self._is_changed:
            self._is_changed = not _write(self._path, self._memories)


def _read(path: str) -> dict[str, Memory]:
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
        if kept["layout"] != LAYOUT:
            return {}
        return {str(label): _memory(fields) for label, fields in kept["workers"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # torn or foreign


def _memory(fields: dict[str, Any]) -> Memory:
    generation, born_ns = map(int, fields["life"])
    return Memory(
        (generation, born_ns),
        bool(fields["was_ready"]),
        {str(key): int(count) for key, count in fields["bad"].items()},
        {str(what): Strikes(int(count), bool(told)) for what, (count, told) in fields["strikes"].items()},
        {str(path): _fingerprint(seen) for path, seen in fields["files"].items()},
    )


def _fingerprint(seen: list[int] | None) -> Fingerprint:
    if seen is None:
        return None
    changed_ns, size, inode = map(int, seen)
    return changed_ns, size, inode


def _write(path: str, memories: dict[str, Memory]) -> bool:
    workers = {label: _fields(memory) for label, memory in memories.items()}
    draft = f"{path}.draft"
    try:
        with open(draft, "w", encoding="utf-8", opener=_private) as file:
            json.dump({"layout": LAYOUT, "workers": workers}, file)
        os.rename(draft, path)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return False
    return True


def _fields(memory: Memory) -> dict[str, Any]:
    return {
        "life": memory.life,
        "was_ready": memory.was_ready,
        "bad": memory.bad,
        "strikes": {what: (strikes.count, strikes.told) for what, strikes in memory.strikes.items()},
        "files": memory.files,
    }


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
