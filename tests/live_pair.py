"""A real pair under test: its commands, its state file, its processes, and harm done to it.

Tests get one from the fixture `pair` of their folder's `conftest.py`.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from twinwatch.core.record import Damage, Slot
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Identity, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.identity import identify, is_alive, is_dead, open_process
from twinwatch.linux.statefile import StateFile

ROOM = Path(__file__).resolve().parent / "system"
LONE_WORKER = ROOM / "lone_worker.py"
PATIENCE_S = float(os.environ.get("TWINWATCH_TEST_PATIENCE_S", "60"))  # for what must come: no verdict


def until(is_true: Callable[[], object], what: str = "it", patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition. Its time limit only ends a test that has failed anyway."""
    deadline = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s in vain until {what}"
        select.select([], [], [], 0.002)


class LivePair:
    """One pair under test. All access to processes is by recorded identity."""

    def __init__(self, directory: Path, name: str = "shop") -> None:
        self.directory = directory
        self.name = name
        self.config = directory / "twinwatch.yaml"
        self.runtime = directory / "run" / name
        self.kept = directory / "lib" / name
        self.environ = {
            **os.environ,
            "TWINWATCH_RUNTIME_DIR": str(directory / "run"),
            "TWINWATCH_STATE_DIR": str(directory / "lib"),
            "NO_COLOR": "1",
        }
        self._state: StateFile | None = None

    # ------------------------------------------------------------ configuration and commands

    def configure(self, workers: str, watch: str = "{interval: 100ms, timeout: 1s}") -> None:
        """Write the configuration; `workers` is YAML, indented by two."""
        self.config.write_text(f"pair: {self.name}\nwatch: {watch}\nworkers:\n{workers}", encoding="utf-8")
        self.config.chmod(0o644)

    def lone(self, name: str, mode: str = "serve", extra: str = "") -> str:
        """YAML of a worker whose double start its own lock refuses."""
        command = [
            sys.executable,
            "-I",
            "-S",
            str(LONE_WORKER),
            str(self.lock_of(name)),
            str(self.births_of(name)),
            mode,
        ]
        text = f"  {name}:\n    command: {json.dumps(command)}\n"
        backoff = "    restart: {backoff: {burst: 1000}}\n"
        return text + (extra or backoff)

    def lock_of(self, name: str) -> Path:
        return self.directory / f"{name}.lock"

    def births_of(self, name: str) -> Path:
        return self.directory / f"{name}.births"

    def births(self, name: str) -> list[list[str]]:
        path = self.births_of(name)
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def wait_at_work(self, *names: str) -> None:
        """Wait until the present generations of these workers have executed their first instructions.

        `running` says that a program was executed; its own first line comes a moment later.
        """

        def are_at_work() -> bool:
            now = self.workers()
            return all(
                self.births(name)[-1:] == [[str(now[name].identity.pid), str(now[name].generation)]]
                for name in names
            )

        until(are_at_work, f"{', '.join(names)} at work")

    def call(
        self, *arguments: str, check: bool = True, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run `twinwatch ARGUMENTS`."""
        done = subprocess.run(
            [sys.executable, "-m", "twinwatch", *arguments],
            check=False,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            cwd=self.directory,
            **options,  # type: ignore[arg-type]
        )
        assert not check or done.returncode == 0, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start `twinwatch ARGUMENTS` and do not wait for it; use it as a context manager."""
        return subprocess.Popen(
            [sys.executable, "-m", "twinwatch", *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
        )

    def up(self) -> None:
        self.call("up", str(self.config))

    def down(self) -> None:
        self.forget_state()
        self.call("down", "-p", self.name)

    def status(self) -> dict[str, object]:
        return json.loads(self.call("status", "-p", self.name, "--json", check=False).stdout)

    # ------------------------------------------------------------ the state file, read only

    @property
    def state(self) -> StateFile:
        if self._state is None:
            self._state = StateFile(str(self.runtime), 1_000_000_000)
        return self._state

    def forget_state(self) -> None:
        if self._state is not None:
            self._state.close()
            self._state = None

    def role(self, role: Role) -> Slot:
        return self.state.slot(role.slot)

    def workers(self) -> dict[str, Slot]:
        """Worker slots in use, by label (`web`, `web:1`)."""
        slots = (self.state.slot(index) for index in range(FIRST_WORKER_SLOT, self.state.header().slots))
        return {slot.label: slot for slot in slots if slot.phase is not Phase.FREE}

    def worker(self, label: str) -> Slot:
        return self.workers()[label]

    def reserves(self, role: Role) -> list[Identity]:
        """Living reserves of the role's *current* holder."""
        listed = self.state.reserves(role)
        if listed.generation != self.role(role).generation:
            return []
        return [identity for identity in listed.identities if is_alive(identity)]

    def generations(self) -> dict[str, int]:
        """Generation of every role and worker instance, by label."""
        roles = {role.label: self.role(role).generation for role in WATCHER_ROLES}
        return roles | {label: slot.generation for label, slot in self.workers().items()}

    def is_whole(self, reserves: int = 2) -> bool:
        """Both watchers watch with all their reserves, and every worker that should run runs."""
        for role in WATCHER_ROLES:
            slot = self.role(role)
            if slot.phase is not Phase.RUNNING or not is_alive(slot.identity):
                return False
            if len(self.reserves(role)) < reserves:
                return False
        return all(
            slot.phase is Phase.RUNNING and is_alive(slot.identity) for slot in self.workers().values()
        )

    def wait_whole(self, at_least: dict[str, int] | None = None) -> None:
        """Wait until whole, with these generations reached: a killed process dies a moment later."""

        def is_there() -> bool:
            now = self.generations()
            return all(now[label] >= wanted for label, wanted in (at_least or {}).items()) and self.is_whole()

        until(is_there, f"the pair is whole: {self.generations()} of {at_least}")

    # ------------------------------------------------------------ harm, by identity

    @staticmethod
    def kill(*identities: Identity, number: int = signal.SIGKILL) -> None:
        """Signal recorded processes in one burst: every pidfd is open before the first signal."""
        pidfds = [open_process(identity) for identity in identities]
        for pidfd in pidfds:
            process.send(pidfd, number)
        for pidfd in pidfds:
            os.close(pidfd)

    def everyone(self) -> list[Identity]:
        """Both watchers and all reserves."""
        found = [self.role(role).identity for role in WATCHER_ROLES]
        for role in WATCHER_ROLES:
            found += self.reserves(role)
        return [identity for identity in found if is_alive(identity)]

    # ------------------------------------------------------------ all that lives

    def processes(self, ending: str = "") -> list[Identity]:
        """Everything alive with a path of this test's directory in its command line.

        `ending` narrows it down: "run\\0" is what watchers, reserves and gated children have.
        """
        mark = f"{self.directory}/{ending}".encode()
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                pidfd = os.pidfd_open(int(name))
            except (ProcessLookupError, OSError):
                continue
            try:
                if mark in _command_line(int(name)) and not is_dead(pidfd):
                    found.append(identify(int(name), pidfd))
            finally:
                os.close(pidfd)
        return found

    def guards(self) -> list[Identity]:
        """Watchers, reserves and gated children, recorded or not."""
        return self.processes("run\0")

    def extinguish(self) -> None:
        """End every guard: all are stopped before the first is killed, so that none revives another."""
        stopped: set[Identity] = set()
        while new := set(self.guards()) - stopped:
            for identity in new:
                process.end(identity, signal.SIGSTOP)
            stopped |= new
        for identity in stopped:
            process.end(identity)
        until(lambda: not self.guards(), "no guard lives")

    def wait_beats(self, count: int = 3) -> None:
        """Wait until both watchers have ticked: what they have to do by then, they have done."""
        before = {role: self.state.heartbeat(role) for role in WATCHER_ROLES}

        def have_ticked() -> bool:
            now = {role: self.state.heartbeat(role) for role in WATCHER_ROLES}
            return all(
                now[role].generation != before[role].generation
                or now[role].sequence >= before[role].sequence + count
                for role in WATCHER_ROLES
            )

        until(have_ticked, f"both watchers have ticked {count} times")

    # ------------------------------------------------------------ evidence

    def events(self) -> list[dict[str, object]]:
        path = self.kept / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def assert_never_double(self) -> None:
        doubles = list(self.directory.glob("*.double"))
        assert not doubles, f"started twice: {[path.read_text() for path in doubles]}"

    def crashes(self) -> str:
        path = self.kept / "watchers.log"
        return path.read_text() if path.exists() else ""

    # ------------------------------------------------------------ the end

    def end(self) -> None:
        """Everything of the pair ends, whatever state a test left it in."""
        try:
            remembered = self._remembered()
        finally:
            self.forget_state()
        self.call("down", "-p", self.name, "--timeout", "20s", check=False)
        for identity in remembered:
            if is_alive(identity):
                process.end(identity, signal.SIGCONT)
                process.end(identity)

    def _remembered(self) -> list[Identity]:
        found: list[Identity] = []
        try:
            state = self.state
            for role in WATCHER_ROLES:
                found += [state.slot(role.slot).identity, *state.reserves(role).identities]
            found += [slot.identity for slot in self.workers().values()]
        except (FileNotFoundError, Damage):
            return found
        return [identity for identity in found if identity]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
