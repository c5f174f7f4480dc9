"""The kernel as init: it calls a program when the cgroup of the guards is empty (cgroup v1).

The kernel calls in its own namespaces, where the files of a machine are not: so what it is given here is a
script that enters the machine, if that still lives, and calls the installed one there. The hierarchy has a name of
its own; all else is as installed.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

from anchored_kit import WORKERS, Anchored
from init_kit import PAIR, Init, write
from live_pair import until
from machine_kit import namespace_of, run_alone

NAME = "twinwatch-test"
TOP = "/run/twinwatch.cgroup"
SCRIPT = "/etc/twinwatch/shop.release-agent"
AGENT = "/etc/twinwatch/release-agent"
REMOVALS_MAX = 20
COLLECT = "import signal as s; s.signal(s.SIGCHLD, s.SIG_IGN)\nwhile True: s.pause()"

ENTERING = """#!/bin/sh
[ "$(readlink /proc/{pid}/ns/pid)" = '{namespace}' ] || exit 0
exec {enter} "$1"
"""


class LackingError(Exception):
    """What this kernel has not."""


class Kernel(Init):
    """PID 1 of this machine starts nothing."""

    name = "release-agent"
    pause = "none; one call each time the group becomes empty"
    program = sys.executable
    title = (sys.executable, "-I", "-S", "-c", COLLECT)

    def __init__(self) -> None:
        self.hierarchy = f"name={NAME}.{os.getpid()}"

    def is_here(self) -> bool:
        return True

    def install(self, files: Path, config: Path) -> None:
        super().install(files, config)
        script = files / SCRIPT[1:]
        script.write_text(script.read_text().replace("none,name=twinwatch ", f"none,{self.hierarchy} "))


def hierarchies() -> list[str]:
    """What tests have made, this one or one that was killed."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return [line.split(":")[1] for line in lines if f"name={NAME}." in line]


def remove(hierarchy: str) -> None:
    """Mount and unmount it until it goes: the kernel lets go of a cgroup some time after its rmdir.

    It goes some time after the umount, too. A mount that comes sooner makes it anew.
    """
    for _ in range(REMOVALS_MAX):
        run_alone(f"mount -t cgroup -o none,{hierarchy} cgroup /mnt && rmdir /mnt/*/; umount /mnt")
        with suppress(AssertionError):
            until(lambda: hierarchy not in hierarchies(), "it is gone", patience_s=2)
            return
    raise AssertionError(f"{hierarchy} does not go")


def sweep() -> None:
    for hierarchy in hierarchies():
        if not Path(f"/proc/{hierarchy.split('.')[1]}").exists():
            remove(hierarchy)


def start(pair: Anchored) -> None:
    """As at boot; then the kernel is told of the other script.

    Raises:
        LackingError.
    """
    machine = pair.machine
    done = machine.run(SCRIPT, "start", check=False)
    if not machine.path(f"{TOP}/release_agent").exists():
        raise LackingError(f"release agents: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    enter = " ".join(machine.enter(AGENT)).replace(" --pid ", " --no-fork --pid ")
    script = pair.directory / "entering"
    write(
        script,
        ENTERING.format(pid=machine.init.pid, namespace=namespace_of(machine.init.pid), enter=enter),
        0o755,
    )
    machine.path(f"{TOP}/release_agent").write_text(str(script))
    pair.wait_born(dict.fromkeys(("a", "b", *WORKERS), 1))
    pair.wait_at_work(*WORKERS)


def wait_done(pair: Anchored) -> None:
    """Wait until what the kernel has called is gone from the group: there are only guards in it."""

    def are_alone() -> bool:
        members = set(map(int, pair.machine.path(f"{TOP}/{PAIR}/cgroup.procs").read_text().split()))
        return members <= {identity.pid for identity in pair.guards()}

    until(are_alone, "the call is over")


def remove_all(pair: Anchored) -> None:
    """End the pair, its machine and the hierarchy."""
    machine = pair.machine
    if machine.path(f"{TOP}/release_agent").exists():
        machine.run(SCRIPT, "off")
        machine.run(SCRIPT, "remove", check=False)
    pair.power_off()
    remove(pair.init.hierarchy)
