"""The naive pair of the objection: two processes, each of which looks after the other now and then.

Each one sleeps for the period, asks whether the other's PID still names a process (`kill(pid, 0)`), and if
not starts another one. As good as such a pair can be: it forks instead of executing a program, no zombie is
ever taken for a living process (whoever starts it ignores SIGCHLD), and a newborn knows both PIDs.

Between two looks nobody watches. Both are gone if the second one dies before its next look, whatever the
machine: with the gap g between the two kills and the period T that is all but g / T of the trials.
"""

import os
import time
from typing import NoReturn

from baselines.member import Onlooker, leave, twin_of


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # the very check of the objection: signal 0 is never delivered
    except ProcessLookupError:
        return False
    return True


def start_pair(onlooker: Onlooker, period_s: float, first_s: tuple[float, float]) -> NoReturn:
    """Become a; b is its child. `first_s`: how long each sleeps before its first look."""
    mine, role, first = os.getpid(), b"a", first_s[0]
    twin = os.fork()
    if twin == 0:
        twin, role, first = mine, b"b", first_s[1]
    onlooker.announce(role)
    watch(onlooker, role, twin, period_s, first)


def watch(onlooker: Onlooker, role: bytes, twin: int, period_s: float, first_s: float) -> NoReturn:
    pause = first_s
    while True:
        time.sleep(pause)
        pause = period_s
        if onlooker.is_gone():
            leave()
        if is_running(twin):
            continue
        mine = os.getpid()
        twin = os.fork()
        if twin == 0:
            twin, role = mine, twin_of(role)
            onlooker.announce(role)
