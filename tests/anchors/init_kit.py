"""The inits under test: what a machine of each needs, and how each is told to stop and to start the anchor.

What `twinwatch anchor install` lays down is used as it is. Around it there is only what a machine has anyway: an
inittab, a folder that is scanned, stages of a boot.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from live_pair import ROOM, until
from machine_kit import Machine, Plan, has, own_environ, unpacked

PAIR = "shop"
CONFIG = "twinwatch.yaml"  # in the machine's directory
SERVICE = f"twinwatch-{PAIR}"
TWINWATCH = (sys.executable, "-P", "-m", "twinwatch")
UNTIL_ALL_ENDED = (sys.executable, "-I", "-S", str(ROOM / "reaping_init.py"))


class Init:
    """One init. `name` is what `twinwatch anchor install --init` calls it; `pause`: how it slows restarts down."""

    name = ""
    packages: tuple[str, ...] = ()
    program = ""
    title: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    environ: ClassVar[dict[str, str]] = {}
    needs_cgroup = False
    scan_dir = ""
    pause = "none"

    def __repr__(self) -> str:
        return type(self).__name__

    def is_here(self) -> bool:
        return has(self.program, self.packages)

    def install(self, files: Path, config: Path) -> None:
        """Fill the tree `files` with all that the machine has."""
        self.furnish(files)
        scanned = ("--scan-dir", self.scan_dir) if self.scan_dir else ()
        words = ("anchor", "install", "--init", self.name, "--root", str(files), *scanned, str(config))
        done = subprocess.run(
            [*TWINWATCH, *words], env=own_environ(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

    def furnish(self, files: Path) -> None:
        """Lay down what the machine itself needs."""

    def plan(self, files: Path, kept: dict[str, Path]) -> Plan:
        return Plan(
            program=self.program,
            title=self.title,
            files=files,
            packages=self.packages,
            hidden=self.hidden,
            kept=kept,
            environ=self.environ,
            needs_cgroup=self.needs_cgroup,
        )

    def stop(self, machine: Machine) -> None:
        """End the pair as this init does it, and wait until it has ended."""
        raise NotImplementedError

    def start(self, machine: Machine) -> None:
        """Undo that."""
        raise NotImplementedError

    def calm(self, machine: Machine) -> None:
        """Have it forget how often the anchor was started."""


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


# ---------------------------------------------------------------------- an inittab


class Inittab(Init):
    """There is no command that stops a line: it is taken out."""

    tab = ""

    def furnish(self, files: Path) -> None:
        write(files / "etc/inittab", self.tab)

    def stop(self, machine: Machine) -> None:
        machine.run(*TWINWATCH, "-p", PAIR, "anchor", "uninstall", "--init", self.name, "--force")

    def start(self, machine: Machine) -> None:
        config = str(machine.directory / CONFIG)
        machine.run(*TWINWATCH, "anchor", "install", "--init", self.name, config)


class Sysvinit(Inittab):
    name = "sysvinit"
    packages = ("sysvinit-core",)
    program = "/usr/sbin/init"
    title = ("init",)
    tab = "id:2:initdefault:\nzz:2:respawn:/usr/bin/sleep infinity\n"
    pause = "10 starts in 2 min, then none for 5 min; `telinit q` ends that"

    def is_here(self) -> bool:
        """Installed, it is no link to another init."""
        return bool(unpacked(self.packages)) or os.path.realpath(self.program) == self.program

    @staticmethod
    def has_paused(machine: Machine) -> bool:
        """It has said that it starts something no more for now."""
        return "respawning too fast" in machine.console.read_text()

    def calm(self, machine: Machine) -> None:
        machine.run("telinit", "q")


class Busybox(Inittab):
    """Debian's is built to end what stands in its inittab no more."""

    name = "busybox"
    packages = ("busybox-static",)
    program = "/usr/sbin/init"
    title = ("init",)
    pause = "1 s before each start"

    def is_here(self) -> bool:
        return has("/usr/bin/busybox", self.packages)

    def furnish(self, files: Path) -> None:
        super().furnish(files)
        (files / "usr/sbin").mkdir(parents=True)
        (files / self.program[1:]).symlink_to("/usr/bin/busybox")


