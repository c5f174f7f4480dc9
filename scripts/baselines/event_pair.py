"""A pair that does not poll: each one sleeps on the other's pidfd and forks another one when that is dead.

As good as a pair can be that has no child ready before it is needed. What is left of the window is the way
from the death to the end of the fork: wake up, fork, and the newborn is there. It holds a pidfd of its
parent, opened before the fork, so it needs no PID and misses no death.
"""

import os
import select
from typing import NoReturn

from baselines.member import Onlooker, leave, twin_of


def start_pair(onlooker: Onlooker) -> NoReturn:
    """Become a; b is the first child."""
    onlooker.announce(b"a")
    watch(onlooker, b"a", None)


def watch(onlooker: Onlooker, role: bytes, twin: int | None) -> NoReturn:
    """`twin`: a pidfd; None: there is none yet, or it was dead and gone before one could be opened."""
    mine = os.pidfd_open(os.getpid())
    while True:
        if twin is not None:
            wait_dead(onlooker, twin)
            os.close(twin)
        child = os.fork()
        if child == 0:
            twin, role = mine, twin_of(role)
            mine = os.pidfd_open(os.getpid())
            onlooker.announce(role)
        else:
            twin = open_child(child)


def wait_dead(onlooker: Onlooker, pidfd: int) -> None:
    """Sleep until the process is dead; leave when nobody looks on any more."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(onlooker.end, 0)
    ready = {fd for fd, _ in poll.poll()}
    if onlooker.end.fileno() in ready:
        leave()


def open_child(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
