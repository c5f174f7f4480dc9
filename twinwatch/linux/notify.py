"""The notify socket: one for all workers of a pair, read by both watchers, and nothing said to it is lost.

A datagram is peeked at, recorded, then consumed, all under the reader lock. So a reader that is killed
before it has recorded leaves the datagram, one that is killed after it leaves a datagram that the next
one records again (which changes nothing), and nobody consumes what was not recorded. The reader lock
is never waited for, and a stopped reader keeps it no longer than its twin lets it stand still.

Who sent is said by the kernel. Only root can name another process as the sender; systemd-notify does so
for its parent. `net.unix.max_dgram_qlen` bounds how many datagrams wait (often 10; SO_RCVBUF has no say
with this kind of socket): then a sender waits, or is told EAGAIN. So each round takes a batch, and a
process that does not read must not keep the descriptor: senders would wait for it for ever.
"""

import errno
import fcntl
import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from twinwatch.core.hints import Self
from twinwatch.core.notice import DATAGRAM_MAX, Notice, parse
from twinwatch.linux.identity import stat_fields

READER_BYTE = (1 << 62) - 1  # of the state file, just below the state lock
BATCH = 32
PATH_MAX = 107  # bytes of a Unix socket's address, without its NUL

_SO_PASSPIDFD = 76  # Linux 6.5
_SCM_PIDFD = 4
_DESCRIPTORS_MAX = 253  # in one datagram
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: PID, UID, GID
_BUSY = frozenset({errno.EAGAIN, errno.EACCES})
_ANCILLARY = (
    socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4) + socket.CMSG_SPACE(4 * _DESCRIPTORS_MAX)
)


