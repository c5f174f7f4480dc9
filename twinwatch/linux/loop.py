"""One epoll set, one wake-up pipe for signals, and a heap of deadlines."""

import heapq
import os
import select
import signal
from collections.abc import Hashable

from twinwatch.linux.clock import monotonic_ns

READABLE = select.EPOLLIN
HANGUP_ONLY = 0  # the kernel always reports EPOLLHUP
WAKE_SIGNAL = signal.SIGUSR1
_DRAIN = 4096
WOKEN = ("woken", 0)


class Loop:
    """Keys name what an event is about; they are given back with the events."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, tuple[str, int]] = {}
        self._heap: list[tuple[int, int, Hashable]] = []  # (due, serial, key): keys have no order
        self._serial = 0
        self._due: dict[Hashable, int] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.add(self._wake_read, WOKEN)

    def catch_wake_signal(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(WAKE_SIGNAL, _noted)

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def abandon(self) -> None:
        """In a forked child, which has closed the descriptors already: forget the set (R11)."""
        self._epoll.close()

    def add(self, fd: int, key: tuple[str, int], events: int = READABLE) -> None:
        self._keys[fd] = key
        self._epoll.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        if fd in self._keys:
            self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Always before the descriptor is closed: a forked child may still hold it open."""
        if self._keys.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def set_deadline(self, key: Hashable, due_ns: int | None) -> None:
        if due_ns is None:
            self._due.pop(key, None)
        elif self._due.get(key) != due_ns:
            self._due[key] = due_ns
            self._serial += 1
            heapq.heappush(self._heap, (due_ns, self._serial, key))

    def take_due(self, now_ns: int) -> list[Hashable]:
        """Keys whose deadline has passed; each is given once."""
        due = []
        while self._heap and self._heap[0][0] <= now_ns:
            at_ns, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == at_ns:
                del self._due[key]
                due.append(key)
        return due

    def wait(self, *, block: bool = True) -> list[tuple[str, int]]:
        """Keys of what is ready; returns at the next deadline at the latest."""
        timeout = 0.0
        if block:
            timeout = max(self._heap[0][0] - monotonic_ns(), 0) / 1e9 if self._heap else -1
        events = []
        for fd, _ in self._epoll.poll(timeout):
            key = self._keys.get(fd)
            if key is WOKEN:
                self._drain()
            if key is not None:
                events.append(key)
        return events

    def _drain(self) -> None:
        try:
            os.read(self._wake_read, _DRAIN)
        except BlockingIOError:
            return


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor has said it all."""
