"""What a descriptor may stand for: files, pipes, pidfds, epoll sets, sockets."""

import errno
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from virtual.files import Inode, Status, drop_record_locks, error

IN, OUT, ERR, HUP = 1, 4, 8, 16
PIPE_BYTES = 65536
QUEUE_MAX = 10  # datagrams, as net.unix.max_dgram_qlen


@dataclass(eq=False)
class Description:
    """An open file description: shared by `dup` and `fork`, gone with its last descriptor."""

    refs: int = 0
    nonblocking: bool = False

    def mask(self) -> int:
        """What poll(2) says of it."""
        return IN | OUT

    def closed_by(self, owner: Any) -> None:
        """A process closed one of its descriptors."""

    def released(self) -> None:
        """The last descriptor is closed."""

    def status(self) -> Status:
        return Inode(1, stat.S_IFIFO).status()


@dataclass(eq=False)
class OpenFile(Description):
    node: Inode = None  # type: ignore[assignment]
    path: str = ""
    at: int = 0
    appends: bool = False
    is_path: bool = False

    def closed_by(self, owner: Any) -> None:
        if not self.is_path:
            drop_record_locks(self.node, owner)

    def released(self) -> None:
        self.node.flocks.pop(self, None)

    def status(self) -> Status:
        return self.node.status()


@dataclass(eq=False)
class ProcFile(Description):
    """A file of /proc: what it says is made when it is read."""

    tell: Callable[[], bytes] = bytes
    path: str = ""


@dataclass(eq=False)
class Pipe:
    data: bytearray = field(default_factory=bytearray)
    readers: int = 0
    writers: int = 0


@dataclass(eq=False)
class PipeEnd(Description):
    pipe: Pipe = field(default_factory=Pipe)
    is_write: bool = False

    def mask(self) -> int:
        if self.is_write:
            room = OUT if len(self.pipe.data) < PIPE_BYTES else 0
            return room | (0 if self.pipe.readers else ERR)
        return (IN if self.pipe.data else 0) | (0 if self.pipe.writers else HUP)

    def released(self) -> None:
        if self.is_write:
            self.pipe.writers -= 1
        else:
            self.pipe.readers -= 1


@dataclass(eq=False)
class PidFd(Description):
    process: Any = None

    def mask(self) -> int:
        if self.process.is_collected:
            return IN | HUP
        return IN if self.process.is_zombie else 0

    def status(self) -> Status:
        process = self.process
        return Status(stat.S_IFREG | 0o600, process.inode or 5, 7 if process.inode else 6, 1, 0, 0, 0, 0)


@dataclass(eq=False)
class EventFd(Description):
    def status(self) -> Status:
        return Status(stat.S_IFREG | 0o600, 5, 6, 1, 0, 0, 0, 0)


@dataclass(eq=False)
class EpollSet(Description):
    """(descriptor, description) -> wanted events; an entry lives as long as its description."""

    watched: dict[tuple[int, Description], int] = field(default_factory=dict)

    def ready(self) -> list[tuple[int, int]]:
        found = []
        for key, wanted in list(self.watched.items()):
            fd, description = key
            if description.refs == 0:
                del self.watched[key]
                continue
            mask = description.mask() & (wanted | ERR | HUP)
            if mask:
                found.append((fd, mask))
        return found

    def mask(self) -> int:
        return IN if self.ready() else 0


@dataclass(frozen=True)
class Datagram:
    data: bytes
    sender: Any  # the process
    uid: int = 0
    gid: int = 0


@dataclass(eq=False)
class DatagramSocket(Description):
    queue: deque[Datagram] = field(default_factory=deque)
    node: Inode | None = None

    def mask(self) -> int:
        return (IN if self.queue else 0) | OUT

    def put(self, datagram: Datagram) -> None:
        if self.refs == 0:
            raise error(errno.ECONNREFUSED)
        if len(self.queue) >= QUEUE_MAX:
            raise error(errno.EAGAIN)
        self.queue.append(datagram)
