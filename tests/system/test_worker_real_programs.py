"""Programs that were not written for twinwatch: they serve again after a kill, and on without watchers."""

import sys

import pytest
from service_kit import PATIENT, ask, check_service, free_port, program_of
from worker_kit import LivePair, entry, until


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
        f"  {kind}_temp_path {room}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
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
