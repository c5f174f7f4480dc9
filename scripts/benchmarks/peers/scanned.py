"""runit, daemontools and s6: a folder of services is scanned, and a small C process guards each of them."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks import store
from benchmarks.peers.peer import FAST, SHIPPED, Peer, Plan, write

SHEBANG_MAX = 250


class Scanned(Peer):
    """`package` is Debian's. In the fast variant no shell stands before the program."""

    kind = "a process for each"
    package = ""
    variants: ClassVar[Mapping[str, str]] = {
        SHIPPED: "`run` is a shell script that executes the program",
        FAST: "the program itself is the interpreter of `run`: no shell",
    }
    most, most_why = 1000, "its scanner takes no more than 1000 services"
    returns_by_itself = True

    def obtain(self) -> None:
        self._tree = store.debian(self.package)
        self.version = (self._tree / "version").read_text().strip()

    def lay(self, plan: Plan) -> None:
        for label in plan.labels:
            write(self.scanned(plan) / label / "run", self.script(plan, label), 0o755)

    def scanned(self, plan: Plan) -> Path:
        return plan.run / "service"

    def script(self, plan: Plan, label: str) -> str:
        program, argument = plan.worker(label)
        if not plan.is_fast:
            return f"#!/bin/sh\nexec {program} {argument}\n"
        first = f"#!{program} {argument}\n"
        if len(first) > SHEBANG_MAX:
            raise store.Absent(f"the path is too long for the first line of a script: {first}")
        return first

    def environ(self, plan: Plan) -> Mapping[str, str]:  # noqa: ARG002 - the same for all
        return {"PATH": f"{self._tree}/usr/bin:{os.environ['PATH']}"}


class Runit(Scanned):
    key, title, package = "runit", "runit", "runit"

    def argv(self, plan: Plan) -> Sequence[str]:
        return [f"{self._tree}/usr/bin/runsvdir", "-P", str(self.scanned(plan))]


class Daemontools(Scanned):
    key, title, package = "daemontools", "daemontools", "daemontools"

    def argv(self, plan: Plan) -> Sequence[str]:
        return [f"{self._tree}/usr/bin/svscan", str(self.scanned(plan))]


class S6(Scanned):
    """Its scanner executes `/usr/bin/s6-supervise`, so it gets a mount namespace where that is there."""

    key, title, package = "s6", "s6", "s6"
    libraries = ("libs6-2.11", "libskarnet2.13", "libexecline2.9", "execline")
    variants: ClassVar = {
        SHIPPED: "`run` is a shell script that executes the program",
        FAST: "`notification-fd`, and `run` says at once that it is ready: else a second passes",
    }
    most, most_why = 1000, "not tried with more"
    slow = (SHIPPED,)

    def obtain(self) -> None:
        super().obtain()
        self._libraries = [store.debian(name) for name in self.libraries]
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            raise store.Absent("only root can give it the mount namespace that it needs when not installed")

    def lay(self, plan: Plan) -> None:
        super().lay(plan)
        if plan.is_fast:
            for label in plan.labels:
                write(self.scanned(plan) / label / "notification-fd", "3\n")

    def script(self, plan: Plan, label: str) -> str:
        program, argument = plan.worker(label)
        ready = "echo >&3\n" if plan.is_fast else ""
        return f"#!/bin/sh\n{ready}exec {program} {argument}{' 3>&-' if plan.is_fast else ''}\n"

    def environ(self, plan: Plan) -> Mapping[str, str]:  # noqa: ARG002 - the same for all
        found = [path for tree in self._libraries for path in tree.glob("usr/lib/*-linux-gnu")]
        found += [path for tree in self._libraries for path in tree.glob("lib/*-linux-gnu")]
        return {"LD_LIBRARY_PATH": ":".join(map(str, found))}

    def argv(self, plan: Plan) -> Sequence[str]:
        lower = f"{self._tree}/usr/bin:/usr/bin"
        mount = f'mount -t overlay overlay -o "lowerdir={lower}" /usr/bin'
        scan = f"exec /usr/bin/s6-svscan -c {max(500, plan.count)} {self.scanned(plan)}"
        return ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", f"{mount} && {scan}"]
