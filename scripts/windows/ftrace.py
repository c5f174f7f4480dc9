"""The kernel's own record of what some processes did: tracefs, in an instance of its own.

Times are CLOCK_MONOTONIC in nanoseconds, taken in the kernel at the event, so nobody has to look in time.
The file system is mounted for this process alone (it has no path) and the instance is removed at the end.
Followed are this process and, across forks, all that descends from it. Needs root and the first PID
namespace.
"""

import ctypes
import os
import re
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432  # the same on every architecture
CLOEXEC, CONFIG_CREATE = 1, 6
FIRST_PID_NAMESPACE = 0xEFFFFFFC
PAGE = 4096
BUFFER_KB = 2048  # for each processor: a round leaves some tens of kilobytes
PADDING, EXTENSION, STAMP = 29, 30, 31  # types of an entry of the ring buffer that hold no event
HEAD = struct.Struct("<QQ")  # of a page: time of its first entry, bytes in use
LOST = 3 << 30  # flags in the bytes in use: entries before this page were overwritten
FORMATS = {
    (1, False): "B",
    (2, False): "H",
    (4, False): "I",
    (8, False): "Q",
    (1, True): "b",
    (2, True): "h",
    (4, True): "i",
    (8, True): "q",
}
libc = ctypes.CDLL(None, use_errno=True)


class NoTraceError(Exception):
    """This machine does not let this process trace; the text says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """`pid` did it; `fields` are those that were asked for."""

    at_ns: int
    pid: int
    name: str
    fields: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    fields: tuple[tuple[str, struct.Struct, int], ...]  # name, how it is packed, where


def _system(number: int, *arguments: object) -> int:
    result = libc.syscall(number, *arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise NoTraceError(f"tracefs cannot be mounted: {os.strerror(number)}")
    return result


def _mount() -> int:
    """A descriptor of tracefs, mounted nowhere."""
    if os.stat("/proc/self/ns/pid").st_ino != FIRST_PID_NAMESPACE:
        raise NoTraceError("in a PID namespace of its own: the kernel's PIDs are others")
    context = _system(FSOPEN, b"tracefs", CLOEXEC)
    try:
        _system(FSCONFIG, context, CONFIG_CREATE, None, None, 0)
        return _system(FSMOUNT, context, CLOEXEC, 0)
    finally:
        os.close(context)


class Trace:
    """Use as a context manager.

    `wanted`: event -> its fields, as `sched/sched_waking` -> `("pid",)`. Events that this kernel lacks are
    left out: an architecture has `poll` or `ppoll`. `buffer_kb`: for each processor.
    """

    def __init__(self, wanted: dict[str, tuple[str, ...]], buffer_kb: int = BUFFER_KB) -> None:
        self._mount = _mount()
        self._room = f"/proc/self/fd/{self._mount}/instances/twinwatch-{os.getpid()}"
        self._kinds: dict[int, Kind] = {}
        self._pipes: list[int] = []
        self.lost = False
        try:
            os.mkdir(self._room)
        except OSError as error:  # any errno
            os.close(self._mount)
            raise NoTraceError(f"no trace instance can be made: {error.strerror}") from error
        try:
            self._begin(wanted, buffer_kb)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, wanted: dict[str, tuple[str, ...]], buffer_kb: int) -> None:
        self._put("trace_clock", "mono")
        self._put("buffer_size_kb", str(buffer_kb))
        self._put("options/event-fork", "1")
        self._put("set_event_pid", str(os.getpid()))
        for event, fields in wanted.items():
            with suppress(FileNotFoundError):
                self._enable(event, fields)
        for name in sorted(os.listdir(f"{self._room}/per_cpu")):
            path = f"{self._room}/per_cpu/{name}/trace_pipe_raw"
            self._pipes.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))

    def _put(self, name: str, text: str) -> None:
        with open(f"{self._room}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    def _enable(self, event: str, fields: tuple[str, ...]) -> None:
        with open(f"{self._room}/events/{event}/format", encoding="ascii") as file:
            text = file.read()
        places = {}
        line = r"field:[^;]*?(\w+)(?:\[\d*\])?;\s*offset:(\d+);\s*size:(\d+);\s*signed:(\d);"
        for name, offset, size, signed in re.findall(line, text):
            if packed := FORMATS.get((int(size), signed == "1")):
                places[name] = (name, struct.Struct(f"<{packed}"), int(offset))
        number = int(re.search(r"^ID: (\d+)$", text, re.MULTILINE)[1])
        self._kinds[number] = Kind(event.rpartition("/")[2], tuple(places[name] for name in fields))
        self._put(f"events/{event}/enable", "1")

    def switch(self, *, on: bool) -> None:
        """Record, or do not."""
        self._put("tracing_on", "1" if on else "0")

    def drain(self) -> list[Event]:
        """What was recorded since the last time, by time. Sets `lost` if some of it was overwritten."""
        found: list[Event] = []
        for pipe in self._pipes:
            while page := self._page(pipe):
                found += self._events(page)
        found.sort(key=lambda event: event.at_ns)
        return found

    def _page(self, pipe: int) -> bytes:
        try:
            return os.read(pipe, PAGE)
        except BlockingIOError:
            return b""

    def _events(self, page: bytes) -> list[Event]:
        now_ns, used = HEAD.unpack_from(page)
        self.lost = self.lost or bool(used & LOST)
        at, end, found = HEAD.size, HEAD.size + (used & 0xFFFFF), []
        while at < end:
            word, more = struct.unpack_from("<II", page, at)[:2] if at + 8 <= len(page) else (0, 0)
            kind, delta = word & 31, word >> 5
            if kind == EXTENSION:
                now_ns += delta + (more << 27)
                at += 8
            elif kind == STAMP:
                now_ns = (now_ns >> 59 << 59) | (delta + (more << 27))
                at += 8
            elif kind == PADDING:
                if not delta:
                    break
                now_ns += delta
                at += 4 + more
            else:
                now_ns += delta
                body = at + 4 if kind else at + 8
                at = body + (kind * 4 if kind else more - 4)
                if event := self._event(page, body, now_ns):
                    found.append(event)
        return found

    def _event(self, page: bytes, at: int, now_ns: int) -> Event | None:
        number, _, _, pid = struct.unpack_from("<HBBi", page, at)
        kind = self._kinds.get(number)
        if kind is None:
            return None
        fields = {name: packed.unpack_from(page, at + where)[0] for name, packed, where in kind.fields}
        return Event(now_ns, pid, kind.name, fields)

    def close(self) -> None:
        """Remove the instance."""
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes.clear()
        with suppress(FileNotFoundError):
            self._put("tracing_on", "0")
            self._put("events/enable", "0")
            os.rmdir(self._room)
        os.close(self._mount)
