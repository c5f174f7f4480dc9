"""A real pair of the experiment's own: started, looked at, brought back with `up`, and ended without a trace.

Two workers that no kernel lets run twice show whether one was doubled; their records show whether one was
restarted. Signals go to recorded processes alone, through pidfds, and to the pair's own by its directory.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from survival.outcome import PATIENCE_S

from twinwatch.control import up
from twinwatch.control.errors import ControlError
from twinwatch.core.record import Slot
from twinwatch.core.spacing import BURST, WITHIN_NS
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Identity, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, is_alive, open_process
from twinwatch.linux.statefile import StateFile

LONE_WORKER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../examples/lone_worker.py")
WORKERS = 2
RESERVE = 2  # the default of watch.reserve
WATCH = {"interval": "500ms", "timeout": "2s", "reserve": RESERVE}
LOOK_S = 0.001
UP_TIMEOUT_S = 60.0
LOCK_TIMEOUT_NS = 10**9
EVIDENCE_LINES = 12
SPARE_BIRTHS = 6  # of a role, below the number from which births are spaced: more than one trial takes


class Trouble(Exception):
    """The experiment cannot go on; the message says why."""


class Pair:
    """One pair. `anchored`: this process plays the init of its anchor. `cgroup`: where all of it lives."""

    def __init__(self, directory: str, *, anchored: bool = False, cgroup: str = "") -> None:
        os.mkdir(directory)
        self.directory = directory
        self.cgroup = cgroup
        self.name = "survival"
        self.run, self.lib = f"{directory}/run", f"{directory}/lib"
        self.config = f"{directory}/twinwatch.yaml"
        self.environ = {
            **{name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
            "TWINWATCH_RUNTIME_DIR": self.run,
            "TWINWATCH_STATE_DIR": self.lib,
            "NO_COLOR": "1",
        }
        self.state: StateFile | None = None
        self.anchor: subprocess.Popen[bytes] | None = None
        self.anchored = anchored
        self.is_down = False  # as it was judged last
        self._reviving = 0  # PID of the fork that does it
        self._workers: dict[str, Identity] = {}
        command = [
            sys.executable,
            "-I",
            "-S",
            os.path.realpath(LONE_WORKER),
            f"{directory}/lone-{{instance}}",
        ]
        lone = {"command": command, "instances": WORKERS, "restart": {"backoff": {"burst": 1000}}}
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump({"pair": self.name, "watch": WATCH, "workers": {"lone": lone}}, file)

    # ------------------------------------------------------------ start, and start again

    def remember_workers(self) -> None:
        self._workers = {label: slot.identity for label, slot in self.workers().items()}

    def begin_revival(self) -> None:
        """`up`, by a fork: nothing has to be loaded, and the newborns are not our own children."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = self._up()
            finally:
                os._exit(code)
        self._reviving = child

    def end_revival(self) -> None:
        """Raises Trouble: `up` has failed."""
        if self._wait_revival() != 0:
            raise Trouble(f"`twinwatch up {self.config}` failed: {self.evidence()}")

    def _wait_revival(self) -> int:
        """Wait for the end of a revival that was begun; its exit status."""
        child, self._reviving = self._reviving, 0
        return os.waitpid(child, 0)[1] if child else 0

    def _up(self) -> int:
        self._enter_cgroup()
        try:
            up.up(self.config, self.environ, timeout_s=UP_TIMEOUT_S, progress=lambda _text: None)
        except ControlError as error:
            print(f"survival-curve: up: {error}", file=sys.stderr)
            return 1
        return 0

    def _enter_cgroup(self) -> None:
        if self.cgroup:
            with open(f"{self.cgroup}/cgroup.procs", "w", encoding="ascii") as file:
                file.write("0")

    def tend(self) -> None:
        """What an init does: start the anchor when it does not live."""
        if not self.anchored or (self.anchor is not None and self.anchor.poll() is None):
            return
        with open(f"{self.directory}/anchor.log", "ab") as log:
            self.anchor = subprocess.Popen(
                [sys.executable, "-m", "twinwatch", "anchor", self.config],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                preexec_fn=self._enter_cgroup,  # noqa: PLW1509 - no threads here
            )

    # ------------------------------------------------------------ what is recorded

    def opened(self) -> StateFile:
        if self.state is None:
            self.state = StateFile(f"{self.run}/{self.name}", LOCK_TIMEOUT_NS)
        return self.state

    def role(self, role: Role) -> Slot:
        return self.opened().slot(role.slot)

    def watchers(self) -> list[Identity]:
        return [self.role(role).identity for role in WATCHER_ROLES]

    def reserves(self, role: Role) -> list[Identity]:
        """Living ones of the present holder."""
        listed = self.opened().reserves(role)
        return [one for one in listed.identities if is_alive(one)] if self._is_of_holder(role) else []

    def _is_of_holder(self, role: Role) -> bool:
        return self.opened().reserves(role).generation == self.role(role).generation

    def workers(self) -> dict[str, Slot]:
        state = self.opened()
        slots = (state.slot(index) for index in range(FIRST_WORKER_SLOT, FIRST_WORKER_SLOT + WORKERS))
        return {slot.label: slot for slot in slots}

    def is_whole(self) -> bool:
        """Both watch with all their reserves, and every worker runs."""
        for role in WATCHER_ROLES:
            slot = self.role(role)
            if slot.phase is not Phase.RUNNING or not is_alive(slot.identity):
                return False
            if len(self.reserves(role)) < RESERVE:
                return False
        if self.anchored:
            anchor = self.role(Role.ANCHOR)
            if anchor.phase is not Phase.RUNNING or not is_alive(anchor.identity):
                return False
        return all(
            slot.phase is Phase.RUNNING and is_alive(slot.identity) for slot in self.workers().values()
        )

    def wait_whole(self) -> None:
        """Raises Trouble: it does not become whole."""
        deadline = time.monotonic() + UP_TIMEOUT_S
        while not self.has_state() or not self.is_whole():
            self.tend()
            if time.monotonic() > deadline:
                raise Trouble(f"the pair in {self.directory} does not become whole: {self.evidence()}")
            pause()

    def evidence(self) -> str:
        """What is recorded, who lives, and what was said last: the directory will be gone."""
        lines = [f"guards that live: {sorted(self.guards())}"]
        if self.has_state():
            slots = [self.role(role) for role in (*WATCHER_ROLES, Role.ANCHOR)] + list(
                self.workers().values()
            )
            lines += [
                f"{slot.label} {slot.phase.name} {slot.generation} PID {slot.identity.pid} "
                f"{'alive' if is_alive(slot.identity) else 'dead'}"
                for slot in slots
            ]
            lines += [f"reserves of {role.label}: {self.opened().reserves(role)}" for role in WATCHER_ROLES]
        for name in (f"{self.lib}/{self.name}/events.jsonl", f"{self.lib}/{self.name}/watchers.log"):
            with suppress(FileNotFoundError), open(name, encoding="utf-8", errors="replace") as file:
                lines += [line.rstrip() for line in file.readlines()[-EVIDENCE_LINES:]]
        return "\n  ".join(lines)

    def has_state(self) -> bool:
        return self.state is not None or os.path.exists(f"{self.run}/{self.name}/state")

    def is_calm(self) -> bool:
        """Whether another trial's births come at once, and are not spaced for having been too many."""
        after_ns = time.monotonic_ns() - WITHIN_NS
        births = [self.role(role).births_ns for role in WATCHER_ROLES]
        return all(sum(at_ns > after_ns for at_ns in those) < BURST - SPARE_BIRTHS for those in births)

    # ------------------------------------------------------------ what lives, recorded or not

    @property
    def pattern(self) -> str:
        """For pkill -f: in the command line of each guard of this pair, and of no other process."""
        return f"{self.run} {self.lib} {self.name} ".replace(".", "[.]")

    def guards(self) -> set[int]:
        """PIDs of watchers, reserves, gated children and the anchor, as `/proc` shows them."""
        return set(living_with(f"\0{self.run}\0{self.lib}\0{self.name}\0"))

    def is_extinct(self) -> bool:
        """Nobody is left who could act. Looked at twice: a child of one that dies is seen the second time."""
        return not self.anchored and not self.guards() and not self.guards()

    def wait_outcome(self) -> bool | None:
        """True: whole again. False: extinct. None: neither, for as long as patience lasts."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self.tend()
            if self.is_whole():
                return True
            known = [*self.watchers(), *(one for role in WATCHER_ROLES for one in self.reserves(role))]
            if not any(map(is_alive, known)) and self.is_extinct():
                return False
            pause()
        return None

    def compare_workers(self) -> list[str]:
        """What became of the workers that nobody killed, since the last time; empty if nothing did."""
        now = {label: slot.identity for label, slot in self.workers().items()}
        wrong = [f"worker {label} was restarted" for label in now if now[label] != self._workers[label]]
        wrong += [f"worker {label} is dead" for label in now if not is_alive(now[label])]
        self._workers = now
        return wrong + self.doubles()

    def doubles(self) -> list[str]:
        """Shouts of workers that were started beside a living one."""
        return [f"double start: {name}" for name in os.listdir(self.directory) if name.endswith(".double")]

    # ------------------------------------------------------------ the end

    def begin_end(self) -> "subprocess.Popen[bytes] | None":
        """Tell it to end. What is returned has done so when it ends itself; None: nothing was there."""
        self._wait_revival()
        if self.state is not None:
            self.state.close()
            self.state = None
        if self.anchor is not None and self.anchor.poll() is None:
            self.anchor.send_signal(signal.SIGTERM)
            return self.anchor
        if not self.has_state():
            return None
        return subprocess.Popen(
            [sys.executable, "-m", "twinwatch", "down", "-p", self.name, "--timeout", "20s"],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
        )

    def end_end(self, ending: "subprocess.Popen[bytes] | None") -> None:
        """Nothing of it is left, whatever state it was in."""
        if ending is not None:
            with suppress(subprocess.TimeoutExpired):
                ending.wait(UP_TIMEOUT_S)
        self._sweep()
        for waited in (ending, self.anchor):
            if waited is not None:
                waited.wait()

    def _sweep(self) -> None:
        """End whatever has the directory in its command line: all are stopped before the first is killed."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in living_with(f"{self.directory}/"):
                end_if(pid, f"{self.directory}/", number)


