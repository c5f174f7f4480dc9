"""A worker that lives and does not serve is found; one that serves is left alone, whoever of the pair is killed."""

import json
import os
from pathlib import Path

import pytest
from service_kit import ask, free_port, program_of
from worker_kit import (
    SLEEP,
    TIRELESS,
    LivePair,
    entry,
    kill_watchers,
    program,
    shown,
    until,
    wait_change,
    wait_phase,
    wait_running,
)

from twinwatch.core.values import Ending, Health, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.identity import is_alive

QUICK = {"interval": "100ms", "timeout": "20s"}
Event = dict[str, object]


class Moody:
    """A server on a port of its own, its mood, and what it was asked."""

    def __init__(self, pair: LivePair, name: str = "web", where: str = "") -> None:
        self.pair, self.name = pair, name
        self.where = where or str(free_port())
        self.file = pair.directory / f"{name}.mood"
        self.be("good")

    def be(self, mood: str, until_generation: int = 1000) -> None:
        draft = self.file.with_suffix(".draft")
        draft.write_text(f"{until_generation} {mood}")
        draft.rename(self.file)

    def entry(self, **keys: object) -> str:
        return entry(
            self.name, program("moody_server.py", self.where, self.file), **{"restart": TIRELESS} | keys
        )

    def http(self, **keys: object) -> dict[str, object]:
        target = f"http://127.0.0.1:{self.where}/health" if self.where.isdigit() else "http://web/health"
        socket = {} if self.where.isdigit() else {"socket": self.where}
        return {"http": {"url": target, **socket} | QUICK | keys}

    def asked(self, generation: int) -> int:
        """How often this generation was asked."""
        path = Path(f"{self.file}.asked")
        lines = path.read_text().splitlines() if path.exists() else []
        return sum(line.split()[0] == str(generation) for line in lines)


def convictions(pair: LivePair, label: str = "web") -> list[Event]:
    return [event for event in pair.events() if event["event"] == "unhealthy" and event["slot"] == label]


def bad_answers(pair: LivePair, label: str) -> int:
    """Failures in a row, as they are kept."""
    try:
        kept = json.loads((pair.runtime / "checks.json").read_text())
    except FileNotFoundError:
        return 0
    return max(kept["workers"].get(label, {"bad": {}})["bad"].values(), default=0)


def wait_asked(moody: Moody, generation: int, count: int) -> None:
    before = moody.asked(generation)
    until(lambda: moody.asked(generation) >= before + count, f"it was asked {count} times more")


@pytest.mark.parametrize(
    ("mood", "timeout", "why"),
    [
        ("bad", "20s", "status 500"),
        ("hang", "200ms", "no answer within 0.2 s"),
        ("mute", "20s", "it closed the connection without an answer"),
    ],
)
def test_a_server_that_goes_bad_is_started_again(pair: LivePair, mood: str, timeout: str, why: str):
    moody = Moody(pair)
    pair.configure(moody.entry(health=[moody.http(timeout=timeout, failures=2)]))
    pair.up()
    until(lambda: pair.worker("web").health is Health.HEALTHY, "it is well")
    first = pair.worker("web")
    moody.be(mood, until_generation=1)
    ended = wait_change(pair, "web", "stopping")
    name = f"http http://127.0.0.1:{moody.where}/health"
    assert ended["reason"] == f"unhealthy: {name}: 2 failures in a row: {why}"
    wait_running(pair, "web", generation=2)
    until(lambda: pair.worker("web").health is Health.HEALTHY, "it is well again")
    again = pair.worker("web")
    assert (again.generation, again.exit.ending) == (2, Ending.UNHEALTHY)
    assert not is_alive(first.identity)
    (told,) = convictions(pair)
    assert (told["generation"], told["check"]) == (1, name)


def test_not_ready_before_its_probe_and_dependants_wait(pair: LivePair):
    moody = Moody(pair)
    moody.be("bad")
    ready = moody.http(interval="100ms", successes=2, failures=2) | {"timeout": "60s"}
    pair.configure(moody.entry(ready=ready) + entry("shop", SLEEP, depends_on=["web"]))
    with pair.begin("up", str(pair.config)) as up:
        wait_asked_at_all(moody)
        assert (pair.worker("web").phase, pair.worker("web").ready) == (Phase.RUNNING, False)
        assert pair.worker("shop").phase is Phase.STOPPED
        moody.be("good")
        wait_running(pair, "shop")
        assert pair.worker("web").ready
        assert up.wait(60) == 0
    shop = pair.worker("shop").identity
    moody.be("bad")
    until(lambda: not pair.worker("web").ready, "it is not ready any more")
    assert shown(pair, "web")["ready"] is False
    moody.be("good")
    until(lambda: pair.worker("web").ready, "it is ready again")
    assert pair.worker("web").generation == 1, "readiness never kills"
    assert (pair.worker("shop").identity, pair.worker("shop").phase) == (shop, Phase.RUNNING)


