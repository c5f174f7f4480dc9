"""The service that tells: how often, whom, what fails, and its death at every step."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from scene import Actor, Scene, kill_self, until

from twinwatch.config import snapshot
from twinwatch.core.spec import Alert
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.linux import journal
from twinwatch.linux.events import EventLog
from twinwatch.services.alerts import ledger, telling
from twinwatch.services.alerts.ledger import Ledger
from twinwatch.services.room import Room

HOUR_NS = 3600 * SECOND_NS
SERVICE = Path(telling.__file__).parent
EVERYTHING = ("fatal", "exited", "restarted")


class Told:
    """A pair's event log, an alerts service beside it, and what it has told."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.paths = scene.paths
        self.out = scene.directory / "told"
        self.log = EventLog(self.paths.events, "shop", "a.1")
        self.log.write("phase", slot="_alerts", old="stopped", new="starting", generation=1)
        self._numbers = iter(range(1_000_000))
        self._generation = 1

    def alert(self, **fields: object) -> Alert:
        """By a command that appends each message to a file."""
        script = 'printf "%s\\n" "$(cat)" >> "$0"'
        usual = {"command": ("/bin/sh", "-c", script, str(self.out)), "interval_ns": HOUR_NS}
        return Alert(**{"on": EVERYTHING} | usual | fields)  # type: ignore[arg-type]

    def configure(self, *alerts: Alert) -> None:
        self._generation += 1
        spec = replace(self.scene.spec, generation=self._generation, alerts=alerts)
        snapshot.write(self.paths.snapshots, spec)
        self.scene.record_header(config_generation=self._generation)

    def serve(
        self, before: Callable[[], None] = lambda: None, environ: dict[str, str] | None = None
    ) -> Actor:
        """Start the service."""

        def part(say: Callable[[object], None]) -> None:
            telling.POLL_NS = telling.RETRY_FIRST_NS = 5 * MILLISECOND_NS
            os.environ.update(environ or {})
            with Room(self.paths, "alerts") as room:
                say("it can be told to end")
                before()
                telling.main(room)

        service = self.scene.act(part)
        service.hear()
        return service

    def exits(self, count: int = 1, slot: str = "web") -> None:
        """So many crashes happen."""
        for _ in range(count):
            end = {"kind": "error", "code": 3, "number": next(self._numbers)}
            self.log.write(
                "phase", slot=slot, old="running", new="stopping", reason="ended", generation=1, exit=end
            )

    def messages(self, out: Path | None = None) -> list[dict[str, object]]:
        path = out or self.out
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def wait(self, count: int, out: Path | None = None) -> list[dict[str, object]]:
        until(lambda: len(self.messages(out)) >= count, f"{count} messages")
        return self.messages(out)

    def failures(self) -> list[dict[str, object]]:
        lines = Path(self.paths.events).read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == "alert-failed"]

    def wait_failure(self) -> dict[str, object]:
        until(self.failures, "an alert has failed")
        (failure,) = self.failures()
        return failure

    def kept(self) -> Ledger | None:
        return ledger.read(f"{self.paths.state}/alerts.json")

    def is_settled(self) -> bool:
        """Nothing is collected or on its way."""
        kept = self.kept()
        return kept is not None and all(
            window.group is None and parcel is None for window, parcel in kept.targets.values()
        )


@pytest.fixture
def told(scene: Scene) -> Iterator[Told]:
    played = Told(scene)
    yield played
    played.log.close()


def end(service: Actor) -> None:
    service.send(signal.SIGTERM)
    assert service.status() == 0


def numbers(messages: list[dict[str, object]]) -> list[int]:
    return [event["exit"]["number"] for found in messages for event in found["events"]]


# ---------------------------------------------------------------- what is told, and how often


def test_the_first_at_once_and_the_rest_in_one(told: Told):
    told.configure(told.alert())
    service = told.serve()
    told.exits()
    (first,) = told.wait(1)
    assert first["subject"] == "shop: web exited: ended"
    told.exits(800)
    end(service)
    _, rest = told.messages()
    assert (first["count"], rest["count"]) == (1, 800)
    assert rest["subject"] == "shop: web exited 800 times"
    assert numbers([rest]) == [*range(1, 11), *range(791, 801)]