def begin_all(pairs: list[Pair]) -> None:
    """Start them at once, which takes little longer than one, and remember their workers."""
    revive_all([pair for pair in pairs if not pair.anchored])
    for pair in pairs:
        pair.tend()
    for pair in pairs:
        pair.wait_whole()
        pair.remember_workers()


def revive_all(pairs: list[Pair]) -> None:
    for pair in pairs:
        pair.begin_revival()
    for pair in pairs:
        pair.end_revival()
    for pair in pairs:
        pair.wait_whole()


def end_all(pairs: list[Pair]) -> None:
    """Nothing of them is left. Who interrupts meanwhile is heard afterwards."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        endings = [(pair, pair.begin_end()) for pair in pairs]
        for pair, ending in endings:
            pair.end_end(ending)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def opened_all(identities: Iterable[Identity]) -> list[int]:
    """Pidfds of those that are still there."""
    found = []
    for identity in identities:
        with suppress(ProcessGone, IdentityUnknown):
            found.append(open_process(identity))
    return found


def living_with(mark: str) -> Iterator[int]:
    """PIDs of processes, other than this one, with `mark` in their command line; a zombie has none."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and has_mark(int(name), mark):
            yield int(name)


def has_mark(pid: int, mark: str) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return mark.encode() in file.read()
    return False


def end_if(pid: int, mark: str, number: int) -> None:
    """Signal a process if it still has the mark when its pidfd is open."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        if has_mark(pid, mark):
            process.send(pidfd, number)
        os.close(pidfd)


def pause() -> None:
    select.select([], [], [], LOOK_S)


def wait_dead(pidfds: Iterable[int], *, is_late: Callable[[], bool]) -> None:
    """Wait until all are dead, or it is late: a signal that was sent is not a death."""
    waiting = list(pidfds)
    while waiting and not is_late():
        dead, _, _ = select.select(waiting, [], [], 0.1)
        waiting = [pidfd for pidfd in waiting if pidfd not in dead]
