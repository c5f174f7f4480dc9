"""Real programs under test: found, asked, killed, and asked again."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_kit import LivePair, kill_guards, kill_watchers, until, wait_running

from twinwatch.core.values import Phase

PATIENT = {"backoff": {"initial": "100ms", "max": "500ms", "burst": 20}}


def program_of(name: str, *places: str) -> str:
    path = os.pathsep.join((*places, os.environ["PATH"], "/usr/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"interpreter absent: {name}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, question: bytes) -> bytes:
    """What the server says; nothing while it does not serve."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            link.sendall(question)
            answer = b""
            while piece := link.recv(65536):
                answer += piece
            return answer
    except OSError:
        return b""


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def check_service(pair: LivePair, name: str, serves: Callable[[], bool], *, has_children: bool) -> None:
    """KILL of the main process: back, once, serving. KILL of all guards: the same process serves on."""
    until(serves, f"{name} serves")
    for generation in (2, 3):
        slot = pair.worker(name)
        if has_children:
            until(lambda pid=slot.identity.pid: children_of(pid), "it has children")
        old = children_of(slot.identity.pid)
        pair.kill(slot.identity)
        born = wait_running(pair, name, generation=generation)[0]
        assert born.identity.pid not in old
        until(serves, f"{name} serves again")
        now = pair.worker(name)
        assert (now.phase, now.generation) == (Phase.RUNNING, generation), "it came back once"
        assert not [
            pid
            for pid in old
            if os.path.exists(f"/proc/{pid}") and is_same_program(pid, name, now.identity.pid)
        ]
    slot = pair.worker(name)
    kill_watchers(pair)
    assert pair.worker(name).identity == slot.identity
    assert serves()
    kill_guards(pair)
    assert serves(), "with nobody guarding it"
    pair.up()
    assert pair.worker(name).identity == slot.identity, "adopted"
    assert serves()
    pair.call("stop", "-p", pair.name, name, "--timeout", "60s")
    assert not serves()


def is_same_program(pid: int, _name: str, main: int) -> bool:
    """A process with this PID runs what the worker runs, and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (
            state[0] not in "ZX"
            and int(state[2]) != main
            and os.readlink(f"/proc/{pid}/exe") == os.readlink(f"/proc/{main}/exe")
        )
    except OSError:
        return False
