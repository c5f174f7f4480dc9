"""A pair under an anchor under an init, seen from the host.

Recorded PIDs are the machine's own, so from here a record tells phases and generations, and never who lives:
that is asked inside (`status`), or of the processes in the machine's PID namespace.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from init_kit import PAIR, TWINWATCH, Init
from live_pair import PATIENCE_S, LivePair, until
from machine_kit import Machine, command_of, read_proc

from twinwatch.core.record import Damage, Slot
from twinwatch.core.values import WATCHER_ROLES, Identity, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.statefile import StateFile

ROUNDS = int(os.environ.get("TWINWATCH_ANCHOR_ROUNDS", "3"))
WORKERS = ("one", "two")
ANCHOR_COMM = b"twinwatch-anc\n"
GUARD_MARKS = ("/twinwatch/watch/boot.py", "/twinwatch/anchor/boot.py")


class Anchored(LivePair):
    """Configure it, then `boot`; each further `boot` is a reboot."""

    def __init__(self, directory: Path, init: Init) -> None:
        super().__init__(directory, PAIR)
        self.init = init
        self.kept = directory / "lib" / self.name
        self._machine: Machine | None = None

    @property
    def machine(self) -> Machine:
        assert self._machine is not None
        return self._machine

    def configure_lone(self, extra: str = "") -> None:
        """Two workers that cannot run twice; `extra` is YAML of the pair."""
        self.configure("".join(map(self.lone, WORKERS)) + extra)

    def boot(self) -> Machine:
        self.power_off()
        files = self.directory / f"files.{Machine.made}"
        files.mkdir()
        self.kept.parent.mkdir(exist_ok=True)
        self.init.install(files, self.config)
        kept = {"/var/lib/twinwatch": self.kept.parent}
        self._machine = Machine(self.directory, self.init.plan(files, kept))
        self.runtime = self.machine.path(f"/run/twinwatch/{self.name}")
        return self.machine

    def power_off(self) -> None:
        self.forget_state()
        if self._machine is not None:
            self._machine.end()

    def boot_whole(self) -> Machine:
        machine = self.boot()
        self.wait_born(dict.fromkeys(("anchor", "a", "b", *WORKERS), 1))
        self.wait_at_work(*WORKERS)
        return machine

    # ------------------------------------------------------------ what is so

    @property
    def state(self) -> StateFile:
        """Opened anew for each look: a pair that was down has another file."""
        self.forget_state()
        return super().state

    def call(
        self, *arguments: str, check: bool = True, **_options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run `twinwatch ARGUMENTS` inside."""
        return self.machine.run(*TWINWATCH, *arguments, check=check)

    def slots(self) -> dict[str, Slot]:
        """Of the anchor, watchers and workers; none while nothing is recorded."""
        with suppress(FileNotFoundError, Damage):
            state = self.state
            roles = {role.label: state.slot(role.slot) for role in (*WATCHER_ROLES, Role.ANCHOR)}
            return roles | self.workers()
        return {}

    def generations(self) -> dict[str, int]:
        return {label: slot.generation for label, slot in self.slots().items()}

    def pids(self) -> dict[str, int]:
        """Of the workers, as they are inside."""
        return {label: slot.identity.pid for label, slot in self.workers().items()}

    def wait_born(self, at_least: dict[str, int], patience_s: float = PATIENCE_S) -> None:
        """Wait until these generations are recorded as running, or later ones."""

        def are_there() -> bool:
            now = self.slots()
            return all(
                label in now and now[label].generation >= wanted and now[label].phase is Phase.RUNNING
                for label, wanted in at_least.items()
            )

        until(are_there, f"these run: {at_least}", patience_s)

    def wait_up(self) -> dict[str, object]:
        """Wait until `status` finds all of it alive and well; what it said."""
        said: dict[str, object] = {}

        def is_up() -> bool:
            said.update(self.status())
            anchor = said["anchor"]
            return said["state"] == "up" and anchor is not None and anchor["alive"]

        until(is_up, "status says up")
        return said

    def birth_counts(self) -> dict[str, int]:
        return {name: len(self.births(name)) for name in WORKERS}

    # ------------------------------------------------------------ processes

    def guards(self) -> list[Identity]:
        """The anchor, watchers, reserves and gated children, and an anchor that is about to be."""
        return [identity for identity in self.machine.processes() if is_guard(command_of(identity))]

    def anchors(self) -> list[Identity]:
        """One, or none."""
        return [i for i in self.machine.processes() if read_proc(i.pid, "comm") == ANCHOR_COMM]

    def watcher(self, label: str) -> Identity:
        found = self.machine.of_inside(self.slots()[label].identity.pid)
        assert found is not None
        return found

    def all_of_it(self) -> list[Identity]:
        """The guards, and whatever names a file of this test: workers, and what is about to be one."""
        own = str(self.directory)
        found = []
        for identity in self.machine.processes():
            words = command_of(identity)
            if is_guard(words) or (not is_supervisor(words) and any(own in word for word in words)):
                found.append(identity)
        return found

    def all_but_anchor(self) -> list[list[str]]:
        """Command lines of what lives of the pair beside the anchor."""
        anchors = self.anchors()
        return [command_of(identity) for identity in self.all_of_it() if identity not in anchors]

    # ------------------------------------------------------------ harm

    def kill_at_once(self, find: Callable[[], list[Identity]]) -> int:
        """All are stopped before the first is killed, so that none sees another one die: when that was."""
        stopped: set[Identity] = set()
        while new := set(find()) - stopped:
            for identity in new:
                process.end(identity, signal.SIGSTOP)
            stopped |= new
        killed_ns = time.monotonic_ns()
        for identity in stopped:
            process.end(identity)
        return killed_ns

    def kill_anchor(self) -> None:
        """And wait for the next one, of which the record tells."""
        before = self.generations()["anchor"]
        (anchor,) = self.anchors()
        process.end(anchor)
        self.wait_born({"anchor": before + 1})

    # ------------------------------------------------------------ the end

    def end(self) -> None:
        self.power_off()


def is_guard(words: list[str]) -> bool:
    return any(word.endswith(GUARD_MARKS) for word in words) or words[2:5] == ["-m", "twinwatch", "anchor"]


def is_supervisor(words: list[str]) -> bool:
    """It names what it supervises."""
    return words[:1] == ["supervise-daemon"]


def raised(before: dict[str, int], *labels: str) -> dict[str, int]:
    """One more for each of these."""
    return {label: before[label] + 1 for label in labels}
