"""systemd as PID 1 of namespaces of its own: the machine of tests/anchors, whose end ends all of it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks import store
from benchmarks.peers.peer import FAST, SHIPPED, Peer, Plan, write
from benchmarks.site import Site, program_of

TESTS = Path(__file__).resolve().parents[3] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "anchors")]

from init_kit import Systemd as Booted  # noqa: E402 - from where the tests are
from machine_kit import Machine, find_in_namespace, inner_pid, lacking  # noqa: E402

UNITS = "etc/systemd/system"


class MachineSite:
    """PID 1 and all below it."""

    def __init__(self, plan: Plan, files: Path) -> None:
        self._plan, self._files = plan, files
        self._machine: Machine | None = None
        self._outer: dict[int, int] = {}

    def boot(self) -> None:
        self._machine = Machine(self._plan.run, Booted().plan(self._files, {}))

    def start(self, argv: Sequence[str], environ: Mapping[str, str], directory: str) -> int:
        raise NotImplementedError

    def guards(self) -> list[int]:
        found = [identity.pid for identity in find_in_namespace(self._machine.init)]
        return sorted(pid for pid in found if program_of(pid) not in self._plan.programs.values())

    def outer(self, pid: int) -> int:
        if pid not in self._outer:
            found = [identity.pid for identity in find_in_namespace(self._machine.init)]
            self._outer = {inner_pid(outer): outer for outer in found}
        return self._outer.get(pid, 0)

    def end(self) -> None:
        if self._machine is not None:
            self._machine.end()


class Systemd(Peer):
    """One unit for each worker, instances of a template."""

    key, title, kind = "systemd", "systemd", "PID 1"
    variants: ClassVar = {
        SHIPPED: "`Restart=always`; `RestartSec` 100 ms",
        FAST: "`Restart=always`, `RestartSec=0`, `StartLimitIntervalSec=0`",
    }
    most, most_why = 1000, "not tried with more"

    def obtain(self) -> None:
        if not Booted().is_here():
            raise store.Absent("systemd is not installed")
        if os.geteuid() != 0:
            raise store.Absent("only root can make the namespaces that it is to be PID 1 of")
        if lack := lacking(needs_cgroup=True):
            raise store.Absent(f"this machine lacks {lack}")
        self.version = store.run([Booted.program, "--version"]).split()[1]

    def lay(self, plan: Plan) -> None:
        files = plan.run / "files"
        write(files / "etc/fstab", "")
        limit, pause = ("StartLimitIntervalSec=0\n", "RestartSec=0\n") if plan.is_fast else ("", "")
        command = " ".join(plan.worker("w%i"))
        unit = f"[Unit]\nDefaultDependencies=no\n{limit}\n"
        service = f"[Service]\nExecStart={command}\nRestart=always\n{pause}"
        write(files / UNITS / "w@.service", unit + service)
        wants = files / UNITS / "multi-user.target.wants"
        wants.mkdir(parents=True)
        for number in range(plan.count):
            (wants / f"w@{number}.service").symlink_to("../w@.service")

    def open_site(self, plan: Plan) -> Site:
        return MachineSite(plan, plan.run / "files")

    def start(self, site: Site, plan: Plan) -> None:  # noqa: ARG002 - the site has it
        site.boot()