def wait_asked_at_all(moody: Moody) -> None:
    until(lambda: moody.asked(1) >= 3, "it was asked")


def test_health_is_not_asked_before_it_is_ready(pair: LivePair):
    """Else a slow start would be a failure."""
    moody = Moody(pair)
    moody.be("bad")
    health = {
        "tcp": {"address": f"127.0.0.1:{moody.where}", "send": "GET /vital\n", "expect": "^HTTP.*200"} | QUICK
    }
    pair.configure(moody.entry(ready=moody.http(), health=[health]))
    with pair.begin("up", str(pair.config)) as up:
        wait_asked_at_all(moody)
        assert "/vital" not in Path(f"{moody.file}.asked").read_text()
        moody.be("good")
        assert up.wait(60) == 0
    until(lambda: pair.worker("web").health is Health.HEALTHY, "it is asked now")
    assert pair.worker("web").generation == 1


def test_nginx_and_a_unix_socket(pair: LivePair):
    nginx = program_of("nginx")
    www, port = pair.directory / "www", free_port()
    www.mkdir()
    page = www / "health"
    page.write_text("all is well")
    config = pair.directory / "nginx.conf"
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} daemon off; pid {pair.directory}/nginx.pid; error_log stderr;"
        f"events {{}} http {{ access_log off; client_body_temp_path {pair.directory}/t1; proxy_temp_path {pair.directory}/t2;"
        f"fastcgi_temp_path {pair.directory}/t3; uwsgi_temp_path {pair.directory}/t4; scgi_temp_path {pair.directory}/t5;"
        f"server {{ listen 127.0.0.1:{port}; root {www}; }} }}\n"
    )
    probe = {
        "http": {"url": f"http://127.0.0.1:{port}/health", "body": "^all is well$", "failures": 2} | QUICK
    }
    moody = Moody(pair, where=str(pair.directory / "web.sock"))
    pair.configure(
        entry(
            "nginx",
            [nginx, "-c", str(config)],
            restart=TIRELESS,
            ready={**probe, "timeout": "60s"},
            health=[probe],
        )
        + moody.entry(ready={"tcp": {"socket": moody.where} | QUICK}, health=[moody.http(failures=2)])
    )
    pair.up()
    until(
        lambda: all(pair.worker(name).health is Health.HEALTHY for name in ("nginx", "web")), "both are well"
    )
    page.unlink()
    wait_change(pair, "nginx", "starting", 2)
    page.write_text("all is well")
    moody.be("bad", until_generation=1)
    wait_change(pair, "web", "starting", 2)
    until(
        lambda: all(pair.worker(name).health is Health.HEALTHY for name in ("nginx", "web")), "both are well"
    )
    assert ask(port, b"GET /health HTTP/1.0\r\n\r\n").endswith(b"all is well")
    assert {event["slot"] for event in pair.events() if event["event"] == "unhealthy"} == {"nginx", "web"}


def test_a_paused_worker_is_not_asked(pair: LivePair):
    moody, other = Moody(pair), Moody(pair, "other")
    pair.configure(moody.entry(health=[moody.http(failures=1)]) + other.entry(health=[other.http()]))
    pair.up()
    wait_asked(moody, 1, 1)
    pair.call("pause", "-p", pair.name, "web")
    wait_phase(pair, "web", Phase.PAUSED)
    service = pair.worker("_checks")
    moody.be("bad", until_generation=1)
    pair.kill(service.identity)  # its heir looks at all slots before it asks anybody
    wait_running(pair, "_checks", generation=service.generation + 1)
    asked = moody.asked(1)
    wait_asked(other, 1, 3)
    assert moody.asked(1) == asked
    assert (pair.worker("web").phase, pair.worker("web").generation) == (Phase.PAUSED, 1)
    pair.call("resume", "-p", pair.name, "web")
    wait_running(pair, "web", generation=2)
    assert len(convictions(pair)) == 1


