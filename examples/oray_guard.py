"""A server that puts itself under guard while it serves, and can be made to stop serving without crashing.

    oray_guard.py [PORT]      port on 127.0.0.1 (18093; 0: one that is free)

Started by the pair (`own` in oray_guard.yaml) it is guarded already. Started by you, it registers as `guest`
of the pair `oray`. Either way:

    kill -USR2 PID    deaf: lives and serves no more. After three seconds it is ended and started again
    kill -QUIT PID    crashes. It is started again at once
    kill -TERM PID    signs off and ends with 0. It is not started again

A guardian of the kind that inspired it says Initialize, Activate and Dispose; see the three comments.
"""

import os
import signal
import socketserver
import sys
from types import FrameType

import twinwatch

PAIR = "oray"
TIMEOUT_S = 1.0  # three of them without a beat, and it is deaf
TURN_S = 0.2


class Answer(socketserver.StreamRequestHandler):
    """Says which birth of the server answers."""

    timeout = 2

    def handle(self) -> None:
        """One line for each visitor."""
        birth = os.environ.get("TWINWATCH_GENERATION", "none")
        self.wfile.write(f"PID {os.getpid()}, generation {birth}\n".encode())


class Server(socketserver.TCPServer):
    """Beats where it serves, in its loop."""

    allow_reuse_address = True

    def __init__(self, port: int, name: str) -> None:
        """Listen, and do not serve yet."""
        super().__init__(("127.0.0.1", port), Answer)
        command = [sys.executable, os.path.abspath(__file__), str(port)]
        self.guard = twinwatch.register(name, TIMEOUT_S, command, pair=PAIR, directory="/")  # Initialize

    def service_actions(self) -> None:
        """Called in each turn of the serving loop; the first time it really serves."""
        self.guard.beat()  # Activate, and from then on a sign of life

    def leave(self, _number: int, _frame: FrameType | None) -> None:
        """End in order."""
        self.guard.sign_off()  # Dispose
        os._exit(0)


def go_deaf(_number: int, _frame: FrameType | None) -> None:
    """Hold the port and do nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        signal.pause()


def main() -> None:
    """Serve until told otherwise."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 18093
    with Server(port, os.environ.get("TWINWATCH_WORKER", "guest")) as server:
        signal.signal(signal.SIGTERM, server.leave)
        signal.signal(signal.SIGUSR2, go_deaf)
        server.serve_forever(poll_interval=TURN_S)


if __name__ == "__main__":
    main()
