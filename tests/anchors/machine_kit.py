"""A machine under test: one init as PID 1 of fresh namespaces, on a throw-away root.

It is gone when the test is: every process of it dies with its PID 1, that one with `unshare`, and `unshare`
with the test process, whatever ends it. Mounts go with the last process. What could stay is an empty cgroup of
a killed test: the next test removes it.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from live_pair import PATIENCE_S, until

from twinwatch.core.values import NOBODY, Identity
from twinwatch.linux import process
from twinwatch.linux.identity import ProcessGone, identify, is_alive

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MS_RDONLY = 1
NAMESPACES = ("--pid", "--mount", "--uts", "--ipc", "--net")
UNSHARE = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--fork", *NAMESPACES, "--propagation", "private", "--kill-child=KILL"),
)
CGROUP_NAME = "twinwatch-test"
NUKE = "import os, time; os.write(1, b'%d' % time.monotonic_ns()); os.kill(-1, 9)"


def packages_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("TWINWATCH_TEST_DEBS") or f"{cache}/twinwatch/inits")


def own_environ() -> dict[str, str]:
    """What every process inside has; the mark lets tests/conftest.py find what a test left."""
    mark = {name: value for name, value in os.environ.items() if name == "TWINWATCH_TEST_ID"}
    return {"PATH": SEARCH_PATH, "HOME": "/root", "LANG": "C.UTF-8", "NO_COLOR": "1", **mark}


def lacking(*, needs_cgroup: bool) -> str:
    """What of this machine keeps a machine under test from being made; empty: nothing."""
    tried = subprocess.run(
        [*UNSHARE, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if tried.returncode != 0:
        return f"namespaces: {tried.stderr.strip()}"
    above = unified()
    if needs_cgroup and (above is None or not os.access(above, os.W_OK)):
        return "a cgroup v2 that can be written"
    return ""


# ---------------------------------------------------------------------- cgroups


def unified() -> Path | None:
    """Where the host has cgroup v2."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mounted, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(mounted.split()[4])
    return None


def remove_cgroup(top: Path) -> None:
    """Remove a tree of empty cgroups; the directories in it are never deeper than what is in them."""
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(FileNotFoundError):
            os.rmdir(folder)


def make_cgroup(number: int) -> Path:
    above = unified()
    assert above is not None
    for stale in above.glob(f"{CGROUP_NAME}.*"):
        if not Path(f"/proc/{stale.name.split('.')[1]}").exists():
            with suppress(OSError):  # any errno: of somebody else's test
                remove_cgroup(stale)
    made = above / f"{CGROUP_NAME}.{os.getpid()}.{number}"
    made.mkdir()
    return made


# ---------------------------------------------------------------------- the machine


@dataclass(frozen=True, slots=True)
class Plan:
    """What to boot.

    `program` is executed, with the arguments `title`. `files`: a tree that is laid over the root; `hidden`: folders
    of the host that are empty here; `kept`: folders of the host that outlive the machine, by their path inside.
    """

    program: str
    title: tuple[str, ...]
    files: Path
    packages: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    kept: dict[str, Path] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    needs_cgroup: bool = False


