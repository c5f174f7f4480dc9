"""A worker's sign of life: 64 bytes that it shares with whoever judges it. Layout: docs/heartbeat.md.

The worker never learns of its judge, never waits for it and never fails because of it: without a file every
call does nothing. A beat is four stores into a mapping, and no system call.
"""

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` would be the slowest import of this module
    import asyncio
    import mmap
    import threading
    from collections.abc import Callable
    from typing import Self

VARIABLE = "TWINWATCH_HEARTBEAT"
SIZE = 64
LAYOUT = "<QQQI36x"  # sequence, time, progress, state, reserved
SEQUENCE, TIME, PROGRESS, STATE = range(4)  # words of eight bytes; the upper half of the last stays zero
NOT_BEGUN, ACTIVE, SIGNED_OFF = range(3)
EVERY_S = 1.0

_MASK = (1 << 64) - 1
_LOOK_NS = 1_000_000_000  # how often a beat looks whether the file it maps is still the one at the path
_NEVER_NS = _MASK
_THREAD = "twinwatch-heartbeat"

_now_ns = time.monotonic_ns


class Heartbeat:
    """Beats into the file that `TWINWATCH_HEARTBEAT` names, or into `path`.

    With `every`, `with` starts a daemon thread that beats every so many seconds while `while_true()` is
    true, and `async with` a task that beats while the event loop turns. A thread that beats while the work
    stands still is a lie: give it `while_true`, or count the work with `advance`.

    A forked child shares the file, so its beats count as its parent's: leave them to one of the two.
    """

    def __init__(
        self,
        path: "str | os.PathLike[str] | None" = None,
        *,
        every: float | None = None,
        while_true: "Callable[[], object] | None" = None,
    ) -> None:
        if every is not None and not every > 0:
            raise ValueError(f"every: {every} s is no time between two beats")
        self._path = os.environ.get(VARIABLE, "") if path is None else os.fspath(path)
        self._every = every
        self._while_true = while_true
        self._words: list[int] | memoryview[int] | _Swapped = [0] * 4  # looked at by nobody
        self._file = (0, 0)
        self._look_ns = _NEVER_NS
        self._is_silent = False
        self._is_signed_off = False
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        if self._path:
            self._map()

    # ------------------------------------------------------------ signs of life

    @property
    def is_watched(self) -> bool:
        """There is a file to beat into; whether somebody looks at it is not the worker's affair."""
        return self._look_ns != _NEVER_NS

    def beat(self, progress: int | None = None) -> None:
        """I am alive; and this is how much work I have done, of which only a change counts."""
        now_ns = _now_ns()
        if now_ns >= self._look_ns:
            self._follow(now_ns)
        words = self._words
        words[TIME] = now_ns
        if progress is not None:
            words[PROGRESS] = progress & _MASK
        words[STATE] = ACTIVE
        words[SEQUENCE] = (words[SEQUENCE] + 1) & _MASK  # last: who sees it move sees what belongs to it

    def advance(self, by: int = 1) -> None:
        """So many more pieces of work are done; a beat too."""
        self.beat(self._words[PROGRESS] + by)

    def activate(self) -> None:
        """The first beat, also after a sign-off: from here on a missing one is judged."""
        self._is_silent = self._is_signed_off = False
        self.beat()

    def sign_off(self) -> None:
        """Stop to beat and to be judged. `activate` takes it back, and so does any later beat."""
        self._is_signed_off = True
        self._silence()
        self._words[STATE] = SIGNED_OFF

    def close(self) -> None:
        """Stop to beat, without a word: who is still judged then is missed. Twice is fine."""
        self._silence()
        self._words = [0] * 4  # a beat on its way in another thread keeps the mapping until it is done
        self._look_ns = _NEVER_NS

    # ------------------------------------------------------------ beating by thread or by task

    def start(self) -> None:
        """Begin to beat from a daemon thread. It dies with its process and is not inherited by a fork."""
        if not self.is_watched or self._is_drumming():
            return
        import threading

        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drum, args=(self._stop,), name=_THREAD, daemon=True)
        self._thread.start()

    def _is_drumming(self) -> bool:
        """A forked child has the object, but not the thread."""
        return bool(self._thread and self._thread.is_alive() and self._stop and not self._stop.is_set())

    def _drum(self, stop: "threading.Event") -> None:
        while not stop.is_set():
            self._beat_in_rhythm()
            stop.wait(self._every or EVERY_S)

    async def run(self) -> None:
        """Beat while the event loop turns, until cancelled, closed or signed off."""
        import asyncio

        while not self._is_silent:
            self._beat_in_rhythm()
            await asyncio.sleep(self._every or EVERY_S)

    def _beat_in_rhythm(self) -> None:
        if self._while_true is None or self._while_true():
            self.beat()
            if self._is_signed_off:  # by another thread, while this one was about to beat
                self._words[STATE] = SIGNED_OFF

    def _silence(self) -> None:
        self._is_silent = True
        if self._stop and self._is_drumming():
            self._stop.set()

    def __enter__(self) -> "Self":
        if self._every is not None:
            self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    async def __aenter__(self) -> "Self":
        import asyncio

        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        import asyncio

        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.close()

    # ------------------------------------------------------------ the file

    def _map(self) -> None:
        """Map the file at the path, or stay with what there is."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        except (OSError, ValueError):  # any errno: a worker runs as well unwatched
            return
        try:
            status = os.fstat(fd)
            if status.st_size == SIZE:  # of another size: not such a file, and nothing to write into
                _fill(fd, status)
                self._words = _words_of(_map_all(fd))
                self._file = (status.st_dev, status.st_ino)
                self._look_ns = _now_ns() + _LOOK_NS
        except (OSError, ValueError):  # any errno: as above
            return
        finally:
            os.close(fd)

    def _follow(self, now_ns: int) -> None:
        """Whoever lost the file may have put a new one in its place: then beat there."""
        self._look_ns = now_ns + _LOOK_NS
        try:
            status = os.stat(self._path)
        except OSError:  # any errno: nothing there that could be followed
            return
        if (status.st_dev, status.st_ino) != self._file:
            self._map()


def _fill(fd: int, status: os.stat_result) -> None:
    """A store into a hole that a full file system cannot fill would be SIGBUS; here it is an OSError."""
    if os.lseek(fd, 0, os.SEEK_HOLE) < SIZE:
        os.posix_fallocate(fd, 0, SIZE)
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))  # a change of it would be a beat


def _map_all(fd: int) -> "mmap.mmap":
    import mmap

    return mmap.mmap(fd, SIZE)


def _words_of(mapping: "mmap.mmap", byte_order: str = sys.byteorder) -> "memoryview[int] | _Swapped":
    """The file's words: each is stored at once where the machine is little-endian, like the file."""
    return memoryview(mapping).cast("Q") if byte_order == "little" else _Swapped(mapping)


class _Swapped:
    """The same for a big-endian machine: slower, byte by byte."""

    def __init__(self, mapping: "mmap.mmap") -> None:
        self._mapping = mapping

    def __getitem__(self, word: int) -> int:
        return int.from_bytes(self._mapping[8 * word : 8 * word + 8], "little")

    def __setitem__(self, word: int, value: int) -> None:
        self._mapping[8 * word : 8 * word + 8] = value.to_bytes(8, "little")
