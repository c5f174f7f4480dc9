"""A server for trying things: it answers, beats and counts, and goes deaf on request.

    deaf_worker.py [PORT]                port on 127.0.0.1 (18090; 0: one that is free)

    twinwatch -p demo signal USR2 NAME   deaf: lives, but neither answers nor beats, and ignores TERM and INT
    twinwatch -p demo signal HUP NAME    idle: answers and beats, but what it counts as its work stands still
    twinwatch -p demo signal USR1 NAME   fails with 3
    twinwatch -p demo signal QUIT NAME   crashes: SIGABRT
    twinwatch -p demo stop NAME          TERM: says so, ends with 0

A watcher of deaths alone sees neither the deaf one nor the idle one. Without watchers it runs as well.
"""

import faulthandler
import os
import signal
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler
from types import FrameType

from twinwatch import Heartbeat

FAILED = 3
TURN_S = 0.2  # how often the serving loop turns when nobody asks


def say(text: str) -> None:
    """One line in one write, so that a kill cuts no line in two."""
    os.write(sys.stdout.fileno(), f"{time.strftime('%H:%M:%S')} {text}\n".encode())


def end(_number: int, _frame: FrameType | None) -> None:
    """End in order."""
    say("asked to end: done")
    os._exit(0)


def fail(_number: int, _frame: FrameType | None) -> None:
    """End with an error."""
    say(f"failing with {FAILED}")
    os._exit(FAILED)


def crash(_number: int, _frame: FrameType | None) -> None:
    """End as a program with a bug does."""
    say("crashing")
    faulthandler.enable()
    os.abort()


def go_deaf(_number: int, _frame: FrameType | None) -> None:
    """Hold the port and do nothing: who connects waits in vain."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    say("deaf: alive, but no use to anybody")
    while True:
        signal.pause()


class Answer(BaseHTTPRequestHandler):
    """Says which birth of the worker answers."""

    timeout = 0.5  # seconds for a visitor that says nothing: one at a time is served

    def do_GET(self) -> None:
        """Answer whatever is asked for."""
        text = f"generation {os.environ.get('TWINWATCH_GENERATION', 'none')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Not a line for each visitor."""


class Server(socketserver.TCPServer):
    """Beats where it serves, in its loop: who beats is who works."""

    allow_reuse_address = True

    def __init__(self, port: int, heartbeat: Heartbeat) -> None:
        """Listen, and do not serve yet."""
        super().__init__(("127.0.0.1", port), Answer)
        self.heartbeat = heartbeat
        self.is_idle = False

    def service_actions(self) -> None:
        """Called in each turn of the serving loop: a turn is its piece of work."""
        if self.is_idle:
            self.heartbeat.beat()
        else:
            self.heartbeat.advance()

    def handle_error(self, *_: object) -> None:
        """A visitor who left early is no error."""

    def go_idle(self, _number: int, _frame: FrameType | None) -> None:
        """From now on beat without doing anything."""
        self.is_idle = True
        say("idle: beating, but its work stands still")


def main() -> None:
    """Serve until told otherwise."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 18090
    with Heartbeat() as heartbeat, Server(port, heartbeat) as server:
        for number, act in {
            signal.SIGTERM: end,
            signal.SIGINT: end,
            signal.SIGHUP: server.go_idle,
            signal.SIGUSR1: fail,
            signal.SIGQUIT: crash,
            signal.SIGUSR2: go_deaf,
        }.items():
            signal.signal(number, act)
        birth = os.environ.get("TWINWATCH_GENERATION", "none")
        say(f"begin: PID {os.getpid()}, generation {birth}, port {server.server_address[1]}")
        server.serve_forever(poll_interval=TURN_S)


if __name__ == "__main__":
    main()
