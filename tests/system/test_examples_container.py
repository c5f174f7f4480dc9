"""The recipes for containers in examples/: what they say fits together, and an anchor lives as they say.

No container engine is needed: `container_room.py` does what one would do with the same Dockerfile, compose.yaml and
deployment.yaml. PID 1 of a namespace, read-only root, no network but its own, UID 10001 without capabilities, no HOME,
no passwd entry, the calls forbidden that Docker forbids; and probes enter it as `docker exec` does.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from live_pair import PATIENCE_S, until

from twinwatch.config.load import load
from twinwatch.core.timing import SECOND_NS

ROOT = Path(__file__).resolve().parents[2]
ROOM = Path(__file__).resolve().parent / "container_room.py"
RECIPE = ROOT / "examples" / "container"
DOCKERFILE = RECIPE / "Dockerfile"
CONFIG = RECIPE / "twinwatch.yaml"
PROBES = {probe: ["twinwatch", "status", "--probe", probe] for probe in ("live", "ready")}
PAIR = "box"


# ---------------------------------------------------------------- the recipes, read


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest) of the Dockerfile, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    return [(name, rest) for name, rest in pairs]


def last(name: str) -> str:
    return [rest for found, rest in instructions() if found == name][-1]


def image_environ() -> dict[str, str]:
    found = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    for name, rest in instructions():
        if name == "ENV":
            found |= {key: value.replace("$PATH", found["PATH"]) for key, value in _assignments(rest)}
    return found


def _assignments(text: str) -> list[list[str]]:
    return [part.split("=", 1) for part in text.split()]


def compose() -> dict:
    return yaml.safe_load((RECIPE / "compose.yaml").read_text("utf-8"))["services"][PAIR]


def deployment() -> dict:
    documents = yaml.safe_load_all((ROOT / "examples/kubernetes/deployment.yaml").read_text("utf-8"))
    return next(document for document in documents if document["kind"] == "Deployment")


def pod() -> dict:
    return deployment()["spec"]["template"]["spec"]


def container() -> dict:
    (only,) = pod()["containers"]
    return only


def inside() -> str:
    """The path of the configuration in the image."""
    return json.loads(last("ENTRYPOINT"))[-1]


# ---------------------------------------------------------------- what they say


def test_configuration_is_right():
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "twinwatch", "check", str(CONFIG)]
    said = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert said.stdout == f"{CONFIG}: ok: pair {PAIR}, 1 worker, 1 process\n", said.stderr


def test_no_shell_is_between():
    """Commands are lists: what Docker wraps into `sh -c` would make a shell PID 1, which hands no TERM on."""
    for name, rest in instructions():
        if name in ("RUN", "CMD", "ENTRYPOINT"):
            assert all(isinstance(word, str) for word in json.loads(rest)), f"{name} {rest}"
    assert json.loads(last("ENTRYPOINT"))[:2] == ["twinwatch", "anchor"]
    assert "CMD" not in dict(instructions())
    assert last("STOPSIGNAL") == "SIGTERM"
    assert json.loads(last("HEALTHCHECK").partition(" CMD ")[2]) == PROBES["live"]
    assert compose()["init"] is False
    assert "command" not in container()


def test_image_is_made_of_this_checkout():
    names = [name for name, _ in instructions()]
    assert [rest for name, rest in instructions() if name == "FROM"] == [
        "python:3.13-slim AS build",
        "python:3.13-slim",
    ]
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    assert all((ROOT / source).exists() for sources in copied for source in sources)
    project = {"pyproject.toml", "README.md", "LICENSE", "twinwatch"}
    assert project <= {source for sources in copied for source in sources}, "the build needs all of it"
    kept = (RECIPE / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert {line.removeprefix("!") for line in kept if line.startswith("!")} == project | {
        "examples/container"
    }
    check = ("RUN", json.dumps(["twinwatch", "check", inside()]))
    assert check in instructions()
    assert names.index("USER") < instructions().index(check) < names.index("ENTRYPOINT")


def test_nobody_is_root_and_nothing_is_writable_but_volumes():
    user = last("USER")
    assert user == compose()["user"] == "10001:10001"
    assert compose()["read_only"] is True
    assert compose()["cap_drop"] == ["ALL"]
    assert compose()["security_opt"] == ["no-new-privileges:true"]
    of_pod, of_container = pod()["securityContext"], container()["securityContext"]
    assert of_pod["runAsNonRoot"] is True
    assert f"{of_pod['runAsUser']}:{of_pod['runAsGroup']}" == user
    assert of_pod["fsGroupChangePolicy"] == "OnRootMismatch"
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert deployment()["spec"]["strategy"] == {"type": "Recreate"}


def test_directories_are_below_the_volumes():
    places = {"/run/twinwatch", "/var/lib/twinwatch", "/tmp"}
    assert {path.partition(":")[0] for path in compose()["tmpfs"]} | {
        volume.partition(":")[2] for volume in compose()["volumes"]
    } == places
    assert {mount["mountPath"] for mount in container()["volumeMounts"]} == places
    assert {mount["name"] for mount in container()["volumeMounts"]} == {v["name"] for v in pod()["volumes"]}
    for variable in ("TWINWATCH_RUNTIME_DIR", "TWINWATCH_STATE_DIR"):
        assert str(Path(image_environ()[variable]).parent) in places


def test_kill_comes_later_than_the_anchors_own_patience():
    spec = load(str(CONFIG), os.environ)
    stop_s = spec.anchor.stop_timeout_ns / SECOND_NS
    assert all(worker.stop.timeout_ns / SECOND_NS < stop_s for worker in spec.workers)
    graces = [pod()["terminationGracePeriodSeconds"], int(compose()["stop_grace_period"].removesuffix("s"))]
    assert all(grace_s > stop_s for grace_s in graces)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert "terminationGracePeriodSeconds" not in container()[probe], "the Pod's holds for all"


def test_probes():
    assert container()["startupProbe"]["exec"]["command"] == PROBES["live"]
    assert container()["livenessProbe"]["exec"]["command"] == PROBES["live"]
    assert container()["readinessProbe"]["exec"]["command"] == PROBES["ready"]


def test_readme_names_the_files():
    text = (RECIPE / "README.md").read_text("utf-8")
    links = set(re.findall(r"\]\(([^)#]+)\)", text))
    assert all((RECIPE / link).exists() for link in links)
    assert {"Dockerfile", "twinwatch.yaml", "compose.yaml", "../kubernetes/deployment.yaml"} <= links


# ---------------------------------------------------------------- a container, without an engine

MOTHER = '''\
"""Leaves an orphan behind, which tells who adopted it and ends, and lives on."""
import os, select, signal
end, _ = os.pipe2(os.O_CLOEXEC)
if os.fork() == 0:
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:
            select.select([], [], [], 0.001)
        os.write(1, f"orphan {os.getpid()} of {os.getppid()}\\n".encode())
    os._exit(0)
os.wait()
signal.pause()
'''


class Box:
    """The image, and one container of it at a time."""

    def __init__(self, directory: Path, volumes: dict[str, tuple[str, str]], *, extra: str = "") -> None:
        self.volumes = volumes
        self.environ = image_environ()
        self._root = directory / "root"
        self._root.mkdir()
        self._said = directory / "stderr"
        self._etc = directory / "etc"
        shutil.copytree(RECIPE, self._etc)
        with (self._etc / "twinwatch.yaml").open("a", encoding="utf-8") as file:
            file.write(extra)
        self._outer: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self.init = 0  # the PID of PID 1, as seen from here

    def plan(self) -> dict[str, object]:
        """What the image holds, from what this machine has."""
        python = os.path.realpath(sys.executable)
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        packages = f"/opt/twinwatch/lib/{version}/site-packages"
        installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        hosted = {f"/opt/packages/{number}": path for number, path in enumerate(sorted(installed))}
        links = {"/opt/twinwatch/bin/python3": python}
        shared = {
            "/usr": "/usr",
            packages + "/twinwatch": str(ROOT / "twinwatch"),
            "/etc/twinwatch": str(self._etc),
        }
        if not sys.base_prefix.startswith("/usr"):
            shared[sys.base_prefix] = sys.base_prefix
        for name in ("bin", "sbin", "lib", "lib64"):
            path = Path("/", name)
            if path.is_symlink():
                links[str(path)] = os.readlink(path)
            elif path.exists():
                shared[str(path)] = str(path)
        return {
            "root": str(self._root),
            "environ": self.environ,
            "links": links,
            "shared": shared | hosted,
            "volumes": self.volumes,
            "files": {
                "/opt/twinwatch/pyvenv.cfg": f"home = {Path(python).parent}\n",
                "/opt/twinwatch/bin/twinwatch": "#!/opt/twinwatch/bin/python3\n"
                "import sys\nfrom twinwatch.cli.main import main\nsys.exit(main())\n",
                f"{packages}/packages.pth": "".join(f"{path}\n" for path in hosted),
            },
        }

    def start(self) -> None:
        """As `docker run` does; returns when the entry point is executed."""
        namespaces = [
            *("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--mount", "--net"),
            *("--propagation", "private", "--kill-child=KILL"),
        ]
        entry = [*as_user(), *json.loads(last("ENTRYPOINT"))]
        command = [*namespaces, sys.executable, "-I", "-S", str(ROOM), json.dumps(self.plan()), *entry]
        with self._said.open("ab") as said:
            self._outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        self.wait(self._has_begun, "PID 1 is the entry point")

    def _has_begun(self) -> bool:
        outer = self._outer
        assert outer is not None
        assert outer.poll() is None, self.said()
        born = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        if born and self._pidfd < 0:
            self.init = int(born[0])
            self._pidfd = os.pidfd_open(self.init)
        return bool(born) and self.status_field("Uid").split()[0] == last("USER").partition(":")[0]

    def status_field(self, name: str) -> str:
        text = Path(f"/proc/{self.init}/status").read_text()
        return re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE)[1]  # type: ignore[index]

    def said(self) -> str:
        return self._said.read_text("utf-8", "replace")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker exec` does."""
        enter = ["nsenter", f"--target={self.init}", "--pid", "--mount", "--net", *as_user(), *command]
        plan = json.dumps({"environ": self.environ})
        room = [sys.executable, "-I", "-S", str(ROOM), plan, *enter]
        return subprocess.run(room, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    def probes(self) -> tuple[int, int]:
        """What `live` and `ready` answer, in this order."""
        live, ready = (self.run(*PROBES[probe]).returncode for probe in ("live", "ready"))
        return live, ready

    def wait(self, is_true: Callable[[], object], what: str) -> None:
        try:
            until(is_true, what)
        except AssertionError as error:
            error.add_note(self.said())
            raise

    def wait_ready(self) -> None:
        self.wait(lambda: self.run(*PROBES["ready"]).returncode == 0, "ready")

    def status(self) -> dict:
        return json.loads(self.run("twinwatch", "status", "--json").stdout)

    def inside(self, path: str) -> Path:
        """A path in the container, as seen from here."""
        return Path(f"/proc/{self.init}/root{path}")

    def signal(self, number: int) -> int:
        """Signal PID 1 from outside, and wait for the end: the container's exit code."""
        signal.pidfd_send_signal(self._pidfd, number)
        return self._ended()

    def _ended(self) -> int:
        outer, self._outer = self._outer, None
        os.close(self._pidfd)
        self._pidfd = -1
        assert outer is not None
        return outer.wait(PATIENCE_S)

    def end(self) -> None:
        if self._outer is None:
            return
        if self._pidfd >= 0 and self._outer.poll() is None:
            self.signal(signal.SIGKILL)
        elif self._pidfd >= 0:
            self._ended()
        else:
            self._outer.kill()
            self._outer.wait()


def as_user() -> list[str]:
    """No capability, and no way to get one; it dies with who started it."""
    uid, gid = last("USER").split(":")
    return [
        *("setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs"),
        *("--inh-caps=-all", "--bounding-set=-all", "--pdeathsig", "KILL"),
    ]


def tmpfs() -> dict[str, tuple[str, str]]:
    """The volumes of compose.yaml, all in memory: a named one takes over the owner from the image."""
    owned = {
        volume.partition(":")[2]: ("", "uid=10001,gid=10001,mode=0700") for volume in compose()["volumes"]
    }
    return owned | {
        path: ("", options) for path, _, options in (each.partition(":") for each in compose()["tmpfs"])
    }


def persistent(directory: Path) -> dict[str, tuple[str, str]]:
    """The volumes of deployment.yaml as a kubelet makes them: root's, and the group may write."""
    found = {}
    for mount in container()["volumeMounts"]:
        source = directory / mount["name"]
        source.mkdir()
        source.chmod(0o2775)
        os.chown(source, 0, pod()["securityContext"]["fsGroup"])
        found[mount["mountPath"]] = (str(source), "")
    return found


@pytest.fixture
def boxes() -> Iterator[list[Box]]:
    """Boxes that end with the test."""
    for program in ("setpriv", "unshare", "nsenter"):
        if shutil.which(program) is None:
            pytest.skip(f"interpreter absent: {program}")
    made: list[Box] = []
    yield made
    for box in made:
        box.end()


@pytest.mark.root
def test_from_start_to_end(boxes: list[Box], tmp_path: Path):
    """Whole, an orphan collected, everything but PID 1 killed, down, up, TERM; and both probes in each phase."""
    mother = json.dumps(["python3", "-I", "-S", "/etc/twinwatch/mother.py"])
    box = Box(tmp_path, tmpfs(), extra=f"\n  mother: {{command: {mother}}}\n")
    (tmp_path / "etc" / "mother.py").write_text(MOTHER)
    boxes.append(box)
    box.start()
    box.wait_ready()
    assert box.probes() == (0, 0)
    assert (box.status_field("CapEff"), box.status_field("NoNewPrivs"), box.status_field("Seccomp")) == (
        "0" * 16,
        "1",
        "2",
    )
    assert box.status_field("NSpid").split()[-1] == "1"
    assert_read_only(box)
    assert_orphan_collected(box)

    # PID 1 is all that is left: it lives, and brings the others back.
    before = box.status()
    box.run("python3", "-c", "import os; os.kill(-1, 9)")
    assert box.probes()[0] == 0
    box.wait(lambda: all_later(generations_of(box.status()), generations_of(before)), "all have successors")
    box.wait_ready()

    assert box.run("twinwatch", "down").returncode == 0
    assert box.probes() == (0, 1), "it waits for `up`"
    assert box.run("twinwatch", "up", inside()).returncode == 0
    assert box.probes() == (0, 0)
    assert box.signal(signal.SIGTERM) == 0, box.said()


def assert_read_only(box: Box) -> None:
    tried = box.run("python3", "-c", "open('/etc/twinwatch/x', 'w')")
    assert "Read-only file system" in tried.stderr
    tried = box.run("python3", "-c", "open('/x', 'w')")
    assert "Read-only file system" in tried.stderr


def assert_orphan_collected(box: Box) -> None:
    log = box.inside(f"{box.environ['TWINWATCH_STATE_DIR']}/{PAIR}/log/mother.log")
    box.wait(lambda: "orphan" in log.read_text(), "there was an orphan")
    _, pid, _, adopter = log.read_text().split()
    assert adopter == "1"
    box.wait(lambda: not box.inside(f"/proc/{pid}").exists(), "the orphan is collected")
    assert not [
        stat
        for stat in (read_stat(path) for path in box.inside("/proc").glob("[0-9]*/stat"))
        if stat.rpartition(")")[2].split()[:1] == ["Z"]
    ]


def read_stat(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def all_later(now: dict[str, int], before: dict[str, int]) -> bool:
    return all(now.get(name, 0) > generation for name, generation in before.items())


def generations_of(status: dict) -> dict[str, int]:
    slots = {**status["watchers"], **{worker["name"]: worker for worker in status["workers"]}}
    return {name: slot["generation"] for name, slot in slots.items() if slot}


@pytest.mark.root
def test_the_next_one_on_the_same_volumes(boxes: list[Box], tmp_path: Path):
    """TERM is for now, `down` is kept; what a killed one left in the state file is not believed."""
    box = Box(tmp_path, persistent(tmp_path))
    boxes.append(box)
    state = tmp_path / "runtime" / Path(box.environ["TWINWATCH_RUNTIME_DIR"]).name / PAIR / "state"
    box.start()
    box.wait_ready()
    assert box.signal(signal.SIGTERM) == 0, box.said()
    assert not state.exists()

    box.start()
    box.wait_ready()
    before = box.status()
    box.signal(signal.SIGKILL)
    assert state.exists()

    box.start()
    box.wait_ready()
    assert generations_of(box.status()) == generations_of(before), "counted on from what was kept"
    assert box.run("twinwatch", "down").returncode == 0
    box.signal(signal.SIGKILL)

    box.start()
    box.wait(lambda: box.run(*PROBES["live"]).returncode == 0, "live")
    found = box.status()
    assert (found["state"], found["desired"], found["anchor"]["phase"]) == ("down", "stop", "idle")
    assert box.probes() == (0, 1)
    assert box.run("twinwatch", "up", inside()).returncode == 0
    assert box.probes() == (0, 0)
    assert box.signal(signal.SIGTERM) == 0, box.said()
