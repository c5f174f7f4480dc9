"""scripts/start-pair: from a configuration to a whole pair, and back."""

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from live_pair import ROOM, LivePair

from twinwatch.cli import parser
from twinwatch.config.load import load

CHECKOUT = ROOM.parents[1]
START = CHECKOUT / "scripts/start-pair"
DEMO = CHECKOUT / "examples/demo.yaml"


def start(pair: LivePair, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script in the environment that runs this test."""
    environ = {name: value for name, value in pair.environ.items() if name != "XDG_RUNTIME_DIR"}
    return subprocess.run(
        [str(START), *arguments],
        env=environ | {"TWINWATCH_VENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def configure(pair: LivePair, port: int) -> None:
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    pair.configure(f"  web:\n    command: {json.dumps(command)}\n")


def next_steps(output: str) -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in output.partition("try next:\n")[2].splitlines()]


def test_up_again_and_down(pair: LivePair, port: int):
    configure(pair, port)
    first = start(pair, str(pair.config))
    assert first.returncode == 0, first.stderr
    pids = [str(pair.status()["watchers"][role]["pid"]) for role in "ab"]
    steps = next_steps(first.stdout)
    assert ["kill", "-9", *pids] in steps
    with socket.create_connection(("127.0.0.1", port), timeout=30):
        pass

    again = start(pair, str(pair.config))
    assert again.returncode == 0, again.stderr
    assert next_steps(again.stdout) == steps

    down = next(step for step in steps if "--down" in step)
    assert start(pair, *down[1:]).returncode == 0
    assert pair.call("status", "-p", "shop", check=False).returncode == 3


def test_the_commands_that_it_shows_are_commands(
    pair: LivePair, port: int, capsys: pytest.CaptureFixture[str]
):
    configure(pair, port)
    steps = next_steps(start(pair, str(pair.config)).stdout)
    shown = [step for step in steps if Path(step[0]).name == "twinwatch"]
    assert len(shown) >= 2
    for step in shown:
        assert Path(step[0]).exists()
        parser.build().parse_args(step[1:])
    text = START.read_text()
    assert "signal QUIT counter" in text
    assert "logs -f counter" in text


def test_a_taken_port_is_named(pair: LivePair):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        configure(pair, number)
        done = start(pair, str(pair.config))
    assert done.returncode == 1
    assert f"port {number} of worker web is taken" in done.stderr
    assert f"PID {os.getpid()}" in done.stderr
    assert not pair.runtime.exists()


def test_a_wrong_configuration_starts_nothing(pair: LivePair):
    pair.configure("  web: {comand: [sleep, '9']}\n")
    done = start(pair, str(pair.config))
    assert done.returncode == 1
    assert "did you mean 'command'" in done.stderr
    assert not pair.runtime.exists()


@pytest.mark.parametrize("arguments", [("--bogus",), ("one.yaml", "two.yaml")])
def test_usage(pair: LivePair, arguments: tuple[str, ...]):
    assert start(pair, *arguments).returncode == 2


def test_help(pair: LivePair):
    done = start(pair, "--help")
    assert done.returncode == 0
    assert "usage: scripts/start-pair" in done.stdout


def test_the_demo_is_right():
    spec = load(str(DEMO), os.environ)
    assert [(worker.name, worker.instances) for worker in spec.workers] == [("web", 2), ("counter", 1)]
    assert "http://127.0.0.1:18080/" in START.read_text()
    assert "1808{instance}" in spec.workers[0].command
