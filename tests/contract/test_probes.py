"""Single questions: what real sockets and real children make of them, within their time and bounds."""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from scene import adopting_orphans, children, until

from twinwatch.core.checks import Probe, ProbeKind
from twinwatch.core.spec import Account
from twinwatch.linux import process
from twinwatch.services.checks import aside as aside_module
from twinwatch.services.checks import execute, http, reach, tcp
from twinwatch.services.checks.execute import Errand, Runner
from twinwatch.services.checks.reach import Names, Unable

Handler = Callable[[socket.socket], None]
PATIENCE_S = 30
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def says(answer: bytes, *, stays: bool = False) -> Handler:
    """A server that hears something, says something, and closes or stays until it is left."""

    def handle(link: socket.socket) -> None:
        link.recv(65536)
        link.sendall(answer)
        link.shutdown(socket.SHUT_WR) if not stays else None
        while link.recv(65536):
            pass

    return handle


def silent(link: socket.socket) -> None:
    while link.recv(65536):
        pass


@contextmanager
def serving(
    server: socket.socket, handle: Handler, wrap: Callable[..., socket.socket] | None = None
) -> Iterator[int]:
    """Each connection has a thread; all of them have ended at the end."""
    threads: list[threading.Thread] = []

    def serve(link: socket.socket) -> None:
        with suppress(OSError), link:  # it was left
            if wrap is None:
                handle(link)
            else:
                with wrap(link, server_side=True) as shrouded:
                    handle(shrouded)

    def accept() -> None:
        with suppress(OSError):  # it was shut down
            while True:
                threads.append(threading.Thread(target=serve, args=(server.accept()[0],)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    with server:
        server.listen(400)
        acceptor.start()
        try:
            yield server.getsockname()[1] if server.family == socket.AF_INET else 0
        finally:
            server.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()


def at_port(handle: Handler, wrap: Callable[..., socket.socket] | None = None) -> AbstractContextManager[int]:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    return serving(server, handle, wrap)


def asked_http(target: str, **fields: object) -> str:
    """Within the time that a failed test may take."""

    async def ask() -> str:
        async with asyncio.timeout(PATIENCE_S):
            return await http.ask(Probe(ProbeKind.HTTP, target, **fields), Names())  # type: ignore[arg-type]

    return asyncio.run(ask())


def asked_tcp(target: str = "", **fields: object) -> str:
    async def ask() -> str:
        async with asyncio.timeout(PATIENCE_S):
            return await tcp.ask(Probe(ProbeKind.TCP, target, **fields), Names())  # type: ignore[arg-type]

    return asyncio.run(ask())


def http_says(answer: bytes, *, stays: bool = False, **fields: object) -> str:
    with at_port(says(answer, stays=stays)) as port:
        return asked_http(f"http://127.0.0.1:{port}/", **fields)


def tcp_says(answer: bytes, *, stays: bool = False, **fields: object) -> str:
    with at_port(says(answer, stays=stays)) as port:
        return asked_tcp(f"127.0.0.1:{port}", **fields)


# ---------------------------------------------------------------- HTTP


def chunked(*pieces: bytes) -> bytes:
    body = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "fields", "why"),
    [
        (OK, {}, ""),
        (b"HTTP/1.0 200\n\nhello", {}, ""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://nowhere.invalid/\r\n\r\n", {}, ""),
        (b"HTTP/1.1 302 Found\r\n\r\n", {"statuses": ((200, 299),)}, "status 302"),
        (b"HTTP/1.1 503 No\r\n\r\n", {}, "status 503"),
        (b"HTTP/1.1 503 No\r\n\r\n", {"statuses": ((200, 200), (500, 599))}, ""),
        (b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + OK, {"body": "hello"}, ""),
        (OK, {"body": "^hel+o$"}, ""),
        (OK, {"body": "bye"}, "the body does not match: hello"),
        (chunked(b"he", b"llo"), {"body": "^hello$"}, ""),
        (chunked(), {"body": "."}, "the body does not match: "),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil its end", {"body": "its end$"}, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", {"body": "hello"}, "its answer breaks off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", {}, ""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
            {"body": "h"},
            "its answer breaks off",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
            {"body": "h"},
            "the body does not match: ",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            {"body": "h"},
            "it does not speak HTTP: no size of a chunk",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            {"body": "h"},
            "it does not speak HTTP: no number as Content-Length",
        ),
        (b"HTTP/1.1 200 OK\r\nX: y", {}, "its answer breaks off"),
        (b"SSH-2.0-OpenSSH\r\n", {}, "it does not speak HTTP"),
        (b"HTTP/1.1 999 \r\n\r\n", {}, "it does not speak HTTP"),
        (b"", {}, "it closed the connection without an answer"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"X: %s\r\n" % (b"y" * 1000) * 70,
            {},
            "the head of its answer is too long",
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, {}, "the head of its answer is too long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", {"method": "HEAD"}, ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", {}, ""),
        (b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe", {"body": "�"}, ""),
    ],
)
def test_an_http_answer_and_what_is_made_of_it(answer, fields, why):
    assert http_says(answer, **fields) == why


def test_of_an_endless_body_only_the_first_64_kib_are_looked_at():
    def endless(link: socket.socket) -> None:
        link.recv(65536)
        link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            link.sendall(b"x" * 65536)

    with at_port(endless) as port:
        why = asked_http(f"http://127.0.0.1:{port}/", body="y")
    assert why == "the body does not match: " + "x" * 79 + "…"


def test_a_stream_that_goes_on_is_no_failure_where_only_its_status_is_asked_for():
    assert http_says(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n", stays=True) == ""


def test_what_is_sent_is_a_request_with_its_headers():
    heard = []

    def listen(link: socket.socket) -> None:
        heard.append(link.recv(65536))
        link.sendall(OK)

    with at_port(listen) as port:
        headers = (("host", "shop.example"), ("X-Key", "caf\xe9"))
        assert asked_http(f"http://127.0.0.1:{port}?a=b#c", method="POST", headers=headers) == ""
    first, *lines = heard[0].decode("latin-1").split("\r\n")[:-2]
    assert first == "POST /?a=b HTTP/1.1"
    assert sorted(lines) == [
        *("Accept: */*", "Connection: close", "Content-Length: 0"),
        *("User-Agent: twinwatch", "X-Key: caf\xe9", "host: shop.example"),
    ]


def test_a_server_that_accepts_and_never_answers_costs_the_timeout_and_no_descriptor():
    async def ask(port: int) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await http.ask(Probe(ProbeKind.HTTP, f"http://127.0.0.1:{port}/"), Names())
        await asyncio.sleep(0)
        after = len(os.listdir("/proc/self/fd"))
        assert after <= before + 1, "its own socket is closed; the server's may be there yet"

    with at_port(silent) as port:
        asyncio.run(ask(port))


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        port = taken.getsockname()[1]
        assert asked_http(f"http://127.0.0.1:{port}/") == "connection refused"
        assert asked_tcp(f"127.0.0.1:{port}") == "connection refused"


def test_a_port_that_answers_to_itself_is_nobody():
    """Asked from the very port that is asked for, TCP connects a socket to itself."""
    with socket.socket() as alone:
        alone.bind(("127.0.0.1", 0))
        alone.connect(alone.getsockname())
        with pytest.raises(ConnectionRefusedError):
            reach._refuse_itself(alone)


# ---------------------------------------------------------------- TCP


@pytest.mark.parametrize(
    ("answer", "fields", "why"),
    [
        (b"", {}, ""),
        (b"+PONG\r\n", {"send": "PING\r\n", "body": r"^\+PONG"}, ""),
        (b"-ERR\r\n", {"send": "PING\r\n", "body": r"^\+PONG"}, "the answer does not match: -ERR"),
        (b"", {"send": "PING\r\n", "body": "x"}, "it closed the connection without an answer"),
        (b"x" * 70_000 + b"y", {"send": "\n", "body": "y"}, "the answer does not match: " + "x" * 79 + "…"),
    ],
)
def test_a_tcp_answer_and_what_is_made_of_it(answer, fields, why):
    assert tcp_says(answer, **fields) == why


def test_a_tcp_answer_is_believed_as_soon_as_it_has_come():
    assert tcp_says(b"220 ready\r\n", stays=True, send="\n", body="^220 ") == ""


# ---------------------------------------------------------------- names, addresses, sockets in the file system


def test_a_unix_socket_is_asked(tmp_path: Path):
    path = str(tmp_path / "s")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    with serving(server, says(OK)):
        assert asked_http("http://web/", socket=path, body="hello") == ""
        assert asked_tcp(socket=path) == ""
    assert asked_tcp(socket=path) == "connection refused"
    assert asked_tcp(socket=f"{path}.absent") == "no such file or directory"


def test_a_unix_socket_with_a_full_backlog_is_not_taken_for_a_connection(tmp_path: Path):
    path = str(tmp_path / "s")
    waiting = []

    def fill() -> None:
        while True:
            waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            waiting[-1].connect(path)

    async def ask() -> None:
        async with asyncio.timeout(0.1):
            await tcp.ask(Probe(ProbeKind.TCP, socket=path), Names())

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        with pytest.raises(BlockingIOError):
            fill()
        with pytest.raises(TimeoutError):
            asyncio.run(ask())
    for link in waiting:
        link.close()


def test_localhost_is_looked_up_and_every_address_is_tried():
    """It listens at IPv4 alone, and the name may mean IPv6 first."""
    with at_port(says(b"")) as port:
        assert asked_tcp(f"localhost:{port}") == ""


def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_arguments: object, **_options: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert asked_http("http://shop.invalid/") == "name: name or service not known"


def test_a_resolver_that_hangs_hangs_in_one_thread(monkeypatch: pytest.MonkeyPatch):
    """However often it is asked, and whoever asks gives up in time."""
    let_go, asked = threading.Event(), []

    def hang(*arguments: object, **_options: object) -> list[object]:
        asked.append(arguments)
        let_go.wait(PATIENCE_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def ask() -> None:
        names = Names()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await http.ask(Probe(ProbeKind.HTTP, "http://slow.invalid/"), names)
        let_go.set()
        await asyncio.wait(names._asked.values(), timeout=PATIENCE_S)
        await asyncio.sleep(0)
        assert not names._asked

    asyncio.run(ask())
    assert len(asked) == 1
    until(lambda: threading.active_count() == 1, "its thread has ended")


def test_want_of_means_is_not_the_fault_of_who_is_asked(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(24, "too many")

    monkeypatch.setattr(reach, "_refuse_itself", refuse)
    with at_port(silent) as port, pytest.raises(Unable, match="too many open files"):
        asked_tcp(f"127.0.0.1:{port}")


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch):
    class Refusing(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(aside_module.threading, "Thread", Refusing)
    with pytest.raises(Unable):
        asked_http("http://shop.invalid/")


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority `ca.pem`; `good.pem` and `other.pem` of it; `self.pem` of nobody. Each with its key."""
    room = tmp_path_factory.mktemp("certificates")

    def make(*arguments: str) -> None:
        try:
            subprocess.run(["openssl", *arguments], cwd=room, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("interpreter absent: openssl")

    new = (
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    )

    def issue(name: str, who: str, *options: str) -> None:
        names = () if not who else ("-addext", f"subjectAltName={who}")
        files = ("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")
        make(*new, *files, *names, *options)
        (room / f"{name}.pem").write_bytes(
            (room / f"{name}.key").read_bytes() + (room / f"{name}.crt").read_bytes()
        )

    issue("ca", "")
    issue("good", "IP:127.0.0.1", "-CA", "ca.crt", "-CAkey", "ca.key")
    issue("other", "DNS:elsewhere.example", "-CA", "ca.crt", "-CAkey", "ca.key")
    issue("self", "IP:127.0.0.1")
    return room


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("good", ""),
        ("other", "certificate: IP address mismatch, certificate is not valid for '127.0.0.1'."),
        ("self", "certificate: self-signed certificate"),
    ],
)
def test_a_certificate_is_verified(name, why, certificates: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.crt"))
    monkeypatch.setattr(reach, "_context", None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.pem")
    with at_port(says(OK), context.wrap_socket) as port:
        assert asked_http(f"https://127.0.0.1:{port}/", body="hello") == why


def test_a_server_that_does_not_speak_tls():
    with at_port(says(OK)) as port:
        assert asked_http(f"https://127.0.0.1:{port}/").startswith("TLS: ")


# ---------------------------------------------------------------- commands


@pytest.fixture(autouse=True)
def orphans() -> Iterator[None]:
    with adopting_orphans():
        yield


def errand(script: str, **fields: object) -> Errand:
    usual: dict[str, object] = {
        "command": ("sh", "-c", script),
        "environment": {"PATH": os.environ["PATH"]},
        "directory": "/",
        "umask": 0o022,
        "account": None,
    }
    return Errand(**usual | fields)  # type: ignore[arg-type]


def run(asked: Errand, timeout_s: float = PATIENCE_S) -> str:
    async def ask() -> str:
        runner = Runner("/nowhere/token")
        try:
            async with asyncio.timeout(timeout_s):
                return await runner.ask(asked)
        except TimeoutError:
            return "time is over"
        finally:
            await runner.close(PATIENCE_S)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 0", ""),
        ("exit 3", "exit code 3"),
        ("echo first; echo second >&2; exit 1", "exit code 1: first second"),
        ("kill -9 $$", "signal 9"),
        ("head -c 1000000 /dev/zero; exit 1", "exit code 1"),
        ("yes no | head -c 1000000; exit 1", "exit code 1: " + "no " * 26 + "n…"),
        ("echo fine", ""),
    ],
)
def test_how_a_command_ends_is_its_answer(script, why):
    assert run(errand(script)) == why
    assert not children(), "it was collected"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"command": ("/nowhere/program",)}, "cannot be run: no such file or directory"),
        ({"command": ("/etc/passwd",)}, "cannot be run: permission denied"),
        ({"directory": "/nowhere"}, "cannot be run: no such file or directory"),
    ],
)
def test_a_command_that_cannot_be_run(fields, why):
    assert run(errand("", **fields)) == why


def test_a_command_runs_where_and_as_its_worker_does(tmp_path: Path):
    script = 'test "$(pwd)" = "$1" -a "$NAME" = value -a "$(umask)" = 0027 -a -z "$HOME"'
    asked = errand(
        "", directory=str(tmp_path), umask=0o027, environment={"PATH": "/usr/bin:/bin", "NAME": "value"}
    )
    assert run(Errand(("sh", "-c", script, "sh", str(tmp_path)), *_rest(asked))) == ""


def _rest(asked: Errand) -> tuple[object, ...]:
    return asked.environment, asked.directory, asked.umask, asked.account


@pytest.mark.root
def test_a_command_runs_as_its_workers_user():
    account = Account(65534, 65534, (65534,), "nobody", "/", "/bin/sh")
    assert run(errand('test "$(id -u) $(id -g) $(id -G)" = "65534 65534 65534"', account=account)) == ""


def test_what_hangs_is_ended_with_its_whole_group_and_collected(tmp_path: Path):
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $$ $! > {pids}.draft; mv {pids}.draft {pids}; wait"

    async def ask() -> None:
        runner = Runner("/nowhere/token")
        task = asyncio.create_task(runner.ask(errand(script)))
        await asyncio.sleep(0)
        until(pids.exists, "it hangs")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await runner.close(PATIENCE_S)

    asyncio.run(ask())
    leader, member = map(int, pids.read_text().split())
    assert leader not in children(), "it was collected"
    until(lambda: not _lives(member), "its child is dead as well")


def test_what_a_command_leaves_in_its_group_is_ended(tmp_path: Path):
    pid = tmp_path / "pid"
    assert run(errand(f"sleep 1000 & echo $! > {pid}")) == ""
    until(lambda: not _lives(int(pid.read_text())), "what it left is dead")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_outlives_kill_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    """As one in uninterruptible sleep does."""
    with monkeypatch.context() as patch:
        patch.setattr(execute.process, "send", lambda _pidfd, _number: True)
        patch.setattr(execute.process, "send_group", lambda _pidfd, _number: True)

        async def ask() -> None:
            runner = Runner("/nowhere/token")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await runner.ask(errand("exec sleep 1000"))
            await runner.close(0.01)

        asyncio.run(ask())
    (left,) = children()
    pidfd = os.pidfd_open(left)
    process.send(pidfd, signal.SIGKILL)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)


# ---------------------------------------------------------------- hundreds at once


def test_hundreds_of_hanging_questions_delay_nobody():
    async def ask(deaf: int, port: int) -> int:
        names = Names()
        hanging = Probe(ProbeKind.HTTP, f"http://127.0.0.1:{deaf}/")
        tasks = [asyncio.create_task(http.ask(hanging, names)) for _ in range(300)]
        assert await http.ask(Probe(ProbeKind.HTTP, f"http://127.0.0.1:{port}/"), names) == ""
        still = sum(not task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return still

    with at_port(says(OK)) as port, socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(400)  # the kernel accepts for it
        assert asyncio.run(ask(deaf.getsockname()[1], port)) == 300