def test_the_interval_ends_without_further_news(told: Told):
    told.configure(told.alert(interval_ns=50 * MILLISECOND_NS))
    service = told.serve()
    told.exits()
    told.wait(1)
    told.exits(5)
    until(lambda: sum(found["count"] for found in told.messages()) == 6, "all is told")
    end(service)


def test_the_document_and_the_environment(told: Told, tmp_path: Path):
    dump = tmp_path / "environ"
    script = 'env -0 > "$1.draft"; mv "$1.draft" "$1"; cat >> "$0"; echo >> "$0"'
    told.configure(told.alert(command=("/bin/sh", "-c", script, str(told.out), str(dump))))
    environ = {"TWINWATCH_HEARTBEAT": str(tmp_path / "beat"), "NOTIFY_SOCKET": "/x", "MINE": "kept"}
    service = told.serve(environ=environ)
    told.exits(slot="web:1")
    (found,) = told.wait(1)
    end(service)
    assert list(found) == [
        *("schema", "id", "pair", "host", "kind", "subject", "text", "count"),
        *("workers", "first", "last", "events"),
    ]
    assert (found["schema"], found["pair"], found["kind"], found["workers"]) == (
        1,
        "shop",
        "exited",
        ["web:1"],
    )
    assert found["first"] == found["last"] == found["events"][0]
    variables = dict(line.partition("=")[::2] for line in dump.read_text().split("\0"))
    assert {name: value for name, value in variables.items() if name.startswith("TWINWATCH_ALERT_")} == {
        "TWINWATCH_ALERT_KIND": "exited",
        "TWINWATCH_ALERT_PAIR": "shop",
        "TWINWATCH_ALERT_WORKERS": "web:1",
        "TWINWATCH_ALERT_SUBJECT": found["subject"],
        "TWINWATCH_ALERT_COUNT": "1",
    }
    assert variables["MINE"] == "kept"
    assert not {"TWINWATCH_HEARTBEAT", "NOTIFY_SOCKET"} & set(variables), "a child does not beat for it"


def test_only_what_was_asked_for(told: Told, tmp_path: Path):
    other = tmp_path / "other"
    command = told.alert().command[:-1]
    told.configure(told.alert(workers=("web",)), told.alert(on=("fatal",), command=(*command, str(other))))
    service = told.serve()
    told.exits(slot="db")
    told.log.write("phase", slot="db", old="stopping", new="fatal", generation=2, reason="enough")
    told.log.write("configuration", generation=2)
    told.exits(slot="web")
    (first,) = told.wait(1)
    (second,) = told.wait(1, other)
    end(service)
    assert [event["slot"] for event in first["events"]] == ["web"]
    assert [event["new"] for event in second["events"]] == ["fatal"]


def test_what_happened_before_it_was_wanted_is_not_told(told: Told):
    os.unlink(told.paths.events)
    told.exits(3)
    told.log.close()
    told.log.write("phase", slot="_alerts", old="stopped", new="starting", generation=1)
    told.exits(2)
    told.log.write("phase", slot="_alerts", old="stopping", new="starting", generation=2)
    told.configure(told.alert(on=("exited",)))
    service = told.serve()
    (found,) = told.wait(1)
    end(service)
    assert numbers([found]) == [3, 4]


