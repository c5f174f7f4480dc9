"""monit, pm2 and dinit."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import ClassVar

from benchmarks import store
from benchmarks.peers.peer import FAST, SHIPPED, Peer, Plan, is_program, write
from benchmarks.site import Site
from benchmarks.stamps import Stamps

PAST_LIMITS = 1_000_000  # restarts


class Monit(Peer):
    """It looks at a PID file once in a cycle; its workers are not its children."""

    key, title = "monit", "monit"
    variants: ClassVar = {SHIPPED: "`set daemon 120` (Debian's)", FAST: "`set daemon 1`, its shortest cycle"}
    most, most_why = 100, "it starts one after the other"
    patience_s = 180.0
    slow = (SHIPPED, FAST)
    unmeasured: ClassVar = {SHIPPED: "a restart takes up to its cycle of 120 s"}

    def obtain(self) -> None:
        tree = store.debian("monit")
        self.version = (tree / "version").read_text().strip()
        self._program = f"{tree}/usr/bin/monit"

    def lay(self, plan: Plan) -> None:
        text = f"""set daemon {1 if plan.is_fast else 120}
set log {plan.keep}/monit.log
set pidfile {plan.run}/monit.pid
set idfile {plan.keep}/monit.id
set statefile {plan.keep}/monit.state
"""
        for label in plan.labels:
            file, (program, argument) = f"{plan.run}/{label}.pid", plan.worker(label)
            shell = f"{program} {argument} & echo $! >{file}"  # in the background: else it waits for its end
            text += f"check process {label} with pidfile {file}\n  start program = \"/bin/sh -c '{shell}'\"\n"
        write(plan.keep / "monitrc", text, 0o600)

    def argv(self, plan: Plan) -> Sequence[str]:
        return [self._program, "-I", "-c", str(plan.keep / "monitrc")]

    def victims(self, site: Site, stamps: Stamps) -> list[int]:  # noqa: ARG002 - no parents here
        return [pid for pid in site.guards() if is_program(pid, "monit")]


class Pm2(Peer):
    """A daemon in node, started by its command."""

    key, title = "pm2", "pm2"
    variants: ClassVar = {
        SHIPPED: "fork mode; the program runs without an interpreter",
        FAST: "`min_uptime: 0`, no limit of restarts, output to /dev/null",
    }
    most, most_why = 1000, "more take minutes to start"
    patience_s = 180.0

    def obtain(self) -> None:
        made = store.npm("pm2@7.0.4") / "node_modules/pm2"
        self.version = json.loads((made / "package.json").read_text())["version"]
        self._node, self._command = shutil.which("node") or "node", str(made / "bin/pm2")

    def lay(self, plan: Plan) -> None:
        null = {"out_file": os.devnull, "error_file": os.devnull}
        fast = {"min_uptime": 0, "max_restarts": PAST_LIMITS, **null} if plan.is_fast else {}
        apps = []
        for label in plan.labels:
            program, argument = plan.worker(label)
            how = {"interpreter": "none", "exec_mode": "fork"}
            apps.append({"name": label, "script": program, "args": [argument], **how, **fast})
        write(plan.keep / "bench.config.json", json.dumps({"apps": apps}))

    def environ(self, plan: Plan) -> Mapping[str, str]:
        return {"PM2_HOME": str(plan.run / "pm2"), "PM2_DISABLE_VERSION_CHECK": "true"}

    def argv(self, plan: Plan) -> Sequence[str]:
        return [self._node, self._command, "start", str(plan.keep / "bench.config.json")]


class Dinit(Peer):
    """Debian 12 has none: one that is installed, or lies in the cache's folder `bin`."""

    key, title = "dinit", "dinit"
    variants: ClassVar = {
        SHIPPED: "`restart = yes`",
        FAST: "`smooth-recovery = yes`, `restart-delay = 0`, no limit of restarts",
    }

    def obtain(self) -> None:
        near = store.folder() / "bin/dinit"
        self._program = str(near) if near.exists() else shutil.which("dinit") or ""
        if not self._program:
            raise store.Absent(f"Debian 12 has no package of it, and there is no {near} and none on PATH")
        self.version = store.run([self._program, "--version"]).split()[2].rstrip(".")

    def lay(self, plan: Plan) -> None:
        fast = "smooth-recovery = yes\nrestart-delay = 0\nrestart-limit-count = 0\n" if plan.is_fast else ""
        for label in plan.labels:
            text = f"type = process\ncommand = {' '.join(plan.worker(label))}\nrestart = yes\n{fast}"
            write(plan.keep / "dinit.d" / label, text)
        needed = "".join(f"waits-for: {label}\n" for label in plan.labels)
        write(plan.keep / "dinit.d/boot", f"type = internal\n{needed}")

    def argv(self, plan: Plan) -> Sequence[str]:
        socket, services = str(plan.run / "dinitctl"), str(plan.keep / "dinit.d")
        return [self._program, "--user", "--quiet", "-p", socket, "-d", services, "boot"]
