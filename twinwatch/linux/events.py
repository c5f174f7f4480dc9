"""The event log: one JSON object a line, each appended in one write, bounded by rotation.

Several processes append to one file. Each write goes to whatever file has the name at that moment; the
one that finds it too long renames it under a lock that nobody waits for.
"""

import errno
import fcntl
import json
import os
from contextlib import suppress

from twinwatch.linux.clock import monotonic_ns, wall_text

MAX_BYTES = 8 << 20
KEPT = 3  # older files


class EventLog:
    """Appends to `path`; a full disk or a lost directory costs events, never the caller."""

    def __init__(self, path: str, pair: str, by: str) -> None:
        self._path = path
        self._pair = pair
        self.by = by
        self._fd = -1
        self._status: os.stat_result | None = None  # of the file that is open

    def write(self, event: str, at_ns: int | None = None, **details: object) -> None:
        """Append one event, of now if `at_ns` is None. Details that are None or empty text are left out."""
        now_ns = monotonic_ns()
        at_ns = now_ns if at_ns is None else at_ns
        entry = {"time": wall_text(now_ns - at_ns), "monotonic_ns": at_ns, "pair": self._pair, "event": event}
        entry |= {key: value for key, value in details.items() if value is not None and value != ""}
        entry["by"] = self.by
        line = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        try:
            if os.write(self._open(), line) and os.fstat(self._fd).st_size > MAX_BYTES:
                self._rotate()
        except OSError as error:
            if error.errno not in (
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EIO,
                errno.EROFS,
                errno.ENOENT,
                errno.EMFILE,
            ):
                raise

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def follow_path(self) -> None:
        """Notice that the file was renamed or deleted; the next event goes to a new one."""
        if self._fd < 0:
            return
        try:
            if self._status and os.path.samestat(os.stat(self._path), self._status):
                return
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        self.close()

    def _open(self) -> int:
        if self._fd < 0:
            self._fd = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            self._status = os.fstat(self._fd)
        return self._fd

    def _rotate(self) -> None:
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(self._path), os.fstat(self._fd)):
                for number in range(KEPT, 1, -1):
                    with suppress(FileNotFoundError):
                        os.rename(f"{self._path}.{number - 1}", f"{self._path}.{number}")
                os.rename(self._path, f"{self._path}.1")
        except BlockingIOError:
            return  # another one is at it
        except FileNotFoundError:
            return  # another one was faster
        finally:
            os.close(lock)
            self.close()
