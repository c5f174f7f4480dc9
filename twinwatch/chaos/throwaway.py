"""A pair of its own in a temporary directory, with workers that the kernel lets nobody run twice.

Below its directory: `disk` is what the pair writes to, a small file system of its own where one may be
mounted; beside it lies the evidence (`lone-N.*`), which a full disk must not touch.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time

from twinwatch.chaos import census, hierarchy, private, undo, worker
from twinwatch.chaos.hierarchy import Group
from twinwatch.chaos.keeper import Keeper
from twinwatch.chaos.reader import WATCHERS, Slots
from twinwatch.chaos.stranger import Stranger
from twinwatch.control.errors import USAGE, ControlError
from twinwatch.linux.paths import Paths

WORKERS = 4
CONTROLLERS = ("pids", "memory")
NOTHING_COMES_BACK_S = 0.5
WATCH: dict[str, object] = {"interval": "500ms", "timeout": "2s"}  # hangs take no time from other faults
LOG_TAIL = 4000


class ThrowAway:
    """Make it, `start` it, and `end` it whatever happens. `worker_program` is what its workers run."""

    def __init__(self, worker_program: str = worker.__file__, watch: dict[str, object] | None = None) -> None:
        self.directory = os.path.realpath(tempfile.mkdtemp(prefix="twinwatch-chaos-"))
        self.pair = f"chaos-{os.getpid()}"
        self.paths: Paths = private.paths_of(self.directory, self.pair)
        self.disk = ""  # its own file system; empty: it has none
        os.mkdir(f"{self.directory}/disk", 0o700)
        if not private.may_mount():
            private.mount(f"{self.directory}/disk")
            self.disk = f"{self.directory}/disk"
        self.groups: dict[str, Group] = {}
        self.freezers: list[Group] = []
        self._keeper: Keeper | None = None
        self._promise = 0
        self._strangers: list[Stranger] = []
        self._configure(worker_program, watch or WATCH)

    def _configure(self, program: str, watch: dict[str, object]) -> None:
        command = [sys.executable, "-I", "-S", program, f"{self.directory}/lone-{{instance}}"]
        restart = {"backoff": {"burst": 1000}}
        workers = {"lone": {"command": command, "instances": WORKERS, "restart": restart}}
        document = {"pair": self.pair, "watch": watch, "workers": workers}
        with open(f"{self.directory}/twinwatch.yaml", "w", encoding="utf-8") as file:
            json.dump({key: value for key, value in document.items() if value}, file)

    # ------------------------------------------------------------ life

    def start(self, keeper: Keeper) -> None:
        """Make its control groups, its strangers, and the pair.

        Raises:
            ControlError: the pair does not start.
        """
        self._keeper = keeper
        self._make_groups(keeper)
        for name in ("twinwatch-a", "twinwatch-rsv"):
            self._strangers.append(Stranger(self.directory, name, "twinwatch", self.pair))
        for stranger in self._strangers:
            stranger.wait_ready()
        if why := self.up():
            raise ControlError(f"the throw-away pair does not start: {why}", USAGE)

    def _make_groups(self, keeper: Keeper) -> None:
        for above in hierarchy.freezers():
            self.freezers.append(above.group(self.pair))
        for controller in CONTROLLERS:
            if place := hierarchy.find(controller):
                self.groups[controller] = place.group(self.pair)
        every = {group.path: group for group in (*self.freezers, *self.groups.values())}
        self._promise = keeper.promise(undo.end(self.directory, self.pair, list(every)))
        for group in every.values():
            group.make()
        self._joined = tuple(group.procs for group in every.values())

    def up(self) -> str:
        """Start the pair, or what of it is missing. What is wrong, or empty."""
        done = private.call(self.directory, "up", f"{self.directory}/twinwatch.yaml", groups=self._joined)
        return done.stderr.strip() if done.returncode else ""

    def down(self) -> str:
        """The off switch; afterwards nothing lives, and nothing comes back. What is wrong, or empty."""
        wrong = private.down(self.directory, self.pair)
        time.sleep(NOTHING_COMES_BACK_S)
        left = census.census(self.paths)
        if wrong:
            return f"down failed: {wrong}"
        return f"alive after down: {left}" if left else ""

    def end(self) -> None:
        """Nothing of it is left."""
        for stranger in self._strangers:
            stranger.close()
        if self._keeper is None:
            shutil.rmtree(self.directory, ignore_errors=True)
            return
        private.end(self.directory, self.pair, [path.removesuffix("/cgroup.procs") for path in self._joined])
        self._keeper.fulfil(self._promise)

    # ------------------------------------------------------------ evidence

    def double_starts(self) -> list[str]:
        """What a worker shouted that could not have its lock."""
        shouts = [name for name in os.listdir(self.directory) if name.endswith(".double")]
        return [f"double start: {name.removesuffix('.double')}: {self.read(name)}" for name in shouts]

    def harms(self) -> list[str]:
        """What was done to strangers."""
        return [harm for stranger in self._strangers if (harm := stranger.harm())]

    def wrong_births(self, slots: Slots) -> list[str]:
        """No generation began its program twice or out of turn (one killed early left no line)."""
        found = []
        for slot in (slot for name, slot in slots.items() if name not in WATCHERS.values()):
            births = [int(line) for line in self.read(f"lone-{slot.instance}.births").split()]
            if births != sorted(set(births)) or max(births, default=0) > slot.generation:
                found.append(f"{slot.label} began as {births}, its slot says {slot.generation}")
        return found

    def read(self, name: str) -> str:
        """A file below its directory; empty where there is none."""
        with contextlib.suppress(FileNotFoundError), open(f"{self.directory}/{name}", "rb") as file:
            return file.read().decode(errors="replace").strip()
        return ""