class NotifyPathTooLong(Exception):
    """No worker could connect to this path."""

    def __init__(self, path: str) -> None:
        length = len(os.fsencode(path))
        super().__init__(
            f"the notify socket's path has {length} bytes, more than {PATH_MAX}: "
            f"choose a shorter runtime directory or pair name: {path}"
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram and who sent it.

    `pidfd` is the sender's, -1 where the kernel gives none; it is open while the message is being
    recorded, and no longer. `descriptors`: how many came along; they were closed unread.
    """

    pid: int
    uid: int
    gid: int
    pidfd: int
    descriptors: int
    notice: Notice


@dataclass(frozen=True, slots=True)
class _Datagram:
    """`said`: all by which a datagram is told from the next one."""

    said: tuple[bytes, int, int, int, int]
    pidfd: int

    def record(self, record: Callable[[Message], None]) -> None:
        data, pid, uid, gid, descriptors = self.said
        record(Message(pid, uid, gid, self.pidfd, descriptors, parse(data)))

    def close(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)


class ReaderLock:
    """Who holds it reads. `fd`: of the state file, as for the state lock (which it does not touch)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def take(self) -> bool:
        """False: another process reads."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, READER_BYTE)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True

    def free(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, READER_BYTE)


class NotifySocket:
    """The receiving side. `device`, `inode`: of the name it was bound to, as `bind` found it.

    A forked process that keeps the descriptor keeps the object; one that has closed it calls `abandon`.
    """

    def __init__(self, receiver: socket.socket, path: str, device: int, inode: int) -> None:
        self._socket = receiver
        self._path = path
        self.device = device
        self.inode = inode

    @classmethod
    def bind(cls, path: str) -> Self:
        """A new socket at `path`, in place of what was there.

        Everybody may send to it who can reach it: the directory decides that, and `read` says who it was.

        Raises:
            NotifyPathTooLong: no worker could connect to it.
        """
        if len(os.fsencode(path)) > PATH_MAX:
            raise NotifyPathTooLong(path)
        directory, name = os.path.split(path)
        room = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            receiver, status = _make_at(room, name)
        finally:
            os.close(room)
        return cls(receiver, path, status.st_dev, status.st_ino)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Close the descriptor; the name stays, for whoever else reads."""
        self._socket.close()

    def abandon(self) -> None:
        """In a forked child, which has closed the descriptor already: forget it."""
        self._socket.detach()

    def is_at_path(self) -> bool:
        """Whether workers that connect to the path reach this socket."""
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (status.st_dev, status.st_ino) == (self.device, self.inode)

    def has_pending(self) -> bool:
        """Whether there is something unread: while there is, nobody is convicted of silence."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def read(self, record: Callable[[Message], None], lock: ReaderLock, bound: int = BATCH) -> int | None:
        """Record and consume at most `bound` datagrams; how many there were. None: another process reads.

        What `record` raises is passed on, and its datagram stays.
        """
        if not lock.take():
            return None
        try:
            for count in range(bound):
                if not self._read_one(record):
                    return count
            return bound
        finally:
            lock.free()

    def _read_one(self, record: Callable[[Message], None]) -> bool:
        """False: there is none."""
        peeked = self._receive(socket.MSG_PEEK)  # R24
        if peeked is None:
            return False
        try:
            peeked.record(record)
        finally:
            peeked.close()
        taken = self._receive(0)
        if taken is None:
            return True  # gone to a reader that holds another file's lock: it has recorded it too
        try:
            if taken.said != peeked.said:  # such a reader took the first one, and this is the next
                taken.record(record)
        finally:
            taken.close()
        return True

    def _receive(self, flags: int) -> _Datagram | None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                DATAGRAM_MAX + 1, _ANCILLARY, flags | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        sender, pidfd, descriptors = (0, 0, 0), -1, 0
        for level, kind, value in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_RIGHTS:
                descriptors += _close_all(value)
            elif kind == socket.SCM_CREDENTIALS:
                sender = _CREDENTIALS.unpack(value)
            elif kind == _SCM_PIDFD:
                pidfd = max(-1, *struct.unpack("=i", value))  # an errno where the sender is gone
        return _Datagram((data, *sender, descriptors), pidfd)


def _make_at(room: int, name: str) -> tuple[socket.socket, os.stat_result]:
    """`room` is a descriptor of the directory, so that a draft's longer name is no matter."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        _ask_who_sends(receiver)
        return receiver, _place(receiver, room, name)
    except BaseException:
        receiver.close()
        raise


def _ask_who_sends(receiver: socket.socket) -> None:
    """Before anybody can send: an earlier datagram would come without."""
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    try:
        receiver.setsockopt(socket.SOL_SOCKET, _SO_PASSPIDFD, 1)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise


def _place(receiver: socket.socket, room: int, name: str) -> os.stat_result:
    """Give it its name when it is ready."""
    draft = f".{name}.{os.getpid()}"
    _remove(room, draft)  # of a process of this PID that was killed here
    try:
        receiver.bind(f"/proc/self/fd/{room}/{draft}")
        os.chmod(draft, 0o666, dir_fd=room)  # noqa: S103 - see `bind`
        status = os.stat(draft, dir_fd=room, follow_symlinks=False)
        os.rename(draft, name, src_dir_fd=room, dst_dir_fd=room)
    except BaseException:
        _remove(room, draft)
        raise
    return status


def _remove(room: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=room)
    except FileNotFoundError:
        return


def _close_all(packed: bytes) -> int:
    numbers = struct.unpack(f"={len(packed) // 4}i", packed[: len(packed) // 4 * 4])
    for number in numbers:
        with suppress(OSError):  # any errno: a file of the sender's, which cannot be written; it is closed
            os.close(number)
    return len(numbers)


def is_around(message: Message) -> bool:
    """Whether the sender was not collected yet, so that its PID is still its own.

    True after something was looked up by that PID: what was found is the sender's. Without a pidfd it
    only says that some process has the PID.
    """
    if message.pidfd < 0:
        return bool(stat_fields(message.pid))
    try:
        signal.pidfd_send_signal(message.pidfd, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def session_of(pid: int) -> int:
    """The session of a process, 0 where it is not to be seen."""
    fields = stat_fields(pid)
    return int(fields[3]) if fields else 0


def ancestors(pid: int, bound: int = 64) -> tuple[int, ...]:
    """PIDs of its parent, of that one's parent, and so on; at most `bound`."""
    found: list[int] = []
    while len(found) < bound and (fields := stat_fields(pid)) and int(fields[1]) > 0:
        pid = int(fields[1])
        found.append(pid)
    return tuple(found)
