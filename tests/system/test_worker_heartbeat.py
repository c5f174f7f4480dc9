"""A worker that lives and gives no sign is ended and started again; one that could not give it is not (P9)."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from beating_kit import MISSES, SILENCE_S, TIMEOUT_S, Beater, beaters
from worker_kit import (
    TIRELESS,
    LivePair,
    background,
    entry,
    kill_watchers,
    shown,
    until,
    wait_guarded,
    wait_running,
)

from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import WATCHER_ROLES, Ending, ExitKind, Health, Identity, Phase, Role
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import is_stopped

FREEZERS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
LIMIT_S = 1.5
PATIENT = [{"heartbeat": {"timeout": "300ms", "misses": 5}}]  # looked at every 75 ms
BEAT = {"timeout": f"{round(TIMEOUT_S * 1000)}ms", "misses": MISSES}


def pass_time(seconds: float) -> None:
    """The one thing that cannot be waited for in another way: that something does not happen."""
    deadline_ns = monotonic_ns() + int(seconds * SECOND_NS)
    until(lambda: monotonic_ns() > deadline_ns, f"{seconds} s are over")


def pass_silence(pair: LivePair) -> None:
    """Twice as long as any beat may be missing: a verdict would have come."""
    pass_time(2 * SILENCE_S)
    pair.wait_beats()


@contextmanager
def one(pair: LivePair, *first: str, **keys: object) -> Iterator[Beater]:
    """A living pair with the worker `w`, which is heard to beat."""
    with beaters(pair, "w") as [worker]:
        pair.configure(worker.entry(*first, **keys))
        pair.up()
        worker.wait_healthy()
        yield worker


# ---------------------------------------------------------------- silence


@pytest.mark.parametrize("roles", [(), (Role.A,), (Role.B,), WATCHER_ROLES], ids=["none", "a", "b", "both"])
def test_deaf_it_is_ended_and_back(pair: LivePair, roles: tuple[Role, ...]):
    """Whichever watcher dies in the silence: the verdict comes, and once."""
    with one(pair) as worker:
        worker.tell_and_wait("deaf")
        if roles:
            kill_watchers(pair, *roles)
        slot = worker.wait_healthy(2)
        assert (slot.exit.signal, slot.exit.ending) == (signal.SIGTERM, Ending.UNHEALTHY)
        pair.wait_beats(5)
        assert worker.slot.generation == 2
        verdicts = worker.verdicts()
        assert len(verdicts) == 1 or (roles and not verdicts), "a killed watcher may take the line with it"
        for verdict in verdicts:
            assert str(verdict["reason"]).startswith("unhealthy: no heartbeat for ")
        view = shown(pair, "w")
        assert (view["last_exit"]["reason"], view["restarts"], view["health"]) == ("unhealthy", 1, "healthy")


def test_one_that_ignores_term_is_killed(pair: LivePair):
    with one(pair, stop={"timeout": "300ms"}) as worker:
        worker.tell("ignore", "deaf")
        slot = worker.wait_healthy(2)
        assert (slot.generation, slot.exit.signal, slot.exit.ending) == (2, signal.SIGKILL, Ending.UNHEALTHY)


def test_a_stopped_one_is_found(pair: LivePair):
    """Stopped it cannot beat; CONT follows TERM, so that it ends by itself."""
    with one(pair) as worker:
        pair.kill(worker.slot.identity, number=signal.SIGSTOP)
        slot = worker.wait_healthy(2)
        assert (slot.generation, slot.exit.signal, slot.exit.ending) == (2, signal.SIGTERM, Ending.UNHEALTHY)


def test_beats_while_the_work_stands_still(pair: LivePair):
    with one(pair, health=[{"heartbeat": {"timeout": "20s", "progress": "600ms"}}]) as worker:
        pass_time(1.2)
        assert worker.slot.generation == 1, "its work moves on"
        worker.tell("idle")
        slot = worker.wait_healthy(2)
        assert (slot.generation, slot.exit.ending) == (2, Ending.UNHEALTHY)
        assert "no progress for " in str(worker.verdicts()[0]["reason"])


def test_a_shell_worker_that_only_touches(pair: LivePair):
    pair.configure(toucher(pair))
    pair.up()
    wait_touched(pair)
    pass_silence(pair)
    assert pair.worker("w").generation == 1, "a touch is a beat"
    (pair.directory / "deaf.1").touch()
    wait_running(pair, "w", generation=2)
    slot = wait_touched(pair)
    assert (slot.generation, slot.exit.ending) == (2, Ending.UNHEALTHY)


def toucher(pair: LivePair) -> str:
    script = (
        f"while [ ! -e {pair.directory}/deaf.$TWINWATCH_GENERATION ]; "
        'do touch -c "$TWINWATCH_HEARTBEAT"; sleep 0.05; done; exec sleep 100000'
    )
    return entry("w", ["sh", "-c", script], health=[{"heartbeat": BEAT}], restart=TIRELESS)


def wait_touched(pair: LivePair) -> object:
    until(lambda: pair.worker("w").health is Health.HEALTHY, "it is heard to touch")
    return pair.worker("w")


# ---------------------------------------------------------------- no verdict


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, 0)], ids=["deleted", "truncated"])
def test_a_file_that_says_nothing_convicts_nobody(pair: LivePair, harm: Callable[[str], None]):
    pair.configure(toucher(pair))
    pair.up()
    slot = wait_touched(pair)
    harm(str(pair.directory / "run" / f"{pair.name}.workers" / "w.0"))
    (pair.directory / "deaf.1").touch()
    pass_silence(pair)
    assert pair.worker("w").identity == slot.identity


def test_before_the_first_beat_readiness_judges(pair: LivePair):
    """Who never beat is not deaf; who is to be ready by its first beat, and is not in time, is ended."""
    ready = {"ready": {"heartbeat": True, "timeout": "400ms"}}
    with beaters(pair, "mute", "w") as [mute, worker]:
        pair.configure(mute.entry("deaf") + worker.entry("deaf", **ready))
        with background(pair, "up", str(pair.config)) as call:
            wait_running(pair, "mute", "w")
            slot = worker.wait_phase(Phase.RUNNING, generation=2)
            assert (slot.exit.ending, slot.ready) == (Ending.UNREADY, False)
            assert "unready: not ready in time" in [event["reason"] for event in worker.verdicts()]
            worker.tell("beat")
            worker.wait_healthy(2)
            assert call.communicate(timeout=60)[1].count("\n") == 2
            assert call.returncode == 0
        pass_silence(pair)
        assert (mute.slot.generation, mute.slot.ready, mute.slot.health) == (1, True, Health.UNKNOWN)
        assert worker.slot.ready


def test_a_paused_one_is_not_judged(pair: LivePair):
    """Nor is it judged for that time when it is guarded again."""
    with one(pair, health=PATIENT) as worker:
        pair.call("pause", "-p", pair.name, "w")
        worker.tell_and_wait("deaf")
        pass_time(2 * LIMIT_S)
        pair.call("resume", "-p", pair.name, "w")
        worker.tell_and_wait("beat")
        pair.wait_beats()
        assert (worker.slot.generation, worker.slot.phase) == (1, Phase.RUNNING)
        worker.tell("deaf")
        assert worker.wait_healthy(2).exit.ending is Ending.UNHEALTHY


def test_who_signed_off_is_not_judged_and_may_end(pair: LivePair):
    with one(pair, restart={"policy": "always"}) as worker:
        worker.tell_and_wait("sign-off")
        pass_silence(pair)
        assert worker.slot.generation == 1
        worker.tell("end 0")
        slot = worker.wait_phase(Phase.STOPPED)
        assert (slot.generation, slot.exit.kind, slot.signed_off) == (1, ExitKind.CLEAN, True)
        assert shown(pair, "w")["last_exit"]["kind"] == "clean"
        pair.call("restart", "-p", pair.name, "w")
        assert worker.wait_healthy(2).generation == 2


def test_an_own_worker_that_registers_asks_for_nothing(pair: LivePair):
    """The same program, started by the pair and by somebody else, does the same."""
    with one(pair, f"register w {pair.name} 5 3", "beat") as worker:
        assert not (pair.kept / "registered.json").exists()
        assert pair.state.header().config_generation == 1
        worker.tell("deaf")
        assert worker.wait_healthy(2).exit.ending is Ending.UNHEALTHY


# ---------------------------------------------------------------- the machine is slow, or stood still


@pytest.fixture
def three(pair: LivePair) -> Iterator[list[Beater]]:
    with beaters(pair, "one", "two", "three") as workers:
        pair.configure("".join(worker.entry(health=PATIENT) for worker in workers))
        pair.up()
        for worker in workers:
            worker.wait_healthy()
        wait_guarded(pair)
        yield workers


def freeze_by_signal(pair: LivePair, find: Callable[[], list[Identity]]) -> list[Identity]:
    """Whoever is found again while it stops had not stopped."""
    frozen: set[Identity] = set()
    while new := set(find()) - frozen:
        pair.kill(*new, number=signal.SIGSTOP)
        frozen |= new
    until(lambda: all(is_stopped(identity.pid) for identity in frozen), "all stand still")
    return list(frozen)


def hold_and_thaw(pair: LivePair, thaw_guards: Callable[[], None], thaw_workers: Callable[[], None]) -> None:
    """All stand still; the watchers wake up first, and find that nobody has beaten for longer than allowed.

    They have seen the workers stand still before, for a part of the limit, and do so again when they are on time.
    """
    before = {label: slot.identity for label, slot in pair.workers().items()}
    generations = pair.generations()
    pass_time(2 * LIMIT_S)
    thaw_guards()
    pair.wait_beats(4)
    thaw_workers()
    pass_time(LIMIT_S)
    pair.wait_beats()
    assert {label: slot.identity for label, slot in pair.workers().items()} == before
    assert pair.generations() == generations


def test_all_are_stopped_for_longer_than_the_limit(pair: LivePair, three: list[Beater]):
    workers = freeze_by_signal(pair, lambda: [worker.slot.identity for worker in three])
    pair.wait_beats(2)
    guards = freeze_by_signal(pair, pair.guards)
    hold_and_thaw(
        pair,
        lambda: pair.kill(*guards, number=signal.SIGCONT),
        lambda: pair.kill(*workers, number=signal.SIGCONT),
    )
    three[0].tell("deaf")
    assert three[0].wait_healthy(2).exit.ending is Ending.UNHEALTHY, "who is deaf afterwards is found"


class Freezer:
    """A cgroup (v2) whose processes stand still together."""

    def __init__(self, parent: Path) -> None:
        self._home = parent
        self._path = parent / f"twinwatch-test-{secrets.token_hex(6)}"
        self._path.mkdir()

    def take(self, find: Callable[[], list[int]]) -> None:
        """Whoever is found again was born meanwhile, before its parent was in it."""
        while new := set(find()) - self.members():
            for pid in new:
                (self._path / "cgroup.procs").write_text(str(pid))

    def members(self) -> set[int]:
        return {int(pid) for pid in (self._path / "cgroup.procs").read_text().split()}

    def freeze(self, *, frozen: bool = True) -> None:
        (self._path / "cgroup.freeze").write_text(str(int(frozen)))
        wanted = f"frozen {int(frozen)}\n"
        until(lambda: wanted in (self._path / "cgroup.events").read_text(), "it is as it was told to be")

    def close(self) -> None:
        """Let all of them go."""
        self.freeze(frozen=False)
        for pid in self.members():
            (self._home / "cgroup.procs").write_text(str(pid))
        until(lambda: not self.members(), "it is empty")
        self._path.rmdir()


def freezer_home() -> Path:
    for path in FREEZERS:
        if (path / "cgroup.controllers").exists() and os.access(path / "cgroup.procs", os.W_OK):
            return path
    return pytest.skip("kernel lacks a cgroup v2 hierarchy that may be written here")


def test_all_are_frozen_for_longer_than_the_limit(pair: LivePair, three: list[Beater]):
    home = freezer_home()
    with ExitStack() as stack:
        guards, workers = Freezer(home), Freezer(home)
        stack.callback(guards.close)
        stack.callback(workers.close)
        guards.take(lambda: [identity.pid for identity in pair.guards()])
        workers.take(lambda: [worker.slot.identity.pid for worker in three])
        workers.freeze()
        pair.wait_beats(2)
        guards.freeze()
        hold_and_thaw(pair, lambda: guards.freeze(frozen=False), lambda: workers.freeze(frozen=False))


@contextmanager
def overload() -> Iterator[None]:
    """Every core has two others to serve, of the same priority."""
    spin = [sys.executable, "-I", "-S", "-c", "print(flush=True)\nwhile True: pass"]
    with ExitStack() as stack:
        loops = []
        for _ in range(2 * (os.cpu_count() or 1)):
            loop = stack.enter_context(subprocess.Popen(spin, stdout=subprocess.PIPE))
            stack.callback(loop.kill)
            loops.append(loop)
        for loop in loops:
            assert loop.stdout is not None
            loop.stdout.readline()
        yield


@pytest.mark.parametrize("seconds", [8, pytest.param(20, marks=pytest.mark.slow)])
def test_an_overloaded_machine_is_not_a_hung_worker(pair: LivePair, seconds: int):
    with one(pair, "every 200", "beat", health=[{"heartbeat": {"timeout": "1s", "misses": 3}}]) as worker:
        before = pair.generations()
        with overload():
            pass_time(seconds)
            beats = worker.file().sequence
            assert pair.generations() == before
        pair.wait_beats()
        assert pair.generations() == before
        assert worker.file().sequence >= beats > 1
        assert worker.verdicts() == []
