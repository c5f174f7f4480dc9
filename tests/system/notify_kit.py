"""Workers that speak sd_notify, from a test's side: puppets, and what a pair is asked about them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker_kit import TIRELESS, LivePair, background, entry, program, until, wait_phase

from twinwatch.core.record import Slot
from twinwatch.core.values import Phase

READY = {"notify": True, "timeout": "60s"}
PROBE = (
    "import os, socket, sys\n"
    "with socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=30) as link:\n"
    "    link.sendall(sys.argv[2].encode().decode('unicode_escape').encode())\n"
    "    answer = link.recv(4096)\n"
    "fd = os.open(sys.argv[3] + '.draft', os.O_WRONLY | os.O_CREAT, 0o644)\n"
    "os.write(fd, answer)\n"
    "os.close(fd)\n"
    "os.rename(sys.argv[3] + '.draft', sys.argv[3])\n"
)


class Puppet:
    """A worker that obeys; what one generation does not obey any more, the next one does."""

    def __init__(self, pair: LivePair, name: str) -> None:
        self.name = name
        self._pair = pair
        self._fifo = pair.directory / f"{name}.orders"
        os.mkfifo(self._fifo)
        self._orders = os.open(self._fifo, os.O_RDWR | os.O_CLOEXEC)
        self._barriers = 0

    def close(self) -> None:
        os.close(self._orders)

    def entry(self, *first: str, **keys: object) -> str:
        """YAML of it; ready when it says so."""
        keys = {"ready": READY, "restart": TIRELESS, "stop": {"timeout": "5s"}} | keys
        return entry(self.name, program("notify_worker.py", self._fifo, *first), **keys)

    def tell(self, *lines: str) -> None:
        os.write(self._orders, "".join(f"{line}\n" for line in lines).encode())

    def tell_and_wait(self, *lines: str) -> None:
        """All that it says by these lines has been read when this returns."""
        self._barriers += 1
        path = self._pair.directory / f"{self.name}.barrier.{self._barriers}"
        self.tell(*lines, f"barrier {path}")
        until(path.exists, f"{self.name} said {lines}, and it was read")

    def environ(self) -> dict[str, str]:
        path = self._pair.directory / f"{self.name}.environ"
        self.tell(f"environ {path}")
        until(path.exists, f"{self.name} has written down its environment")
        return dict(line.split("=", 1) for line in path.read_text().splitlines())


@contextmanager
def puppets(pair: LivePair, *names: str) -> Iterator[list[Puppet]]:
    made = [Puppet(pair, name) for name in names]
    try:
        yield made
    finally:
        for puppet in made:
            puppet.close()


@contextmanager
def upcoming(pair: LivePair, *labels: str) -> Iterator[None]:
    """`up` is under way, and these workers run, not ready yet; at the end it is awaited: all are ready then."""
    with background(pair, "up", str(pair.config)) as call:
        until(lambda: call.poll() is not None or are_running(pair, labels), f"{labels} run")
        if call.poll() is None:
            yield
        output, errors = call.communicate(timeout=120)
        assert call.returncode == 0, output + errors


def are_running(pair: LivePair, labels: tuple[str, ...]) -> bool:
    if not (pair.runtime / "state").exists():
        return False
    now = pair.workers()
    return all(label in now and now[label].phase is Phase.RUNNING for label in labels)


def wait_ready(pair: LivePair, label: str, generation: int = 0) -> Slot:
    found: list[Slot] = []

    def is_ready() -> bool:
        slot = pair.worker(label)
        if slot.ready and slot.phase is Phase.RUNNING and slot.generation >= generation:
            found.append(slot)
        return bool(found)

    until(is_ready, f"{label} is ready in generation {generation} or later")
    return found[0]


def wait_born(pair: LivePair, label: str, generation: int) -> Slot:
    return wait_phase(pair, label, Phase.RUNNING, generation=generation)


def wait_note(pair: LivePair, label: str, text: str) -> None:
    until(lambda: text in pair.worker(label).note, f"{label} says {text!r}")


def asker(name: str, port: int, question: str, answer: Path, on: str) -> str:
    """YAML of a job that depends on `on`, asks it once in its first moment, and keeps the answer.

    It asks before it could be lucky: where `on` is depended on before it serves, nothing is kept.
    """
    command = [sys.executable, "-I", "-S", "-c", PROBE, str(port), question, str(answer)]
    return entry(name, command, depends_on=[on], restart={"policy": "never"})