def test_a_reload_changes_the_question_and_not_the_worker(pair: LivePair):
    moody = Moody(pair)
    pair.configure(moody.entry(health=[moody.http()]))
    pair.up()
    until(lambda: pair.worker("web").health is Health.HEALTHY, "it is well")
    target = f"http://127.0.0.1:{moody.where}/other"
    pair.configure(moody.entry(health=[{"http": {"url": target} | QUICK}]))
    pair.call("reload", "-p", pair.name)
    until(lambda: "1 /other" in Path(f"{moody.file}.asked").read_text(), "the new question was asked")
    assert pair.worker("web").generation == 1


# ---------------------------------------------------------------- who may die meanwhile


def test_killed_in_the_middle_of_a_row_the_service_goes_on_counting(pair: LivePair):
    failures = 8
    moody = Moody(pair)
    pair.configure(moody.entry(health=[moody.http(failures=failures)]))
    pair.up()
    until(lambda: pair.worker("web").health is Health.HEALTHY, "it is well")
    asked = moody.asked(1)
    moody.be("bad", until_generation=1)
    kills = 0
    for bad in (3, 5):
        until(
            lambda bad=bad: bad_answers(pair, "web") >= bad or convictions(pair), "some bad answers are kept"
        )
        kill_watchers(pair, Role.A if kills else Role.B)
        service = pair.worker("_checks")
        if is_alive(service.identity):
            pair.kill(service.identity)
        wait_running(pair, "_checks", generation=service.generation + 1)
        kills += 1
    wait_running(pair, "web", generation=2)
    until(lambda: pair.worker("web").health is Health.HEALTHY, "it is well again")
    assert pair.worker("web").generation == 2, "one verdict"
    assert len(convictions(pair)) <= 1, "told once, or not at all"
    assert moody.asked(1) - asked <= failures + kills + 1, "no death cost a count but for what was on its way"


def test_killed_with_a_hanging_command_it_leaves_nobody(pair: LivePair):
    """And neither costs nor doubles the verdict, also when a watcher is killed with it."""
    pids = pair.directory / "pids"
    script = f"test $TWINWATCH_GENERATION != 1 || {{ echo $$ >> {pids}; exec sleep 100000; }}"
    health = [
        {"exec": {"command": ["sh", "-c", script], "interval": "100ms", "timeout": "1s", "failures": 2}}
    ]
    pair.configure(entry("web", SLEEP, restart=TIRELESS, health=health))
    pair.up()
    until(lambda: pids.exists() and pids.read_text().endswith("\n"), "it hangs")
    hung = os.pidfd_open(int(pids.read_text().split()[0]))
    service, watcher = pair.worker("_checks"), pair.role(Role.A)
    pair.kill(service.identity, watcher.identity)
    wait_running(pair, "_checks", generation=service.generation + 1)
    assert process.wait_dead(hung, 0), "it was ended before the next service was born"
    os.close(hung)
    wait_running(pair, "web", generation=2)
    until(lambda: pair.worker("web").health is Health.HEALTHY, "it is well")
    assert pair.worker("web").generation == 2
    (told,) = convictions(pair)
    assert str(told["reason"]).startswith("exec sh: 2 failures in a row: no answer within 1 s")


def test_a_command_knows_whom_it_asks_about(pair: LivePair):
    found = pair.directory / "environment"
    script = f"env > {found}.draft && mv {found}.draft {found}"
    health = [{"exec": {"command": ["sh", "-c", script]} | QUICK}]
    pair.configure(entry("web", SLEEP, instances=1, environment={"MINE": "yes"}, health=health, notify=True))
    pair.up()
    until(found.exists, "it was run")
    variables = dict(line.split("=", 1) for line in found.read_text().splitlines() if "=" in line)
    slot = pair.worker("web")
    expected = {
        "PAIR": pair.name,
        "WORKER": "web",
        "INSTANCE": "0",
        "GENERATION": "1",
        "PID": str(slot.identity.pid),
    }
    assert {name: variables[f"TWINWATCH_{name}"] for name in expected} == expected
    assert variables["MINE"] == "yes"
    assert not {"TWINWATCH_HEARTBEAT", "NOTIFY_SOCKET"} & variables.keys(), (
        "its signs of life are not the worker's"
    )


def test_after_down_nothing_is_left_of_a_hanging_command(pair: LivePair):
    pid = pair.directory / "pid"
    script = f"echo $$ > {pid}.draft; mv {pid}.draft {pid}; exec sleep 100000"
    health = [{"exec": {"command": ["sh", "-c", script], "timeout": "1h"}}]
    pair.configure(entry("web", SLEEP, health=health))
    pair.up()
    until(pid.exists, "it hangs")
    identity = os.pidfd_open(int(pid.read_text()))
    pair.down()
    assert process.wait_dead(identity, 0)
    os.close(identity)
