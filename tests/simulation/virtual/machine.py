"""The virtual kernel as a test of its contract sees it: modules, and processes that play a part."""

import random
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from virtual.kernel import Kernel
from virtual.process import Ended, Process
from virtual.programs import Programs
from virtual.sandbox import Sandbox, sandboxed
from virtual.scheduler import RandomChance, Scheduler

_STEPS = 20_000
Part = Callable[[Callable[[object], None]], None]


@dataclass
class VirtualActor:
    """As `scene.Actor`, in the kernel's memory."""

    pid: int
    pidfd: int
    _os: Any
    _ear: int
    _heard: bytes = b""

    def hear(self) -> str:
        while b"\n" not in self._heard:
            said = self._os.read(self._ear, 4096)
            if not said:
                return ""
            self._heard += said
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()


class VirtualMachine:
    """`os`, `fcntl` and the rest are the sandbox's; `room` is a directory of its own."""

    room = "/tmp"

    def __init__(self, kernel: Kernel, sandbox: Sandbox) -> None:
        self.kernel = kernel
        self.os: Any = sandbox.os
        self.open: Any = sandbox.open
        found = {type(module).__name__: module for module in sandbox.modules.values()}
        self.fcntl: Any = found["VirtualFcntl"]
        self.select: Any = found["VirtualSelect"]
        self.signal: Any = found["VirtualSignal"]
        self.socket: Any = found["VirtualSocket"]

    def act(self, part: Part) -> VirtualActor:
        ear, mouth = self.os.pipe()

        def body() -> None:
            part(lambda word: self.os.write(mouth, f"{word}\n".encode()))
            self.kernel.leave(self.kernel.current, 0)
            raise Ended

        child = self.kernel.fork(self.kernel.current, body)
        self.os.close(mouth)
        return VirtualActor(child.pid, self.os.pidfd_open(child.pid), self.os, ear)

    def rest(self) -> None:
        self.kernel.point("rest")
        self.kernel.wait(lambda: False, None)

    def until(self, is_true: Callable[[], object]) -> None:
        while not is_true():
            self.kernel.point("look")

    def full_file(self) -> str:
        """A file that has no room."""
        path = "/tmp/full"
        self.os.close(self.os.open(path, self.os.O_WRONLY | self.os.O_CREAT))
        self.kernel.files.is_full = True
        return path


@contextmanager
def virtual_machine(seed: int):
    """A function that runs a case in a process of a new machine, by a seed."""
    rng = random.Random(seed)
    kernel = Kernel(RandomChance(rng))
    with sandboxed(kernel, Programs(kernel).start) as sandbox:

        def play(case: Callable[[Any], None]) -> None:
            faults: list[BaseException] = []
            machine = VirtualMachine(kernel, sandbox)

            def body() -> None:
                try:
                    case(machine)
                except Exception as fault:  # noqa: BLE001 - handed to the test
                    faults.append(fault)

            player: Process = kernel.spawn(body, "player")
            player.is_subreaper = True
            player.handlers[13] = 1
            ended = Scheduler(kernel, rng).run(lambda: player.is_exiting, steps=_STEPS)
            if faults:
                raise faults[0]
            assert ended, f"the case waits for ever: {player.call}, {player.waiting}"

        yield play
