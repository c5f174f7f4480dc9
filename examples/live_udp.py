"""A program that answers `ok` to `hello`, and the question that a guard asks it.

live_udp.py serve PORT     answers over UDP on 127.0.0.1; says WATCHDOG=1 as well, where somebody listens
live_udp.py ask PORT       ends with 0 if `ok` comes within a second

twinwatch -p live signal USR2 NAME    silent: lives, holds its port, and answers no more
"""

import os
import signal
import socket
import sys
from types import FrameType

import twinwatch

TURN_S = 0.2


def fall_silent(_number: int, _frame: FrameType | None) -> None:
    """Live on and say nothing."""
    while True:
        signal.pause()


def serve(port: int) -> None:
    """Answer until told otherwise."""
    signal.signal(signal.SIGUSR2, fall_silent)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", port))
        link.settimeout(TURN_S)
        twinwatch.notify("READY=1", f"STATUS=PID {os.getpid()} answers on port {port}")
        while True:
            twinwatch.notify("WATCHDOG=1")
            try:
                question, asker = link.recvfrom(64)
            except TimeoutError:
                continue
            if question == b"hello":
                link.sendto(b"ok", asker)


def ask(port: int) -> bool:
    """Whether it lives."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(1)
        link.connect(("127.0.0.1", port))
        try:
            link.send(b"hello")
            return link.recv(64) == b"ok"
        except (TimeoutError, ConnectionRefusedError):
            return False


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        sys.exit(not ask(int(sys.argv[2])))
    serve(int(sys.argv[2]))
