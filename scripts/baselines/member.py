"""What both baseline pairs share: how a member says that it was born, and knows whether anybody looks on.

Every member of a pair inherits one end of a socket. Through it each newborn hands its role and a pidfd of its
own to whoever measures. The socket ends for the measurer when no member is left, and for the members
when the measurer has gone: then they leave, so that no pair outlives its experiment.
"""

import os
import select
import socket
from typing import NoReturn

ROLES = (b"a", b"b")


def twin_of(role: bytes) -> bytes:
    return ROLES[role == ROLES[0]]


class Onlooker:
    """The measurer, as a member sees it."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def announce(self, role: bytes) -> None:
        """Say that this process holds the role from now on."""
        own = os.pidfd_open(os.getpid())
        try:
            socket.send_fds(self.end, [role], [own])
        except (BrokenPipeError, ConnectionResetError):
            leave()
        finally:
            os.close(own)

    def is_gone(self) -> bool:
        poll = select.poll()
        poll.register(self.end, 0)
        return bool(poll.poll(0))


def leave() -> NoReturn:
    os._exit(0)
