"""Starts baseline pairs on request, each with a socket to whoever measures it.

    stage.py FD

FD is a socket on which requests come, each with the members' end of the new pair's socket:
`polling PERIOD_S FIRST_A_S FIRST_B_S` or `event`. It is small, so its forks are quick; it is a subreaper and
ignores SIGCHLD, so that the dead are gone at once and no member has to collect them. It ends when FD's
other end is closed.
"""

import ctypes
import gc
import os
import signal
import socket
import sys
from typing import NoReturn

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from baselines import event_pair, polling_pair
from baselines.member import Onlooker

PR_SET_CHILD_SUBREAPER = 36
REQUEST_MAX = 256


def become_member(request: list[str], end: socket.socket) -> NoReturn:
    onlooker = Onlooker(end)
    if request[0] == "polling":
        period_s, first_a_s, first_b_s = map(float, request[1:])
        polling_pair.start_pair(onlooker, period_s, (first_a_s, first_b_s))
    event_pair.start_pair(onlooker)


def main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number, action in ((signal.SIGCHLD, signal.SIG_IGN), (signal.SIGINT, signal.SIG_IGN)):
        signal.signal(number, action)
    gc.disable()  # a collection would write to pages that a fork shares
    while True:
        data, fds, _, _ = socket.recv_fds(requests, REQUEST_MAX, 1)
        if not fds:
            return
        end = socket.socket(fileno=fds[0])
        if os.fork() == 0:
            requests.close()
            become_member(data.decode().split(), end)
        end.close()


if __name__ == "__main__":
    main()