class Machine:
    """A booted machine, until `end`. `directory` is visible inside under the same path."""

    made = 0

    def __init__(self, directory: Path, plan: Plan) -> None:
        Machine.made += 1
        self.directory = directory
        self.log = directory / f"machine.{Machine.made}.log"
        self.console = directory / f"machine.{Machine.made}.console"
        self.console.touch()
        self.cgroup = make_cgroup(Machine.made) if plan.needs_cgroup else None
        self.init = NOBODY
        self._unshare: subprocess.Popen[bytes] | None = None
        try:
            self._boot(plan)
        except BaseException:
            self.end()
            raise

    def _boot(self, plan: Plan) -> None:
        stage = self.directory / f"stage.{Machine.made}"
        stage.mkdir()
        written = self.directory / f"plan.{Machine.made}.json"
        written.write_text(json.dumps(self._describe(plan, stage)))
        reading, writing = os.pipe()
        enter = [sys.executable, "-I", "-S", str(HERE / "enter_machine.py"), str(written), str(writing)]
        with self.log.open("wb") as log:
            self._unshare = subprocess.Popen(
                [*UNSHARE, *enter],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
        os.close(writing)
        with open(reading, "rb", closefd=True) as ready:
            assert ready.read(1), f"no machine: {self.log.read_text()}"
        self.init = self._find_init()

    def _describe(self, plan: Plan, stage: Path) -> dict[str, object]:
        shared = [(str(path), str(path), MS_RDONLY) for path in (CHECKOUT, sys.prefix, sys.base_prefix)]
        own = (str(self.directory), str(self.directory), 0)
        kept = [(str(source), target, 0) for target, source in plan.kept.items()]
        return {
            "stage": str(stage),
            "console": str(self.console),
            "cgroup": str(self.cgroup or ""),
            "trees": [*map(str, unpacked(plan.packages)), str(plan.files)],
            "binds": [*shared, own, *kept],
            "hidden": list(plan.hidden),
            "argv": [plan.program],
            "title": list(plan.title),
            "environ": {**own_environ(), **plan.environ},
        }

    def _find_init(self) -> Identity:
        assert self._unshare is not None
        pid = self._unshare.pid
        (child,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        pidfd = os.pidfd_open(child)
        try:
            return identify(child, pidfd)
        finally:
            os.close(pidfd)

    # ------------------------------------------------------------ inside

    def path(self, inside: str) -> Path:
        """The host's path of what is at `inside`."""
        return Path(f"/proc/{self.init.pid}/root{inside}")

    def enter(self, *command: str) -> list[str]:
        """The host's command line for a command inside."""
        spaces = [*NAMESPACES, *(["--cgroup"] if self.cgroup else [])]
        return ["nsenter", "--target", str(self.init.pid), *spaces, "--", *command]

    def run(self, *command: str, check: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.enter(*command),
            env={**own_environ(), **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def processes(self) -> list[Identity]:
        """All that lives in the machine but its PID 1, also what a command brought in."""
        return [identity for identity in find_in_namespace(self.init) if identity.pid != self.init.pid]

    def of_inside(self, pid: int) -> Identity | None:
        """The process that has this PID inside."""
        for identity in self.processes():
            if inner_pid(identity.pid) == pid:
                return identity
        return None

    def nuke(self) -> int:
        """SIGKILL, at one instant, to all but PID 1: when that was (CLOCK_MONOTONIC)."""
        done = self.run(sys.executable, "-I", "-S", "-c", NUKE, check=False)  # the machine may end of it
        return int(done.stdout)

    # ------------------------------------------------------------ the end

    def is_over(self) -> bool:
        return not is_alive(self.init)

    def end(self) -> None:
        if self._unshare is not None:
            if self.init:
                process.end(self.init)  # and all others with it, before `unshare` ends
            else:
                self._unshare.kill()
            self._unshare.wait()
        if self.cgroup is not None:
            until(self._is_cgroup_removed, "the machine's cgroups are empty")

    def _is_cgroup_removed(self) -> bool:
        assert self.cgroup is not None
        with suppress(OSError):  # EBUSY: the last processes are on their way out
            remove_cgroup(self.cgroup)
        return not self.cgroup.exists()


def run_alone(script: str) -> None:
    """Run shell lines in a mount namespace of their own, whatever comes of them."""
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    subprocess.run(alone, stdin=subprocess.DEVNULL, capture_output=True, check=False)


# ---------------------------------------------------------------------- its processes, from the host's side


def read_proc(pid: int | str, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def namespace_of(pid: int | str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # some keep the host's PID 1 from root
        return ""


def inner_pid(pid: int) -> int:
    for line in read_proc(pid, "status").splitlines():
        if line.startswith(b"NSpid:"):
            return int(line.split()[-1])
    return 0


def find_in_namespace(init: Identity) -> list[Identity]:
    wanted, found = namespace_of(init.pid), []
    for name in os.listdir("/proc"):
        if not wanted or not name.isdigit() or namespace_of(name) != wanted:
            continue
        try:
            pidfd = os.pidfd_open(int(name))
        except ProcessLookupError:
            continue
        try:
            if namespace_of(name) == wanted:
                found.append(identify(int(name), pidfd))
        except ProcessGone:
            pass
        finally:
            os.close(pidfd)
    return [identity for identity in found if is_alive(identity)]


def command_of(identity: Identity) -> list[str]:
    return read_proc(identity.pid, "cmdline").decode(errors="replace").split("\0")[:-1]


def unpacked(packages: tuple[str, ...]) -> list[Path]:
    """Folders of what `fetch_inits` has laid there; none where one is missing."""
    folders = [packages_folder() / name for name in packages]
    return folders if all(folder.is_dir() for folder in folders) else []


def has(program: str, packages: tuple[str, ...]) -> bool:
    """Whether the init is there, unpacked or installed."""
    return bool(unpacked(packages)) or os.access(program, os.X_OK)
