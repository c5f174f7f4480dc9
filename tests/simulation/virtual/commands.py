"""What people do to a pair meanwhile: the real commands, each a process of its own, which may be killed as well."""

import random
from collections.abc import Callable

from twinwatch.control import down, workers
from twinwatch.control.errors import ControlError
from twinwatch.control.target import Target
from twinwatch.core import record
from twinwatch.core.values import Phase
from virtual.kernel import Kernel
from virtual.observer import Watchful
from virtual.process import Process
from virtual.world import FIRST, World

_PATIENCE_S = 3.0
_READ_NS = 300_000_000  # three ticks


class Commands:
    """`said`: what refused commands said."""

    def __init__(self, kernel: Kernel, world: World, seen: Watchful, rng: random.Random) -> None:
        self._kernel, self._world, self._seen, self._rng = kernel, world, seen, rng
        self._target = Target(world.paths, None)
        self.said: list[str] = []

    def _begin(self, name: str, do: Callable[[], None]) -> Process:
        def body() -> None:
            try:
                do()
            except ControlError as error:
                self.said.append(f"{name}: {error}")
                self._seen.marks["a command is refused"] += 1

        self._seen.marks[f"command {name}"] += 1
        return self._kernel.spawn(body, name, is_pair=True)

    def are_at_work(self) -> bool:
        return any(one.comm in ("stop", "start", "restart", "pause") for one in self._kernel.running)

    def some(self) -> Process:
        """Any command about any worker."""
        name = self._rng.choice(self._world.spec.workers).name
        return self._rng.choice((self.stop, self.start, self.restart, self.pause))(name)

    def stop_some(self) -> Process:
        """One that is being born, if there is one."""
        places = self._world.spec.places
        born = [name for index, name, _ in places if self._seen.known(index).slot.phase is Phase.STARTING]
        return self.stop(self._rng.choice(born or [name for _, name, _ in places]))

    def stop(self, name: str) -> Process:
        def do() -> None:
            workers.stop(self._target, [name], timeout_s=_PATIENCE_S)
            self._acknowledged(name)

        return self._begin("stop", do)

    def _acknowledged(self, name: str) -> None:
        """Unless somebody has wished otherwise by now, nothing of it may start any more."""
        index = next(place[0] for place in self._world.spec.places if place[1] == name)
        if self._seen.known(index).slot.desired.name == "STOP":
            self._seen.told_to_stop[name] = self._kernel.now_ns

    def start(self, name: str) -> Process:
        def do() -> None:
            workers.start(self._target, [name], timeout_s=_PATIENCE_S)

        return self._begin("start", do)

    def restart(self, name: str) -> Process:
        def do() -> None:
            workers.restart(self._target, [name], timeout_s=_PATIENCE_S)

        return self._begin("restart", do)

    def pause(self, name: str) -> Process:
        def do() -> None:
            workers.pause(self._target, [name], timeout_s=_PATIENCE_S)
            workers.resume(self._target, [name], timeout_s=_PATIENCE_S)

        return self._begin("pause", do)

    def down(self) -> Process:
        def do() -> None:
            down.down(self._target, timeout_s=_PATIENCE_S, progress=lambda _text: None)
            self._seen.is_down = True
            for one in self._kernel.running:
                if one.comm.startswith("twinwatch-") or one.program is not None:
                    self._seen.complain("P8", f"{one} lives after `down` was acknowledged")

        return self._begin("down", do)

    def damage(self) -> None:
        """Flip a bit in some record that the watchers have had time to read: what nobody knows nobody can mend."""
        node = self._seen.node()
        index = self._rng.randrange(FIRST + len(self._world.spec.places))
        if self._kernel.now_ns - self._seen.known(index).at_ns < _READ_NS:
            return
        at = record.slot_at(index) + self._rng.choice((0, 200, 1200))
        node.data[at] ^= 1 << self._rng.randrange(8)
        self._seen.marks["a record is damaged"] += 1