def test_a_changed_configuration_is_taken_over(told: Told, tmp_path: Path):
    other = tmp_path / "other"
    told.configure(told.alert())
    service = told.serve()
    told.exits()
    told.wait(1)
    told.exits(2)
    new = told.alert(command=(*told.alert().command[:-1], str(other)))
    told.configure(told.alert(interval_ns=SECOND_NS // 100), new)
    assert told.wait(2)[1]["count"] == 2, "what was collected for an alert that stays, stays"
    told.exits()
    told.wait(1, other)
    end(service)


# ---------------------------------------------------------------- targets that fail


@contextmanager
def web_server(scene: Scene, statuses: list[int], out: Path, location: str = "") -> Iterator[str]:
    """A server that answers with these statuses in turn, the last one ever after; 0: not at all."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            seen = {
                "status": status,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": json.loads(body),
            }
            with out.open("a") as file:
                file.write(json.dumps(seen) + "\n")
            if status == 0:
                signal.pause()
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the base class's name

        def log_message(self, *_: object) -> None:
            pass

    def part(say: Callable[[object], None]) -> None:
        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            say(server.server_port)
            server.serve_forever()

    actor = scene.act(part)
    yield f"http://127.0.0.1:{actor.hear()}"
    actor.kill()


def test_a_webhook_that_fails_twice(told: Told):
    with web_server(told.scene, [500, 503, 204], told.out) as url:
        headers = (("Authorization", "Bearer x"), ("content-type", "application/x-shop+json"))
        told.configure(told.alert(command=(), webhook=f"{url}/hook?a=b", headers=headers))
        service = told.serve()
        told.exits()
        requests = told.wait(3)
        until(told.is_settled, "it has arrived")
        end(service)
    assert [request["status"] for request in requests] == [500, 503, 204]
    assert len({request["body"]["id"] for request in requests}) == 1, "the same message"
    assert requests[0]["path"] == "/hook?a=b"
    assert requests[0]["headers"]["authorization"] == "Bearer x"
    assert requests[0]["headers"]["content-type"] == "application/x-shop+json"
    assert not told.failures()


@pytest.mark.parametrize(
    ("statuses", "location", "reason"),
    [
        ([500], "", "HTTP status 500"),
        ([302], "/elsewhere", "HTTP status 302"),
        ([0], "", "not done within 0.3 s"),
    ],
)
def test_a_webhook_that_never_takes_it(told: Told, statuses, location, reason):
    with web_server(told.scene, statuses, told.out, location) as url:
        told.configure(told.alert(command=(), webhook=url, timeout_ns=300 * MILLISECOND_NS, retries=1))
        service = told.serve()
        told.exits()
        failure = told.wait_failure()
        until(told.is_settled, "it was given up")
        end(service)
        assert {request["path"] for request in told.messages()} <= {"", "/"}
    allowed = {reason, "not done within 0.3 s"}  # an interpreter may take that long to start
    assert failure["reason"] in allowed
    assert (failure["attempts"], failure["kind"], failure["count"]) == (2, "exited", 1)
    assert failure["target"] == f"webhook {url.removeprefix('http://')}"


def refusing_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/secret"


@pytest.mark.parametrize(
    ("fields", "target", "reason"),
    [
        ({"command": ("/no/such/program",)}, "command /no/such/program", "No such file or directory"),
        ({"command": ("/bin/sh", "-c", "exit 7")}, "command /bin/sh", "exit code 7"),
        ({"command": ("/bin/sh", "-c", "kill -9 $$")}, "command /bin/sh", "signal 9"),
        ({"command": ("/bin/sh", "a\0b")}, "command /bin/sh", "embedded null byte"),
        ({"webhook": "ftp://me:pw@host/x"}, "webhook host", "a webhook is http:// or https://"),
        ({"webhook": "http://me:pw@host/x"}, "webhook host", "no HTTP: InvalidURL"),
        ({"webhook": "<refusing>"}, None, "Connection refused"),
    ],
)
def test_what_cannot_be_delivered_is_told_without_secrets(told: Told, fields, target, reason):
    if fields.get("webhook") == "<refusing>":
        fields = {"webhook": refusing_address()}
    told.configure(told.alert(**{"command": (), "retries": 0} | fields))
    service = told.serve()
    told.exits()
    failure = told.wait_failure()
    end(service)
    assert failure["reason"] == reason
    assert failure["attempts"] == 1
    assert target in (None, failure["target"])
    assert not {"pw", "secret"} & set(json.dumps(failure).replace("/", '"').replace(":", '"').split('"'))


APPRISE = """
import json
class Apprise:
    def add(self, url): self.url = url; return url.startswith("good:")
    def notify(self, title, body):
        print("a library prints")
        open(self.url.removeprefix("good://"), "w").write(json.dumps([title, body]) + "\\n")
        return True
"""


@pytest.mark.parametrize(
    ("module", "scheme", "reason"),
    [
        ("raise ImportError", "good", "apprise is not installed: pip install 'twinwatch[alerts]'"),
        (APPRISE, "bad", "apprise does not know this kind of address"),
        (APPRISE, "good", ""),
    ],
)
def test_apprise(told: Told, tmp_path: Path, module, scheme, reason):
    (tmp_path / "apprise.py").write_text(module)
    told.configure(told.alert(command=(), apprise=f"{scheme}://{told.out}", retries=0))
    service = told.serve(environ={"PYTHONPATH": str(tmp_path)})
    told.exits()
    if reason:
        failure = told.wait_failure()
        assert (failure["reason"], failure["target"]) == (reason, f"apprise {scheme}")
    else:
        ((title, body),) = told.wait(1)
        assert title == "shop: web exited: ended"
        assert "running -> stopping" in body
    end(service)


def test_the_real_apprise(told: Told):
    with web_server(told.scene, [200], told.out) as url:
        told.configure(told.alert(command=(), apprise=url.replace("http", "json")))
        service = told.serve()
        told.exits()
        assert told.wait(1)[0]["body"]["title"] == "shop: web exited: ended"
        end(service)


def test_a_target_that_hangs_delays_no_other_one_and_is_ended_with_its_group(told: Told, tmp_path: Path):
    pids = tmp_path / "pids"
    script = 'sleep 1000 & echo $$ $! > "$0.draft"; mv "$0.draft" "$0"; wait'
    hung = told.alert(command=("/bin/sh", "-c", script, str(pids)), timeout_ns=HOUR_NS)
    told.configure(hung, told.alert(interval_ns=1))
    service = told.serve()
    told.exits()
    until(pids.exists, "it hangs")
    seen = len(told.wait(1))
    told.exits()
    told.wait(seen + 1)
    doomed = [os.pidfd_open(int(pid)) for pid in pids.read_text().split()]
    told.configure(told.alert(interval_ns=1))  # without it
    for pidfd in doomed:
        until(lambda fd=pidfd: is_over(fd), "the hung one and its child are ended")
        os.close(pidfd)
    end(service)


def is_over(pidfd: int) -> bool:
    """Dead; collected or not."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return True
    info = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    pid = next(line.split()[1] for line in info.splitlines() if line.startswith("Pid:"))
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_what_a_command_leaves_is_ended_with_it(told: Told, tmp_path: Path):
    left = tmp_path / "left"
    script = 'sleep 1000 & echo $! > "$0.draft"; mv "$0.draft" "$0"; printf "%s\\n" "$(cat)" >> "$1"'
    told.configure(told.alert(command=("/bin/sh", "-c", script, str(left), str(told.out))))
    service = told.serve()
    told.exits()
    until(left.exists, "it has a child")
    pid = int(left.read_text())
    until(lambda: told.messages() and told.is_settled(), "it is delivered")
    stat = Path(f"/proc/{pid}/stat")
    until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX", "it is ended")
    end(service)


def test_while_a_message_is_on_its_way_news_is_collected(told: Told, tmp_path: Path):
    """A slow target gets fewer and larger messages: nothing queues up."""
    gate = tmp_path / "gate"
    script = 'while [ ! -e "$1" ]; do sleep 0.01; done; printf "%s\\n" "$(cat)" >> "$0"'
    told.configure(told.alert(command=("/bin/sh", "-c", script, str(told.out), str(gate)), interval_ns=1))
    service = told.serve()
    told.exits(300)
    until(lambda: (kept := told.kept()) and any(kept.positions.values()), "it reads")
    told.exits(300)
    gate.touch()
    until(lambda: sum(found["count"] for found in told.messages()) == 600, "all is told")
    end(service)


def test_a_full_disk_does_not_stop_it(told: Told):
    told.configure(told.alert(interval_ns=1))

    def full() -> None:
        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        ledger._replace = refuse

    service = told.serve(before=full)
    told.exits()
    told.wait(1)
    end(service)


def test_a_ledger_that_cannot_be_read_is_told(told: Told):
    told.exits()
    Path(f"{told.paths.state}/alerts.json").write_text('{"layout": 1}')
    told.configure(told.alert())
    service = told.serve()
    told.wait(1)
    end(service)
    assert '"alerts-forgotten"' in Path(told.paths.events).read_text()


# ---------------------------------------------------------------- its end, and its death


def test_at_its_end_what_does_not_arrive_is_kept(told: Told, tmp_path: Path):
    gate = tmp_path / "gate"
    script = 'test -e "$1" && printf "%s\\n" "$(cat)" >> "$0"'
    told.configure(told.alert(command=("/bin/sh", "-c", script, str(told.out), str(gate)), retries=1000))
    service = told.serve()
    told.exits(5)
    until(
        lambda: (kept := told.kept()) and any(parcel for _, parcel in kept.targets.values()),
        "it is on its way",
    )
    end(service)
    assert not told.messages()
    gate.touch()
    service = told.serve()
    told.wait(1)
    until(told.is_settled, "it is delivered")
    end(service)
    assert sorted(numbers(told.messages())) == list(range(5))


def test_at_its_end_it_waits_for_what_is_on_its_way_not_for_ever(told: Told, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telling, "FLUSH_NS", 20 * MILLISECOND_NS)
    told.configure(told.alert(command=("/bin/sleep", "1000"), timeout_ns=HOUR_NS))
    service = told.serve()
    told.exits()
    until(
        lambda: (kept := told.kept()) and any(parcel for _, parcel in kept.targets.values()),
        "it is on its way",
    )
    end(service)
    assert not told.is_settled(), "it is kept for the next time"


def test_what_is_collected_outlives_it(told: Told):
    told.configure(told.alert())
    service = told.serve()
    told.exits()
    told.wait(1)
    told.exits(5)

    def is_kept() -> bool:
        kept = told.kept()
        groups = [window.group for window, _ in kept.targets.values()] if kept else []
        return any(group is not None and group.count == 5 for group in groups)

    until(is_kept, "it is collected")
    service.kill()
    end(told.serve())
    assert numbers(told.messages()) == list(range(6))


def steps_of(told: Told) -> list[tuple[str, int]]:
    """The lines of the service that are executed, in the order in which each is reached first."""
    log = told.scene.directory / "steps"

    def trace() -> None:
        seen: dict[tuple[str, int], None] = {}

        def on_line(frame, what, _):
            where = (frame.f_code.co_filename, frame.f_lineno)
            if what == "line" and where not in seen:
                seen[where] = None
                with log.open("a") as file:
                    file.write(json.dumps(where) + "\n")
            return on_line

        sys.settrace(lambda frame, *_: on_line if is_ours(frame) else None)

    run_once(told, trace)
    return [tuple(json.loads(line)) for line in log.read_text().splitlines()]


def is_ours(frame) -> bool:
    name = frame.f_code.co_filename
    return name == journal.__file__ or os.path.dirname(name) == str(SERVICE)


def die_at(place: tuple[str, int]) -> Callable[[], None]:
    def trace() -> None:
        def on_line(frame, what, _):
            if what == "line" and (frame.f_code.co_filename, frame.f_lineno) == place:
                kill_self()
            return on_line

        sys.settrace(lambda frame, *_: on_line if is_ours(frame) else None)

    return trace


def run_once(told: Told, before: Callable[[], None] = lambda: None) -> bool:
    """Until all that has happened is told, or it is killed. True: it was killed."""
    service = told.serve(before)
    until(lambda: service.is_dead or (told.is_settled() and told.messages()), "all is told")
    if not service.is_dead:
        service.send(signal.SIGTERM)
    status = service.status()
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


@pytest.mark.parametrize("part", range(3))
def test_killed_before_any_step_it_loses_nothing(told: Told, part: int):
    """At each line of its code; and what is told twice is told with the same id."""
    told.configure(told.alert(interval_ns=1))
    told.exits(2)
    places = steps_of(told)[part::3]
    assert len(places) > 30
    kills = 0
    for place in places:
        forget(told)
        told.exits(3)
        kills += run_once(told, die_at(place))
        run_once(told)
        messages = {found["id"]: found for found in told.messages()}
        found = numbers(list(messages.values()))
        assert sorted(found) == list(range(max(found) - 2, max(found) + 1)), f"{place}: {found}"
    print(f"{kills} kills at {len(places)} lines")
    assert kills > len(places) // 2


def forget(told: Told) -> None:
    """As before its first start."""
    told.log.close()
    for path in (told.out, Path(told.paths.events), Path(f"{told.paths.state}/alerts.json")):
        path.unlink(missing_ok=True)
    told.log.write("phase", slot="_alerts", old="stopped", new="starting", generation=1)
