"""examples/deaf_worker.py fails in the ways that its first lines name."""

import os
import signal
import socket
import struct
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_pair import until

from twinwatch.client.heartbeat import LAYOUT, SIZE, VARIABLE

PROGRAM = Path(__file__).resolve().parents[2] / "examples/deaf_worker.py"


class Worker:
    def __init__(self, file, process):
        self.file, self.process = file, process
        self.port = int(self.line().rpartition("port ")[2])

    def line(self):
        return self.process.stdout.readline().decode().rstrip()

    def read(self):
        sequence, _, progress, _ = struct.unpack(LAYOUT, self.file.read_bytes())
        return sequence, progress

    def answer(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=60) as page:
            return page.read()

    def tell(self, number):
        self.process.send_signal(number)


@contextmanager
def running(directory, environ):
    file = directory / "heartbeat"
    file.write_bytes(bytes(SIZE))
    command = [sys.executable, str(PROGRAM), "0"]
    with (
        (directory / "errors").open("wb") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **environ, VARIABLE: str(file)}
        ) as process,
    ):
        try:
            yield Worker(file, process)
        finally:
            process.kill()


@pytest.fixture
def worker(tmp_path):
    with running(tmp_path, {"TWINWATCH_GENERATION": "3"}) as found:
        yield found


def test_it_answers_beats_and_counts(worker):
    assert worker.answer() == b"generation 3\n"
    sequence, progress = worker.read()
    until(lambda: worker.read()[0] > sequence and worker.read()[1] > progress)


def test_deaf(worker):
    worker.answer()
    worker.tell(signal.SIGUSR2)
    assert "deaf" in worker.line()
    seen = worker.read()
    with socket.create_connection(("127.0.0.1", worker.port), timeout=0.5) as visitor:
        visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            visitor.recv(1)
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    assert ignored & 1 << signal.SIGTERM - 1 and ignored & 1 << signal.SIGINT - 1
    assert worker.process.poll() is None
    assert worker.read() == seen


def test_idle(worker):
    worker.answer()
    worker.tell(signal.SIGHUP)
    assert "idle" in worker.line()
    worker.answer()
    sequence, progress = worker.read()
    until(lambda: worker.read()[0] > sequence + 2)
    assert worker.read()[1] == progress
    assert worker.answer() == b"generation 3\n"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGUSR1, 3), (signal.SIGQUIT, -signal.SIGABRT)],
)
def test_endings(worker, number, code):
    worker.tell(number)
    assert worker.process.wait() == code


def test_a_visitor_who_leaves_early_is_no_error(worker):
    with socket.create_connection(("127.0.0.1", worker.port)) as visitor:
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert worker.answer() == b"generation 3\n"
    assert worker.file.with_name("errors").read_bytes() == b""


def test_a_visitor_who_says_nothing_keeps_nobody_waiting_for_long(worker):
    with socket.create_connection(("127.0.0.1", worker.port)):
        assert worker.answer() == b"generation 3\n"
