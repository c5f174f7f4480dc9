"""Programs made for systemd speak sd_notify as they are: depended on when they serve, and not before."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from notify_kit import READY, asker, wait_note, wait_ready
from service_kit import PATIENT, ask, free_port, program_of
from test_worker_postgresql import Cluster, cluster
from worker_kit import LivePair, entry, kill_watchers, until

__all__ = ["cluster"]
HELLO = b"GET / HTTP/1.0\r\n\r\n"
HELLO_TEXT = r"GET / HTTP/1.0\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[LivePair]:
    """In a directory that other users may pass through, as those of an installed pair are."""
    room = Path(tempfile.mkdtemp(prefix="twinwatch-"))
    room.chmod(0o711)
    live = LivePair(room)
    yield live
    crashed = live.crashes()
    live.end()
    shutil.rmtree(room)
    assert "Traceback" not in crashed, crashed


def check_notifier(pair: LivePair, name: str, serves: Callable[[], bool], note: str = "") -> None:
    """It serves once it is ready; ready again after a KILL; and still, unharmed, after its watchers died."""
    slot = wait_ready(pair, name)
    assert serves()
    wait_note(pair, name, note)
    pair.kill(slot.identity)
    slot = wait_ready(pair, name, slot.generation + 1)
    assert serves()
    kill_watchers(pair)
    assert wait_ready(pair, name).identity == slot.identity
    assert serves()


def check_first_answer(pair: LivePair, name: str, answer: Path, expected: bytes) -> None:
    """The job that waited for its readiness got an answer to the first thing it asked."""
    until(answer.exists, f"{name} was asked")
    assert expected in answer.read_bytes()


def test_redis(pair: LivePair):
    port = free_port()
    answer = pair.directory / "answer"
    command = [program_of("redis-server"), "--port", str(port), "--dir", str(pair.directory), "--save", ""]
    command += ["--bind", "127.0.0.1", "--supervised", "systemd"]
    redis = entry("redis", command, ready=READY, restart=PATIENT)
    pair.configure(redis + asker("asker", port, r"PING\r\n", answer, "redis"))
    pair.up()
    check_first_answer(pair, "redis", answer, b"+PONG")
    check_notifier(pair, "redis", lambda: ask(port, b"PING\r\nQUIT\r\n").startswith(b"+PONG"), "Ready")


def test_gunicorn(pair: LivePair):
    pytest.importorskip("gunicorn", reason="interpreter absent: gunicorn")
    port = free_port()
    answer = pair.directory / "answer"
    (pair.directory / "hello.py").write_text(
        "def app(environ, start):\n    start('200 OK', [('Content-Type', 'text/plain')])\n    return [b'hello']\n"
    )
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "hello:app"]
    gunicorn = entry("gunicorn", command, ready=READY, restart=PATIENT)
    pair.configure(gunicorn + asker("asker", port, HELLO_TEXT, answer, "gunicorn"))
    pair.up()
    check_first_answer(pair, "gunicorn", answer, b"200 OK")
    check_notifier(pair, "gunicorn", lambda: ask(port, HELLO).endswith(b"hello"), "booted")


def test_haproxy(pair: LivePair):
    """Its master is ready when its workers are; on USR2 it executes itself anew and names itself again."""
    port = free_port()
    answer = pair.directory / "answer"
    config = pair.directory / "haproxy.cfg"
    config.write_text(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n"
        f"frontend front\n  bind 127.0.0.1:{port}\n"
        "  http-request return status 200 content-type text/plain string hello\n"
    )
    command = [program_of("haproxy"), "-Ws", "-f", str(config), "-p", str(pair.directory / "haproxy.pid")]
    haproxy = entry("haproxy", command, ready=READY, restart=PATIENT)
    pair.configure(haproxy + asker("asker", port, HELLO_TEXT, answer, "haproxy"))
    pair.up()

    def serves() -> bool:
        return ask(port, HELLO).endswith(b"hello")

    check_first_answer(pair, "haproxy", answer, b"200 OK")
    check_notifier(pair, "haproxy", serves)
    slot = pair.worker("haproxy")
    config.write_text(config.read_text().replace("string hello", "string again"))
    pair.call("signal", "-p", pair.name, "USR2", "haproxy")
    until(lambda: ask(port, HELLO).endswith(b"again"), "it has read its new configuration")
    after = wait_ready(pair, "haproxy")
    assert (after.identity, after.generation) == (slot.identity, slot.generation)


@pytest.mark.root
def test_postgresql(pair: LivePair, cluster: Cluster):
    """As another user, with the socket in a directory of the pair's owner."""
    stop = {"signal": "INT", "timeout": "30s"}
    keys = {"user": cluster.user.pw_name, "directory": "/", "restart": PATIENT, "stop": stop, "ready": READY}
    answer = cluster.room / "answer"
    script = [cluster.psql, "-h", "127.0.0.1", "-p", str(cluster.port), "-U", "postgres", "-Atc", "select 42"]
    asking = entry("asker", [*script, "-o", str(answer)], depends_on=["pg"], restart={"policy": "never"})
    pair.configure(entry("pg", cluster.command(), **keys) + asking)
    pair.up()
    until(lambda: answer.exists() and answer.read_bytes(), "it was asked")
    assert answer.read_text() == "42\n", "the first connection was accepted"
    slot = wait_ready(pair, "pg")
    pair.call("signal", "-p", pair.name, "HUP", "pg")
    pair.wait_beats()
    wait_ready(pair, "pg")
    pair.kill(slot.identity)
    slot = wait_ready(pair, "pg", slot.generation + 1)
    assert cluster.query("select 1") == "1"
    kill_watchers(pair)
    assert wait_ready(pair, "pg").identity == slot.identity
    pair.call("stop", "-p", pair.name, "pg", "--timeout", "60s")
    assert not pair.worker("pg").ready


@pytest.mark.root
def test_a_program_that_changes_its_user(pair: LivePair):
    """It is of the worker by its process; what user that is by now does not matter."""
    setpriv, notify = program_of("setpriv"), program_of("systemd-notify")
    speak = f"{notify} --ready --status='as nobody'; exec sleep 100000"
    command = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", speak]
    pair.configure(entry("shy", command, ready=READY, restart=PATIENT))
    pair.up()
    wait_note(pair, "shy", "as nobody")
