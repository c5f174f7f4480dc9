"""Every file in examples/ can be tried, and does what its first lines say."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from beating_kit import outside
from service_kit import free_port
from worker_kit import LivePair, kill_guards, shown, until, wait_change, wait_guarded, wait_phase

from twinwatch.core.record import Slot
from twinwatch.core.values import Ending, ExitKind, Health, Phase

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
CONFIGURATIONS = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
TRIED = {  # in tests of their own; demo.yaml needs two ports in a row
    *("demo.yaml", "oray_guard.yaml", "table_of_processes.yaml", "reliable_daemon.yaml"),
    *("sequence_heartbeat.yaml", "live_udp.yaml"),
}
PORT = re.compile(r"\b18\d{3}\b")


class Example(LivePair):
    """A copy of examples/ in which one configuration is tried, with ports that are free."""

    def __init__(self, directory: Path, file: str) -> None:
        found = re.search(r"^pair: (\S+)$", (EXAMPLES / file).read_text("utf-8"), re.MULTILINE)
        assert found
        super().__init__(directory, found[1])
        (directory / "twinwatch").symlink_to(ROOT / "twinwatch")
        self.room = directory / "examples"
        shutil.copytree(EXAMPLES, self.room, ignore=shutil.ignore_patterns("__pycache__"))
        self.config = self.room / file
        self.ports: dict[str, int] = {}
        text = PORT.sub(lambda match: str(self.port(match[0])), self.config.read_text("utf-8"))
        self.config.write_text(text.replace("/tmp/", f"{directory}/"), encoding="utf-8")
        self.environ["PATH"] = f"{Path(sys.executable).parent}:{self.environ['PATH']}"

    def port(self, written: str) -> int:
        return self.ports.setdefault(written, free_port())

    def signal(self, name: str, *labels: str) -> None:
        self.call("signal", "-p", self.name, name, *labels)

    def wait_well(self, label: str, generation: int = 1) -> Slot:
        found: list[Slot] = []

        def is_well() -> bool:
            slot = self.workers().get(label)
            if slot and slot.phase is Phase.RUNNING and slot.ready and slot.generation >= generation:
                found.extend([slot] if slot.health is Health.HEALTHY else [])
            return bool(found)

        until(is_well, f"{label} is ready and well in generation {generation} or later")
        return found[0]


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Example]:
    live = Example(tmp_path, request.param)
    yield live
    crashed = live.crashes()
    live.end()
    assert "Traceback" not in crashed, crashed


def of(*files: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "example", files, indirect=True, ids=[name.partition(".")[0] for name in files]
    )


def compiler() -> None:
    if shutil.which("cc") is None:
        pytest.skip("interpreter absent: cc")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_it_is_right(pair: LivePair, name: str):
    path = EXAMPLES / name
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    said = subprocess.run(
        [sys.executable, "-m", "twinwatch", "check", str(path)],
        env=pair.environ | {"PATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.startswith(f"{path}: ok: pair "), said.stderr


@of(*(name for name in CONFIGURATIONS if name not in TRIED))
def test_it_comes_up(example: Example):
    """Whatever is not meant to fail runs."""
    example.call("up", str(example.config), check=False)
    wait_guarded(example)

    def lost() -> list[str]:
        workers = example.status()["workers"]
        return [w["name"] for w in workers if w["phase"] != "running" and w["name"] != "broken"]

    until(lambda: not lost(), "all run")


# ---------------------------------------------------------------- OrayGuard


def answer(port: int) -> str:
    """What the server says; '' while it does not serve."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            link.settimeout(5)
            return link.recv(200).decode()
    except OSError:
        return ""


@of("oray_guard.yaml")
def test_oray_guard(example: Example):
    """Deaf, crashed, signed off: one that the pair started, and one that came by itself."""
    example.up()
    guest = free_port()
    program = [sys.executable, str(example.room / "oray_guard.py"), str(guest)]
    with outside(example, *program) as process:
        assert (example.wait_well("own").generation, example.wait_well("guest").identity.pid) == (
            1,
            process.pid,
        )
        assert answer(example.port("18092")).endswith("generation 1\n")
        assert answer(guest) == f"PID {process.pid}, generation none\n"
        example.signal("USR2", "own", "guest")
        for label, port in (("own", example.port("18092")), ("guest", guest)):
            slot = example.wait_well(label, 2)
            assert (slot.generation, slot.exit.ending) == (2, Ending.UNHEALTHY)
            assert answer(port) == f"PID {slot.identity.pid}, generation 2\n"
        assert process.wait(60) == -signal.SIGTERM
        example.signal("QUIT", "own", "guest")
        assert [example.wait_well(label, 3).exit.signal for label in ("own", "guest")] == [signal.SIGQUIT] * 2
        example.signal("TERM", "own", "guest")
        for label in ("own", "guest"):
            slot = wait_phase(example, label, Phase.STOPPED)
            assert (slot.generation, slot.exit.kind, slot.signed_off) == (3, ExitKind.CLEAN, True)