# ---------------------------------------------------------------------- a directory of services


class Scanned(Init):
    """`place`: what its commands are given."""

    scan_dir = "/etc/service"

    @property
    def place(self) -> str:
        return f"{self.scan_dir}/{SERVICE}"

    def furnish(self, files: Path) -> None:
        (files / self.scan_dir[1:]).mkdir(parents=True)


class Runsvdir(Scanned):
    name = "runit"
    packages = ("runit",)
    program = "/usr/bin/runsvdir"
    title = ("runsvdir", "-P", "/etc/service")
    scan_dir = "/etc/runit/runsvdir/current"  # to which /etc/service leads in Debian
    pause = "1 s between two starts; up to 5 s for a runsv that was killed, too"

    def stop(self, machine: Machine) -> None:
        machine.run("sv", "-w", "60", "down", self.place)

    def start(self, machine: Machine) -> None:
        machine.run("sv", "up", self.place)


class S6(Scanned):
    name = "s6"
    packages = ("s6", "libs6-2.11", "libskarnet2.13", "libexecline2.9", "execline")
    program = "/usr/bin/s6-svscan"
    title = ("s6-svscan", "/etc/service")
    pause = "1 s before each start"

    def stop(self, machine: Machine) -> None:
        machine.run("s6-svc", "-wD", "-d", self.place)

    def start(self, machine: Machine) -> None:
        machine.run("s6-svc", "-wU", "-u", self.place)


class Svscan(Scanned):
    name = "daemontools"
    packages = ("daemontools",)
    program = "/usr/bin/svscan"
    title = ("svscan", "/etc/service")
    pause = "1 s between two starts; up to 5 s for a supervise that was killed, too"

    def stop(self, machine: Machine) -> None:
        machine.run("svc", "-d", self.place)
        until(lambda: ": down " in machine.run("svstat", self.place).stdout, "it is down")

    def start(self, machine: Machine) -> None:
        machine.run("svc", "-u", self.place)


# ---------------------------------------------------------------------- systemd

UNIT = f"{SERVICE}.service"
UNITS = "/usr/lib/systemd/system"
WANTS = ("sysinit", "local-fs", "sockets", "multi-user", "timers", "basic", "graphical")


class Systemd(Init):
    """The machine's own systemd; of its units only targets are left, so that it boots at once."""

    name = "systemd"
    program = "/usr/lib/systemd/systemd"
    title = ("systemd", "--system", "--unit=multi-user.target", "--show-status=no")
    hidden = (
        "/etc/systemd/system",
        "/usr/lib/systemd/system-generators",
        *(f"{UNITS}/{target}.target.wants" for target in WANTS),
    )
    environ: ClassVar = {"container": "twinwatch", "SYSTEMD_LOG_TARGET": "console"}
    needs_cgroup = True
    pause = "none (by default the sixth start in 10 s would not happen)"

    def furnish(self, files: Path) -> None:
        write(files / "etc/fstab", "")
        told = f"[Service]\nStandardError=append:{files.parent}/anchor.log\n"  # there is no journal here
        write(files / f"etc/systemd/system/{UNIT}.d/test.conf", told)

    def stop(self, machine: Machine) -> None:
        machine.run("systemctl", "stop", UNIT)

    def start(self, machine: Machine) -> None:
        machine.run("systemctl", "start", UNIT)

    @staticmethod
    def show(machine: Machine, name: str) -> str:
        """A property of the unit; nothing while systemd does not answer yet."""
        show = ("systemctl", "show", "--value", "-p", name, UNIT)
        return machine.run(*show, check=False).stdout.strip()


# ---------------------------------------------------------------------- supervisors that can be killed

