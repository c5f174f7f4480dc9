"""`socket` over the virtual kernel: Unix datagrams with the sender's credentials and pidfd."""

import errno
import os
import socket
import stat
import struct
from typing import Any

from virtual.files import error
from virtual.kernel import Kernel
from virtual.modules import pass_constants
from virtual.things import Datagram, DatagramSocket, PidFd

_CREDENTIALS = struct.Struct("=iII")
_SCM_PIDFD = 4


class _Socket:
    """Its object is shared by a fork; `calls` resolves the name that it is bound to."""

    def __init__(self, kernel: Kernel, calls: Any, kind: int) -> None:
        self._kernel, self._calls = kernel, calls
        self._fd = kernel.install(DatagramSocket(nonblocking=bool(kind & socket.SOCK_NONBLOCK)))

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            self._kernel.close(self._kernel.current, self._fd)
            self._fd = -1

    def detach(self) -> int:
        fd, self._fd = self._fd, -1
        return fd

    def setsockopt(self, _level: int, _option: int, _value: int) -> None:
        return None

    def bind(self, path: str) -> None:
        self._kernel.point("bind", path)
        files, what = self._kernel.files, self._kernel.what(self._fd)
        node = files.link_new(self._calls._path(path), files.new(stat.S_IFSOCK, 0o755))
        node.socket = what

    def recvmsg(self, size: int, _ancillary: int, flags: int) -> tuple[bytes, list, int, None]:
        peeks = bool(flags & socket.MSG_PEEK)
        self._kernel.point("recvmsg", "peek" if peeks else "take")
        what = self._kernel.what(self._fd)
        assert isinstance(what, DatagramSocket)
        if not what.queue:
            raise error(errno.EAGAIN)
        said = what.queue[0] if peeks else what.queue.popleft()
        credentials = _CREDENTIALS.pack(said.sender.pid, said.uid, said.gid)
        pidfd = self._kernel.install(PidFd(process=said.sender))
        ancillary = [
            (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials),
            (socket.SOL_SOCKET, _SCM_PIDFD, struct.pack("=i", pidfd)),
        ]
        return said.data[:size], ancillary, 0, None


class VirtualSocket:
    def __init__(self, kernel: Kernel, calls: Any) -> None:
        self.kernel, self._calls = kernel, calls
        pass_constants(self, socket)
        self.CMSG_SPACE = socket.CMSG_SPACE

    def socket(self, _family: int, kind: int) -> _Socket:
        return _Socket(self.kernel, self._calls, kind)


def say(kernel: Kernel, path: str, words: bytes) -> bool:
    """What `sd_notify` does. False: nobody is there, or the queue is full."""
    kernel.point("say", os.path.basename(path))
    try:
        node = kernel.files.find(path)
        if node.socket is None:
            return False
        node.socket.put(Datagram(words, kernel.current))
    except OSError as refused:
        if refused.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN, errno.ENOTDIR):
            raise
        return False
    return True