# ---------------------------------------------------------------- checkproc


@of("table_of_processes.yaml")
def test_table_of_processes(example: Example):
    """Who is late is ended and started again, in its own time and not on somebody's grid; and it is told."""
    example.up()
    slots = {label: example.wait_well(label) for label in ("shell", "python")}
    example.signal("STOP", "python")
    slot = example.wait_well("python", 2)
    assert (slot.exit.signal, slot.exit.ending) == (signal.SIGTERM, Ending.UNHEALTHY)
    assert example.worker("shell").identity == slots["shell"].identity
    told = example.directory / "twinwatch-table.txt"
    until(lambda: told.exists() and "python" in told.read_text(), "somebody was told")
    table = {worker["name"] for worker in example.status()["workers"] if not worker["internal"]}
    assert table == {"shell", "python"}


# ---------------------------------------------------------------- a reliable daemon


@of("reliable_daemon.yaml")
def test_reliable_daemon(example: Example):
    """Started again after all but a clean exit, and every exit is decoded."""
    example.up()
    for number, (name, kind, code, fatal_signal) in enumerate(
        (("USR1", "error", 3, None), ("QUIT", "signal", None, 6), ("KILL", "signal", None, 9)), 1
    ):
        until(lambda n=number: says(example, n), "it obeys signals")
        example.signal(name, "daemon")
        wait_phase(example, "daemon", Phase.RUNNING, generation=number + 1)
        end = shown(example, "daemon")["last_exit"]
        assert (end["kind"], end["code"], end["signal"], end["reason"]) == (kind, code, fatal_signal, None)
    kill_guards(example)
    example.up()
    assert example.worker("daemon").generation == 4, "it did not notice"
    until(lambda: says(example, 4), "it obeys signals")
    example.signal("TERM", "daemon")
    assert wait_phase(example, "daemon", Phase.STOPPED).exit.kind is ExitKind.CLEAN
    assert wait_change(example, "daemon", "stopped")["reason"] == (
        "it ended with success, and the restart policy is on-failure"
    )


def says(example: Example, generation: int) -> bool:
    return f"generation {generation}\n" in (example.kept / "log" / "daemon.log").read_text()


# ---------------------------------------------------------------- a sequence in shared memory


@of("sequence_heartbeat.yaml")
def test_sequence_heartbeat(example: Example):
    compiler()
    example.up()
    slots = {label: example.wait_well(label) for label in ("python", "c")}
    kill_guards(example)
    before = [file.read_bytes()[:8] for file in heartbeats(example)]
    until(lambda: moved(example, before), "both beat on with nobody looking")
    example.up()
    assert {label: example.worker(label).identity for label in slots} == {
        label: slot.identity for label, slot in slots.items()
    }
    example.signal("STOP", "python", "c")
    for label in slots:
        slot = example.wait_well(label, 2)
        assert (slot.generation, slot.exit.ending) == (2, Ending.UNHEALTHY)


def heartbeats(example: Example) -> list[Path]:
    return [example.directory / "run" / f"{example.name}.workers" / f"{name}.0" for name in ("python", "c")]


def moved(example: Example, before: list[bytes]) -> bool:
    return all(file.read_bytes()[:8] != old for file, old in zip(heartbeats(example), before, strict=True))


def test_a_worker_that_nobody_watches_just_runs(tmp_path: Path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TWINWATCH_")}
    command = [sys.executable, str(EXAMPLES / "heartbeat/worker.py"), "2"]
    environ["PYTHONPATH"] = str(ROOT)
    assert subprocess.run(command, env=environ, cwd=tmp_path, check=False).returncode == 0


# ---------------------------------------------------------------- "Live", over UDP


@of("live_udp.yaml")
def test_live_udp(example: Example):
    """Silent or absent: started again."""
    example.up()
    for label in ("asked", "said"):
        example.wait_well(label)
    example.signal("USR2", "asked", "said")
    for label in ("asked", "said"):
        slot = example.wait_well(label, 2)
        assert (slot.generation, slot.exit.ending) == (2, Ending.UNHEALTHY)
    example.kill(*(example.worker(label).identity for label in ("asked", "said")))
    for label in ("asked", "said"):
        assert example.wait_well(label, 3).exit.signal == signal.SIGKILL


# ---------------------------------------------------------------- the table of examples


def test_readme_names_every_example_and_its_test():
    text = (EXAMPLES / "README.md").read_text("utf-8")
    links = set(re.findall(r"\]\(([^)#]+)\)", text))
    assert all((EXAMPLES / link).exists() for link in links), "a link leads nowhere"
    files = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith((".", "__", "README"))}
    assert {name for name in files if f"({name})" not in text and f"({name}/" not in text} == set()
    for name, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        assert not test or f"def {test}(" in (ROOT / name).read_text("utf-8"), f"{name} has no {test}"
        assert (ROOT / name).exists(), f"there is no {name}"
