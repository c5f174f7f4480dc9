"""Programs that were not written for twinwatch: they serve again after a kill, and on without watchers."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_kit import LivePair, entry, kill_guards, kill_watchers, try_kill, until, wait_running

from twinwatch.core.values import Phase

SERVING_S = 60  # patience; no verdict depends on it
PATIENT = {"backoff": {"initial": "100ms", "max": "500ms", "burst": 20}}


def program_of(name: str, *places: str) -> str:
    path = os.pathsep.join((*places, os.environ["PATH"], "/usr/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"interpreter absent: {name}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, question: bytes) -> bytes:
    """What the server says; nothing while it does not serve."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            link.sendall(question)
            answer = b""
            while piece := link.recv(65536):
                answer += piece
            return answer
    except OSError:
        return b""


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def check_service(pair: LivePair, name: str, serves: Callable[[], bool], *, has_children: bool) -> None:
    """KILL of the main process: back, once, serving. KILL of all guards: the same process serves on."""
    until(serves, f"{name} serves", SERVING_S)
    for generation in (2, 3):
        slot = pair.worker(name)
        if has_children:
            until(lambda pid=slot.identity.pid: children_of(pid), "it has children")
        old = children_of(slot.identity.pid)
        pair.kill(slot.identity)
        born = wait_running(pair, name, generation=generation)[0]
        assert born.identity.pid not in old
        until(serves, f"{name} serves again", SERVING_S)
        now = pair.worker(name)
        assert (now.phase, now.generation) == (Phase.RUNNING, generation), "it came back once"
        assert not [pid for pid in old if os.path.exists(f"/proc/{pid}") and is_same_program(pid, name, now.identity.pid)]
    slot = pair.worker(name)
    kill_watchers(pair)
    assert pair.worker(name).identity == slot.identity
    assert serves()
    kill_guards(pair)
    assert serves(), "with nobody guarding it"
    pair.up()
    assert pair.worker(name).identity == slot.identity, "adopted"
    assert serves()
    pair.call("stop", "-p", pair.name, name, "--timeout", "60s")
    assert not serves()


def is_same_program(pid: int, _name: str, main: int) -> bool:
    """A process with this PID runs what the worker runs, and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return state[0] not in "ZX" and int(state[2]) != main and os.readlink(f"/proc/{pid}/exe") == os.readlink(f"/proc/{main}/exe")
    except OSError:
        return False


def test_redis(pair: LivePair):
    """What it appended to its own log before the KILL is there afterwards."""
    port = free_port()
    data = pair.directory / "redis"
    data.mkdir()
    command = [program_of("redis-server"), "--port", str(port), "--dir", str(data), "--bind", "127.0.0.1"]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    pair.configure(entry("redis", command, restart=PATIENT))
    pair.up()

    def serves() -> bool:
        return ask(port, b"PING\r\nQUIT\r\n").startswith(b"+PONG")

    until(serves, "redis serves")
    assert ask(port, b"SET key kept\r\nQUIT\r\n").startswith(b"+OK")
    check_service(pair, "redis", serves, has_children=False)
    pair.call("start", "-p", pair.name, "redis")
    until(serves, "redis serves")
    assert b"kept" in ask(port, b"GET key\r\nQUIT\r\n")


def test_nginx(pair: LivePair):
    """Its workers outlive a killed master and hold the port: they have to be ended first."""
    nginx = program_of("nginx")
    port = free_port()
    room = pair.directory / "nginx"
    room.mkdir()
    room.chmod(0o755)
    temporary = "".join(
        f"  {kind}_temp_path {room}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (room / "nginx.conf").write_text(
        f"worker_processes 2;\npid {room}/pid;\nerror_log {room}/error.log;\nevents {{ worker_connections 32; }}\n"
        f"http {{\n  access_log off;\n{temporary}"
        f'  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello"; }} }}\n}}\n'
    )
    command = [nginx, "-p", str(room), "-c", str(room / "nginx.conf"), "-g", "daemon off;"]
    pair.configure(entry("nginx", command, restart=PATIENT))
    pair.up()

    def serves() -> bool:
        return ask(port, b"GET / HTTP/1.0\r\n\r\n").endswith(b"hello")

    check_service(pair, "nginx", serves, has_children=True)


def test_gunicorn(pair: LivePair):
    """Workers of a killed arbiter go on listening for a moment: no second arbiter beside them."""
    pytest.importorskip("gunicorn", reason="interpreter absent: gunicorn")
    port = free_port()
    (pair.directory / "hello.py").write_text(
        "def app(environ, start):\n    start('200 OK', [('Content-Type', 'text/plain')])\n    return [b'hello']\n"
    )
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "hello:app"]
    pair.configure(entry("gunicorn", command, restart=PATIENT))
    pair.up()

    def serves() -> bool:
        return ask(port, b"GET / HTTP/1.0\r\n\r\n").endswith(b"hello")

    check_service(pair, "gunicorn", serves, has_children=True)


@pytest.mark.root
def test_postgresql(pair: LivePair):
    """As a user of its own. A backend of a killed postmaster keeps the next one from starting."""
    places = [str(place) for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    initdb, postgres = program_of("initdb", *places), program_of("postgres", *places)
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    port = free_port()
    room = Path("/tmp") / f"twinwatch-test-{os.getpid()}"
    room.mkdir(0o700)
    try:
        os.chown(room, user.pw_uid, user.pw_gid)
        data = room / "data"
        initialise = [initdb, "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--no-locale"]
        subprocess.run(initialise, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", check=True, capture_output=True)
        psql = [program_of("psql", *places), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-Atc"]

        def query(text: str) -> str:
            return subprocess.run([*psql, text], capture_output=True, text=True, check=False, timeout=30).stdout.strip()

        command = [postgres, "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(room)]
        stop = {"signal": "INT", "timeout": "30s"}
        pair.configure(entry("pg", command, user=user.pw_name, directory="/", restart=PATIENT, stop=stop))
        pair.up()
        until(lambda: query("select 1") == "1", "PostgreSQL serves", SERVING_S)
        query("create table t as select 42 as n")
        check_service(pair, "pg", lambda: query("select n from t") == "42", has_children=True)
        assert pair.worker("pg").exit.code == 0, "a fast shutdown"
    finally:
        if pair.runtime.exists():
            for slot in pair.workers().values():
                try_kill(slot.identity)
        shutil.rmtree(room)
