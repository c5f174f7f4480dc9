"""Trials with the baseline pairs: a fresh pair for each, killed, and watched until it is whole or gone."""

import os
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from survival import blow
from survival.outcome import PATIENCE_S, Trial

from twinwatch.linux.identity import is_dead

STAGE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../baselines/stage.py")


class Pair:
    """One baseline pair, as its measurer sees it. `holders`: role to a pidfd of the newest process in it."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.holders: dict[bytes, int] = {}
        self.is_extinct = False

    def listen(self, timeout_s: float) -> bool:
        """Hear of one birth, or that nobody is left. False: nothing was heard."""
        if not select.select([self.end], [], [], max(timeout_s, 0))[0]:
            return False
        role, fds, _, _ = socket.recv_fds(self.end, 8, 1)
        if not fds:
            self.is_extinct = True
            return True
        if role in self.holders:
            os.close(self.holders[role])
        self.holders[role] = fds[0]
        return True

    def is_whole(self) -> bool:
        return len(self.holders) == 2 and not any(map(is_dead, self.holders.values()))

    def wait(self, deadline: float) -> bool:
        """Wait until the pair is whole. False: it is extinct, or the time is over."""
        while not self.is_extinct and not self.is_whole() and time.monotonic() < deadline:
            self.listen(min(0.01, deadline - time.monotonic()))
        return not self.is_extinct and self.is_whole()

    def close(self) -> None:
        """End what is left. A member that this misses leaves at its next look, when the socket has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_extinct and time.monotonic() < deadline:
            blow.kill(self.holders.values())
            self.listen(0.05)
        self.end.close()
        blow.close(self.holders.values())


class Stage:
    """Gives trials of one kind of pair. `period_s` None: the event-driven one."""

    def __init__(self, requests: socket.socket, period_s: float | None) -> None:
        self.requests = requests
        self.period_s = period_s

    def new_pair(self, rng: random.Random) -> Pair:
        """A whole pair. Its looks are at random times from here on, as they are in one that runs for long."""
        words = "event"
        if self.period_s is not None:
            words = f"polling {self.period_s} {rng.uniform(0, self.period_s)} {rng.uniform(0, self.period_s)}"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self.requests, [words.encode()], [theirs.fileno()])
        pair = Pair(ours)
        if not pair.wait(time.monotonic() + PATIENCE_S):
            pair.close()
            raise RuntimeError("a baseline pair does not start")
        return pair

    def trial(self, rng: random.Random, gap_ns: int) -> Trial:
        pair = self.new_pair(rng)
        try:
            first, second = rng.sample(sorted(pair.holders.values()), 2)
            killed = [os.dup(first), os.dup(second)]
            actual_ns = blow.strike(first, gap_ns, lambda: [second])
            survived = wait_outcome(pair, killed)
            blow.close(killed)
            is_stuck = not survived and not pair.is_extinct
        finally:
            pair.close()
        return Trial(survived, actual_ns, is_stuck=is_stuck)


def wait_outcome(pair: Pair, killed: list[int]) -> bool:
    """A signal that was sent is not a death: first the killed have to be dead."""
    deadline = time.monotonic() + PATIENCE_S
    while not all(map(is_dead, killed)) and time.monotonic() < deadline:
        select.select(killed, [], [], 0.01)
    return pair.wait(deadline)


@contextmanager
def stage(period_s: float | None) -> Iterator[Stage]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, "-I", "-S", STAGE, str(theirs.fileno())]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]):
            theirs.close()
            try:
                yield Stage(ours, period_s)
            finally:
                ours.close()  # the stage ends with it
