"""The sandbox lets no call through to the real kernel, and leaves everything as it was."""

import os
import random
import sys
import time

import pytest
from virtual.kernel import Kernel
from virtual.programs import Programs
from virtual.sandbox import RealCall, project_modules, sandboxed
from virtual.scheduler import Faults, Scheduler
from virtual.things import PidFd

from twinwatch.linux import clock, identity, lock


def run(kernel: Kernel, body) -> list[str]:
    """What a process that begins with `body` says."""
    said: list[str] = []
    kernel.spawn(lambda: said.append(body()), "one")
    Scheduler(kernel, random.Random(1), Faults()).run(lambda: bool(said), steps=100)
    return said


def test_a_real_call_of_a_virtual_process_is_refused():
    kernel = Kernel()
    with sandboxed(kernel, Programs(kernel).start):
        run(kernel, lambda: os.open("/etc/hostname", os.O_RDONLY))
    assert "RealCall" in kernel.crashes[0]


def test_every_module_is_put_back():
    before = {module.__name__: dict(vars(module)) for module in project_modules()}
    kernel = Kernel()
    with sandboxed(kernel, Programs(kernel).start):
        assert lock.os is not os
        assert clock.monotonic_ns is not time.monotonic_ns
    assert {module.__name__: dict(vars(module)) for module in project_modules()} == before


def test_what_nobody_stands_for_is_refused(monkeypatch):
    monkeypatch.setattr(identity, "subprocess", sys.modules["subprocess"], raising=False)
    kernel = Kernel()
    with pytest.raises(RealCall, match="subprocess"), sandboxed(kernel, Programs(kernel).start):
        pass


def test_the_dead_have_no_effect():
    """What the code of a killed process does while it is unwound reaches nobody."""
    kernel = Kernel()
    with sandboxed(kernel, Programs(kernel).start) as sandbox:

        def body() -> None:
            try:
                sandbox.time.sleep(10)
            finally:
                sandbox.os.mkdir("/tmp/late")

        process = kernel.spawn(body, "one")
        kernel.resume(process)
        kernel.resume(process)
        kernel.kill(process)
        kernel.unwind()
        assert not sandbox.os.path.exists("/tmp/late")
        assert PidFd(process=process).mask() == 0  # its death is a step of its own
