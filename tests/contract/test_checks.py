"""The service that checks: as late, frozen, killed or mistaken as it may be, it convicts nobody wrongly or twice."""

import asyncio
import errno
import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from scene import JOB, Actor, Scene, is_stopped, kill_self, rest, until

from twinwatch.config import snapshot
from twinwatch.core.checks import Health as Checked
from twinwatch.core.checks import Probe, ProbeKind
from twinwatch.core.probing import Strikes
from twinwatch.core.record import Slot
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import NO_EXIT, Desired, Health, Phase
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import is_alive
from twinwatch.services.checks import http, kept, main, pulse
from twinwatch.services.checks.kept import Kept
from twinwatch.services.checks.pulse import Pulse
from twinwatch.services.checks.reach import Unable
from twinwatch.services.room import Room

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
QUICK_NS = 20 * MILLISECOND_NS
PATIENCE_S = 30


class Asked:
    """A worker that runs, and whose part in every answer the test plays itself."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(PATIENCE_S)
        self.target = f"http://127.0.0.1:{self.server.getsockname()[1]}/"
        self.file = Path(scene.paths.runtime) / "checks.json"
        self.worker = scene.act(lambda _say: rest())
        self.bear(1)

    def bear(self, generation: int) -> None:
        self.scene.record(
            JOB,
            phase=Phase.RUNNING,
            desired=Desired.RUN,
            generation=generation,
            identity=self.worker.identity,
            born_ns=monotonic_ns(),
            ready=True,
            health=Health.UNKNOWN,
            exit=replace(NO_EXIT, generation=generation - 1),
        )

    def configure(self, **fields: object) -> None:
        usual = {
            "kind": ProbeKind.HTTP,
            "target": self.target,
            "interval_ns": QUICK_NS,
            "timeout_ns": 20 * SECOND_NS,
        }
        probe = Probe(**usual | fields)  # type: ignore[arg-type]
        spec = self.scene.make_spec("", 2, health=Checked(probes=(probe,)))
        snapshot.write(self.scene.paths.snapshots, spec)
        self.scene.record_header(config_generation=2)

    def serve(self, before: Callable[[], None] = lambda: None) -> Actor:
        """Start the service."""

        def part(say: Callable[[object], None]) -> None:
            self.server.close()
            with Room(self.scene.paths, "checks") as room:
                say("it can be told to end")
                before()
                main(room)

        service = self.scene.act(part)
        service.hear()
        return service

    @contextmanager
    def question(self) -> Iterator[socket.socket]:
        """The next question; without an answer it is a bad one."""
        link, _ = self.server.accept()
        with link:
            link.settimeout(PATIENCE_S)
            assert link.recv(65536)
            yield link

    def answer(self, *, good: bool) -> None:
        with self.question() as link:
            if good:
                link.sendall(OK)

    def answer_until(self, is_true: Callable[[], object], *, good: bool) -> None:
        """Answer every question alike meanwhile."""

        def is_over() -> bool:
            if select.select([self.server], [], [], 0)[0]:
                self.answer(good=good)
            return bool(is_true())

        until(is_over)

    def slot(self) -> Slot:
        return self.scene.slot()

    def bad(self) -> int:
        """Failures in a row that are kept."""
        if not self.file.exists():
            return 0
        job = json.loads(self.file.read_text())["workers"].get("job", {"bad": {}})
        return sum(job["bad"].values())

    def events(self, name: str) -> list[dict[str, object]]:
        path = Path(self.scene.paths.events)
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == name]


@pytest.fixture
def asked(scene: Scene) -> Iterator[Asked]:
    played = Asked(scene)
    yield played
    played.server.close()


def end(service: Actor) -> None:
    service.send(signal.SIGTERM)
    assert service.status() == 0


def freeze(service: Actor, time_ns: int) -> None:
    """Stand still for so long: how long is what the test is about."""
    service.stop()
    over_ns = monotonic_ns() + time_ns
    until(lambda: monotonic_ns() >= over_ns)
    service.send(signal.SIGCONT)
    until(lambda: not is_stopped(service.pid))


# ---------------------------------------------------------------- P9


def test_who_was_late_itself_does_not_count_a_missing_answer(asked: Asked):
    asked.configure(failures=1, timeout_ns=SECOND_NS)
    service = asked.serve()
    with asked.question():
        freeze(service, 1100 * MILLISECOND_NS)
        asked.answer(good=True)  # it asks again: it has convicted nobody
    until(lambda: asked.slot().health is Health.HEALTHY, "it is well")
    assert not asked.events("unhealthy")
    end(service)


def test_after_an_absence_it_counts_anew(asked: Asked):
    """What it counted before is of another time: the whole machine may have been suspended."""

    def part() -> None:
        pulse.AWAY_NS = 300 * MILLISECOND_NS

    asked.configure(failures=2, interval_ns=200 * MILLISECOND_NS)
    service = asked.serve(part)
    asked.answer(good=False)
    until(lambda: asked.bad() == 1, "one failure is kept")
    freeze(service, 500 * MILLISECOND_NS)
    asked.answer(good=False)
    asked.answer(good=True)
    until(lambda: asked.slot().health is Health.HEALTHY, "it is well")
    end(service)


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_a_loop_that_stood_still_is_seen_by_every_question_on_its_way(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(pulse, "monotonic_ns", clock)
    away = []

    async def look() -> None:
        beat = Pulse(lambda: away.append(clock.now_ns))
        early = beat.begin(2 * SECOND_NS)
        clock.now_ns += 600 * MILLISECOND_NS
        late = beat.begin(2 * SECOND_NS)
        assert beat.end(late) == 0, "it was not asked yet"
        assert beat.end(early) == 500 * MILLISECOND_NS
        assert not away
        beat._tick()
        short = beat.begin(20 * MILLISECOND_NS)
        clock.now_ns += 15 * MILLISECOND_NS
        assert beat.end(short) == 10 * MILLISECOND_NS, "its pulse is finer"
        asked = beat.begin(60 * SECOND_NS)
        clock.now_ns += 1200 * MILLISECOND_NS
        beat._tick()
        beat._tick()
        assert away == [clock.now_ns], "said once"
        assert beat.end(asked) > SECOND_NS
        beat.close()

    asyncio.run(look())


def test_an_absence_is_told_before_a_bad_answer_is_counted(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(pulse, "monotonic_ns", clock)
    order = []

    async def look() -> None:
        beat = Pulse(lambda: order.append("away"))
        asked = beat.begin(60 * SECOND_NS)
        clock.now_ns += 3 * SECOND_NS
        beat.end(asked)
        order.append("ended")
        beat.close()

    asyncio.run(look())
    assert order == ["away", "ended"]


# ---------------------------------------------------------------- killed


def test_killed_before_the_verdict_is_written_the_next_one_writes_it(asked: Asked):
    asked.configure(failures=3)

    def part() -> None:
        Room.change = lambda *_: kill_self()  # type: ignore[method-assign]

    service = asked.serve(part)
    for _ in range(3):
        asked.answer(good=False)
    assert service.status() == signal.SIGKILL
    assert asked.slot().health is Health.UNKNOWN
    service = asked.serve()
    asked.answer(good=False)
    until(lambda: asked.slot().health is Health.UNHEALTHY, "one more answer convicts it")
    until(lambda: asked.events("unhealthy"), "it is told")
    end(service)


def test_killed_before_the_verdict_is_told_it_counts_and_no_second_one_comes(asked: Asked):
    asked.configure(failures=1)

    def part() -> None:
        Room.tell = lambda *_, **__: kill_self()  # type: ignore[method-assign]

    service = asked.serve(part)
    asked.answer(good=False)
    assert service.status() == signal.SIGKILL
    convicted = asked.slot()
    assert convicted.health is Health.UNHEALTHY
    assert convicted.note == f"http {asked.target}: it closed the connection without an answer"
    service = asked.serve()
    asked.bear(2)
    asked.answer(good=True)  # the first question is one to the next generation
    until(lambda: asked.slot().health is Health.HEALTHY, "it is well")
    assert not asked.events("unhealthy")
    end(service)


def test_killed_between_two_answers_it_goes_on_counting(asked: Asked):
    asked.configure(failures=2)
    service = asked.serve()
    asked.answer(good=False)
    until(lambda: asked.bad() == 1, "one failure is kept")
    service.kill()
    while select.select([asked.server], [], [], 0)[0]:  # questions of the dead one
        asked.server.accept()[0].close()
    service = asked.serve()
    asked.answer(good=False)
    until(lambda: asked.slot().health is Health.UNHEALTHY, "it was the second")
    assert "2 failures in a row" in asked.slot().note
    end(service)


def test_told_to_end_it_ends_what_it_has_begun(asked: Asked):
    pid = asked.scene.directory / "pid"
    script = f"echo $$ > {pid}.draft; mv {pid}.draft {pid}; exec sleep 1000"
    asked.configure(kind=ProbeKind.EXEC, command=("/bin/sh", "-c", script), timeout_ns=3600 * SECOND_NS)
    service = asked.serve()
    until(pid.exists, "it hangs")
    end(service)
    assert not Path(f"/proc/{pid.read_text().strip()}").exists(), "dead and collected"
    assert is_alive(asked.worker.identity)


# ---------------------------------------------------------------- to whom an answer belongs


def test_an_answer_of_a_generation_that_is_gone_is_dropped(asked: Asked):
    asked.configure(failures=1)
    service = asked.serve()
    with asked.question():
        asked.bear(2)
    asked.answer_until(lambda: asked.slot().health is Health.HEALTHY, good=True)
    assert not asked.events("unhealthy")
    end(service)


@pytest.mark.parametrize(
    "change", [{"phase": Phase.STOPPING}, {"desired": Desired.STOP}, {"end_generation": 1}]
)
def test_who_is_to_end_anyway_is_not_convicted(asked: Asked, change: dict[str, object]):
    asked.configure(failures=1)
    service = asked.serve()
    with asked.question():
        asked.scene.record(JOB, **change)
    end(service)
    assert asked.slot().health is Health.UNKNOWN
    assert not asked.events("unhealthy")


def test_what_is_kept_of_another_life_is_nothing(tmp_path: Path):
    """A new state file counts generations anew: the birth tells them apart."""

    async def play() -> None:
        path = str(tmp_path / "checks.json")
        memory = Kept(path).of("web", (1, 100))
        assert not memory.bad
        first = Kept(path)
        memory = first.of("web", (1, 100))
        memory.bad["health 0"], memory.was_ready = 2, True
        memory.strikes["memory"] = Strikes(3, told=True)
        memory.files |= {"/a": (1, 2, 3), "/b": None}
        first.changed()
        await asyncio.sleep(0)
        assert Kept(path).of("web", (1, 100)) == memory
        assert not Kept(path).of("web", (1, 101)).bad
        assert not Kept(path).of("web", (2, 100)).bad
        first.keep_only({"shop"})
        await asyncio.sleep(0)
        assert not Kept(path).of("web", (1, 100)).bad

    asyncio.run(play())


def test_what_another_configuration_asked_is_forgotten(asked: Asked):
    """It may ask so again, in the same life: then that is another row."""
    asked.configure(failures=5)
    slot = asked.slot()
    former = {"was_ready": True, "bad": {"health 0 deadbeef": 2}, "strikes": {}, "files": {"/gone": None}}
    job = {"life": (slot.generation, slot.born_ns), **former}
    asked.file.write_text(json.dumps({"layout": kept.LAYOUT, "workers": {"job": job}}))
    service = asked.serve()
    asked.answer(good=False)
    until(lambda: asked.bad() == 1, "only its own failure is kept")
    assert json.loads(asked.file.read_text())["workers"]["job"]["files"] == {}
    end(service)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"layout": 0}', '{"layout": 1, "workers": {"a": 1}}', "[" * 99999]
)
def test_what_cannot_be_read_is_nothing(tmp_path: Path, text: str):
    path = tmp_path / "checks.json"
    path.write_text(text)
    assert not Kept(str(path)).of("web", (1, 100)).bad


def test_what_the_disk_does_not_take_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "checks.json"

    async def play() -> None:
        one = Kept(str(path))
        one.of("web", (1, 100)).bad["x"] = 1
        with monkeypatch.context() as patch:
            patch.setattr(kept.os, "rename", full)
            one.changed()
            await asyncio.sleep(0)
            assert not path.exists()
        one.write()
        assert Kept(str(path)).of("web", (1, 100)).bad == {"x": 1}

    asyncio.run(play())


# ---------------------------------------------------------------- its own faults


def test_what_it_cannot_ask_is_told_once_and_counts_for_nothing(asked: Asked):
    asked.configure(failures=1)
    mark = asked.scene.directory / "asked"

    def part() -> None:
        async def unable(*_: object) -> str:
            with mark.open("a") as file:
                file.write("x")
            raise Unable("too many open files")

        http.ask = unable

    service = asked.serve(part)
    until(lambda: mark.exists() and len(mark.read_text()) >= 5, "it has tried five times")
    (told,) = asked.events("check-skipped")
    assert (told["check"], told["reason"]) == (f"http {asked.target}", "too many open files")
    assert asked.slot().health is Health.UNKNOWN
    end(service)


def test_a_mistake_of_its_own_ends_it_loudly(asked: Asked, capfd: pytest.CaptureFixture[str]):
    asked.configure()

    def part() -> None:
        def wrong(*_: object) -> None:
            raise ZeroDivisionError

        http.ask = wrong

    service = asked.serve(part)
    assert os.waitstatus_to_exitcode(service.status()) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_lost_state_file_is_waited_for_and_gone_on_with(asked: Asked):
    asked.configure(failures=2)
    service = asked.serve()
    asked.answer(good=True)
    until(lambda: asked.slot().health is Health.HEALTHY, "it is well")
    path, away = Path(asked.scene.state.path), asked.scene.directory / "away"
    path.rename(away)
    copy = path.with_suffix(".copy")
    copy.write_bytes(away.read_bytes())
    copy.rename(path)
    moved = asked.scene.open()
    try:
        asked.answer_until(lambda: moved.slot(JOB).health is Health.UNHEALTHY, good=False)
    finally:
        moved.close()
    end(service)
