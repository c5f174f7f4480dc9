"""A worker that says to its notify socket what a test tells it to, line by line through a FIFO.

    notify_worker.py FIFO [FIRST...]

FIRST are lines that each generation obeys before it reads any. A line is a word and its argument:

    say TEXT        one datagram; `|` in TEXT is a newline, `{pid}` its own PID
    keep TEXT       the same with a descriptor
    barrier PATH    wait until all said before was read, then make the file PATH
    beat MS         from now on WATCHDOG=1 so often; 0: no more
    flood           say WATCHDOG=1 without end
    daemon          a child in a session of its own obeys from now on and is named as the main process; this one
                    waits until that was read, and ends well
    environ PATH    write down what it was given
    from N LINE     from the Nth generation on: obey LINE
    end CODE        end
"""

import os
import select
import signal
import socket
import sys

BEAT = "WATCHDOG=1"


class Puppet:
    def __init__(self, fifo: str) -> None:
        self._orders = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self._hold = os.open(fifo, os.O_WRONLY)  # so that the FIFO has no end
        os.set_blocking(self._orders, True)
        self._beat_ms = 0

    def next_line(self) -> str:
        """Byte by byte: what is not obeyed is left for the next generation."""
        line = b""
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        while not line.endswith(b"\n"):
            if poll.poll(self._beat_ms or None):
                line += os.read(self._orders, 1)
            else:
                say(BEAT)
        return line.decode().rstrip("\n")

    def obey(self, line: str) -> None:
        word, _, argument = line.partition(" ")
        match word:
            case "say":
                say(argument)
            case "keep":
                say(argument, 0)
            case "barrier":
                barrier()
                os.close(os.open(argument, os.O_WRONLY | os.O_CREAT, 0o600))
            case "beat":
                self._beat_ms = int(argument)
            case "flood":
                while True:
                    say(BEAT)
            case "daemon":
                daemonize()
            case "environ":
                write_environ(argument)
            case "from":
                first, _, then = argument.partition(" ")
                if int(os.environ["TWINWATCH_GENERATION"]) >= int(first):
                    self.obey(then)
            case "end":
                os._exit(int(argument))
            case _:
                raise ValueError(line)


def say(text: str, *fds: int) -> None:
    data = text.replace("|", "\n").replace("{pid}", str(os.getpid())).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.connect(os.environ["NOTIFY_SOCKET"])
            socket.send_fds(sender, [data], fds)
        except (ConnectionRefusedError, FileNotFoundError):
            return  # nobody guards it now


def barrier() -> None:
    ear, mouth = os.pipe()
    say("BARRIER=1", mouth)
    os.close(mouth)
    poll = select.poll()
    poll.register(ear, 0)
    poll.poll()
    os.close(ear)


def daemonize() -> None:
    ear, mouth = os.pipe()
    if os.fork() == 0:
        os.close(ear)
        os.setsid()
        say("MAINPID={pid}|READY=1")
        os.close(mouth)
        return
    os.close(mouth)
    os.read(ear, 1)
    barrier()
    os._exit(0)


def write_environ(path: str) -> None:
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    text = "".join(f"{name}={os.environ.get(name, '')}\n" for name in names) + f"pid={os.getpid()}\n"
    fd = os.open(f"{path}.draft", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(fd, text.encode())
    os.close(fd)
    os.rename(f"{path}.draft", path)


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
puppet = Puppet(sys.argv[1])
for first in sys.argv[2:]:
    puppet.obey(first)
while True:
    puppet.obey(puppet.next_line())