OPENRC_FOLDERS = (
    *("options", "daemons", "started", "starting", "stopping", "inactive", "wasinactive", "failed"),
    *("hotplugged", "scheduled", "exclusive", "tmp", "init.d"),
)


class SuperviseDaemon(Init):
    """OpenRC's supervisor, started by OpenRC's commands. PID 1 collects, and ends when all others have."""

    name = "openrc"
    packages = ("openrc", "librc1", "libeinfo1")
    program = sys.executable
    hidden = ("/etc/init.d", "/etc/runlevels")
    boot = (
        f"mkdir -p /run/openrc && cd /run/openrc && mkdir {' '.join(OPENRC_FOLDERS)} && echo default >softlevel "
        f"&& (sleep infinity &) && exec rc-service {SERVICE} start"
    )
    title = (*UNTIL_ALL_ENDED, "/bin/sh", "-c", boot)
    pause = "none"

    def furnish(self, files: Path) -> None:
        for level in ("sysinit", "boot", "default", "shutdown", "nonetwork"):
            (files / f"etc/runlevels/{level}").mkdir(parents=True)
        write(files / "etc/insserv.conf", "")
        write(files / "etc/rc.conf", "rc_sys=lxc\n")

    def is_here(self) -> bool:
        return has("/usr/bin/supervise-daemon", self.packages)

    def stop(self, machine: Machine) -> None:
        machine.run("rc-service", SERVICE, "stop")

    def start(self, machine: Machine) -> None:
        machine.run("rc-service", SERVICE, "start")


class OpenrcInit(SuperviseDaemon):
    """All of OpenRC."""

    program = "/usr/sbin/openrc-init"
    title = ("openrc-init",)

    def furnish(self, files: Path) -> None:
        super().furnish(files)
        write(files / "etc/inittab", "")


class SystemdUser(Init):
    """A user's manager without a system's. PID 1 collects, and ends when all others have."""

    name = "systemd-user"
    program = sys.executable
    boot = f"mkdir -p /run/systemd/system /run/user && exec {Systemd.program} --user --unit=default.target"
    title = (*UNTIL_ALL_ENDED, "/bin/sh", "-c", boot)
    needs_cgroup = True
    environ: ClassVar = {"XDG_RUNTIME_DIR": "/run/user", "SYSTEMD_LOG_TARGET": "console"}
    pause = Systemd.pause

    def is_here(self) -> bool:
        return has(Systemd.program, ())

    def stop(self, machine: Machine) -> None:
        machine.run("systemctl", "--user", "stop", UNIT, **self.environ)

    def start(self, machine: Machine) -> None:
        machine.run("systemctl", "--user", "start", UNIT, **self.environ)


class Runit(Runsvdir):
    """All of runit: its stage 2 is runsvdir."""

    program = "/usr/sbin/runit"
    title = ("runit",)

    def furnish(self, files: Path) -> None:
        super().furnish(files)
        stages = {"1": "", "2": f"exec {' '.join(Runsvdir.title)}\n", "3": ""}
        for stage, line in stages.items():
            write(files / f"etc/runit/{stage}", f"#!/bin/sh\n{line}", 0o755)


# ---------------------------------------------------------------------- cron


class Cron(Init):
    name = "cron"
    packages = ("cron",)
    program = "/usr/sbin/cron"
    title = ("cron", "-f", "-L", "15")
    hidden = ("/etc/cron.d", "/var/spool/cron")
    pause = "one start a minute"

    def furnish(self, files: Path) -> None:
        write(files / "etc/crontab", "")
        (files / "var/spool/cron/crontabs").mkdir(parents=True)

    @staticmethod
    def job(machine: Machine) -> str:
        """The command of the only line."""
        (tab,) = machine.path("/etc/cron.d").iterdir()
        (line,) = [line for line in tab.read_text().splitlines() if line.startswith("*")]
        return line.split(maxsplit=6)[6]


PID_ONES = (Systemd(), Sysvinit(), Busybox(), Runsvdir(), S6(), Svscan())
SUPERVISORS = (SuperviseDaemon(), SystemdUser())
