"""A worker that beats until a test tells it otherwise, line by line through a FIFO.

    beating_worker.py LOCK BIRTHS FIFO [FIRST...]

Its first act is to take LOCK, which no second copy can have (as `lone_worker.py`). FIRST are lines that each
generation obeys before it reads any. A line is a word and its argument:

    register NAME PAIR TIMEOUT MISSES   as `twinwatch.register`; it starts itself again by its own command
    beat            from now on beat in each turn, the work counter too; the first one activates
    idle            beat, and let the work counter stand still
    deaf            from now on beat no more, and go on obeying
    sign-off        as said
    every MS        turn so often (20)
    ignore          TERM does nothing any more
    done PATH       all lines before were obeyed: make the file PATH
    end CODE        end
"""

import fcntl
import os
import select
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from twinwatch import Heartbeat, register

TURN_MS = 20


def add(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, text.encode())
    os.close(fd)


class Worker:
    def __init__(self, fifo: str) -> None:
        self._orders = os.open(fifo, os.O_RDWR)
        self._heartbeat = Heartbeat()
        self._mode = "deaf"
        self._turn_ms = TURN_MS

    def turn(self) -> None:
        if self._mode == "beat":
            self._heartbeat.advance()
        elif self._mode == "idle":
            self._heartbeat.beat()

    def next_line(self) -> str:
        """Byte by byte: what is not obeyed is left for the next generation."""
        line = b""
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        while not line.endswith(b"\n"):
            self.turn()
            if poll.poll(self._turn_ms):
                line += os.read(self._orders, 1)
        return line.decode().rstrip("\n")

    def obey(self, line: str) -> None:
        word, *arguments = line.split()
        match word:
            case "register":
                name, pair, timeout, misses = arguments
                command = sys.orig_argv
                own = register(name, float(timeout), command, pair=pair, misses=int(misses))
                self._heartbeat = own.heartbeat
            case "beat" | "idle" | "deaf":
                self._mode = word
            case "sign-off":
                self._mode = "deaf"
                self._heartbeat.sign_off()
            case "every":
                self._turn_ms = int(arguments[0])
            case "ignore":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            case "done":
                add(arguments[0], "")
            case "end":
                os._exit(int(arguments[0]))
            case _:
                os._exit(98)


def main() -> None:
    lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
    birth = f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')}\n"
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        add(sys.argv[1] + ".double", birth)
        os._exit(99)
    add(sys.argv[2], birth)
    worker = Worker(sys.argv[3])
    for line in sys.argv[4:]:
        worker.obey(line)
    while True:
        worker.obey(worker.next_line())


if __name__ == "__main__":
    main()
