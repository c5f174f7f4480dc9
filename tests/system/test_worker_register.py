"""A process that the pair did not start registers: from then on it is guarded as any other worker is."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from beating_kit import MISSES, SILENCE_S, TIMEOUT_S, Beater, beaters, outside
from worker_kit import (
    SLEEP,
    LivePair,
    changes,
    entry,
    kill_guards,
    kill_watchers,
    shown,
    until,
    wait_change,
    wait_guarded,
    wait_running,
)

from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import WATCHER_ROLES, Ending, ExitKind, Health, Phase, Role
from twinwatch.linux.clock import monotonic_ns

NOBODY = 65534
ROLES = pytest.mark.parametrize("roles", [(Role.A,), (Role.B,), WATCHER_ROLES], ids=["a", "b", "both"])


@pytest.fixture
def running(pair: LivePair) -> LivePair:
    pair.configure(entry("base", SLEEP))
    pair.up()
    wait_guarded(pair)
    return pair


def application(pair: LivePair, name: str, misses: int = MISSES) -> str:
    """The line by which a `beating_worker.py` registers itself."""
    return f"register {name} {pair.name} {TIMEOUT_S} {misses}"


@contextmanager
def applicant(pair: LivePair, name: str, *first: str) -> Iterator[tuple[Beater, "subprocess.Popen[bytes]"]]:
    """A process that registers as `name` and beats; each generation of it does so again."""
    with beaters(pair, name) as [beater]:
        lines = first or (application(pair, name), "beat")
        with outside(pair, *beater.command(*lines)) as process:
            yield beater, process


def test_from_registration_to_the_next_generation(running: LivePair):
    """Deaf, it is ended and started again by its command; the next one registers again, and beats on."""
    with applicant(running, "job") as (job, process):
        slot = job.wait_healthy()
        assert (slot.identity.pid, slot.generation, slot.owner) == (process.pid, 1, Role.GUEST)
        job.tell("deaf")
        assert process.wait(60) == -15
        again = job.wait_healthy(2)
        assert (again.generation, again.exit.ending, again.exit.signal) == (2, Ending.UNHEALTHY, 15)
        assert again.identity.pid != process.pid
        assert [birth[1] for birth in running.births("job")] == ["None", "2"]
        [verdict] = job.verdicts()
        assert str(verdict["reason"]).startswith("unhealthy: no heartbeat for ")
        assert shown(running, "job")["last_exit"]["reason"] == "unhealthy"
        running.wait_beats(5)
        assert running.generations()["job"] == 2


@pytest.mark.slow  # the ten seconds that it has to end by itself
def test_one_that_ignores_term_is_killed_and_no_other(running: LivePair):
    """The KILL after the stop timeout goes to the process itself: its group is not the pair's."""
    with applicant(running, "job") as (job, process):
        job.wait_healthy()
        job.tell_and_wait("ignore")
        bystander = subprocess.Popen(SLEEP, process_group=process.pid)
        try:
            job.tell("deaf")
            assert process.wait(60) == -9
            again = job.wait_healthy(2)
            assert (again.generation, again.exit.signal, again.exit.ending) == (2, 9, Ending.UNHEALTHY)
            assert bystander.poll() is None
        finally:
            bystander.kill()
            bystander.wait()


def test_its_death_is_followed_by_a_restart(running: LivePair):
    with applicant(running, "job") as (job, process):
        running.kill(job.wait_healthy().identity)
        assert process.wait(60) == -9
        again = job.wait_healthy(2)
        assert (again.generation, again.exit.signal, again.exit.ending) == (2, 9, Ending.NONE)


def test_before_the_first_beat_only_its_death_counts(running: LivePair):
    with applicant(running, "job", application(running, "job")) as (job, process):
        slot = wait_running(running, "job")[0]
        wait_silence(job)
        assert (process.poll(), job.slot.generation, job.slot.health) == (None, 1, Health.UNKNOWN)
        running.kill(slot.identity)
        assert process.wait(60) == -9
        job.wait_phase(Phase.RUNNING, generation=2)
        job.tell("beat")
        assert job.wait_healthy(2).generation == 2


def wait_silence(job: Beater) -> None:
    """Longer than any beat may be missing; a verdict would have come."""
    deadline_ns = monotonic_ns() + 2 * int(SILENCE_S * SECOND_NS)
    until(lambda: monotonic_ns() > deadline_ns, "twice the limit is over")
    job.pair.wait_beats()


def test_an_exit_without_a_sign_off(running: LivePair):
    with applicant(running, "job") as (job, process):
        job.wait_healthy()
        job.tell("end 0")
        assert process.wait(60) == 0
        assert job.wait_healthy(2).generation == 2


def test_who_signed_off_is_not_judged_and_may_end(running: LivePair):
    with applicant(running, "job") as (job, process):
        job.wait_healthy()
        job.tell("sign-off")
        wait_silence(job)
        assert (process.poll(), job.slot.generation) == (None, 1)
        job.tell("end 0")
        assert process.wait(60) == 0
        slot = job.wait_phase(Phase.STOPPED)
        assert (slot.generation, slot.exit.kind, slot.signed_off) == (1, ExitKind.CLEAN, True)
        assert wait_change(running, "job", "stopped")["reason"] == "it had signed off"
        kill_watchers(running)
        running.wait_beats()
        assert (shown(running, "job")["phase"], job.slot.generation) == ("stopped", 1)
        running.call("unregister", "-p", running.name, "job")
        assert list(running.workers()) == ["base"]


def test_signed_off_while_nobody_watched(running: LivePair):
    with applicant(running, "job") as (job, process):
        job.wait_healthy()
        kill_guards(running)
        job.tell("sign-off", "end 0")
        assert process.wait(60) == 0
        running.up()
        slot = job.wait_phase(Phase.STOPPED)
        assert (slot.generation, slot.signed_off) == (1, True)


# ---------------------------------------------------------------- killed watchers


@ROLES
def test_watchers_die_in_its_silence_and_with_it(running: LivePair, roles: tuple[Role, ...]):
    with applicant(running, "job") as (job, process):
        job.wait_healthy()
        job.tell_and_wait("deaf")
        kill_watchers(running, *roles)
        assert process.wait(60) == -15
        slot = job.wait_healthy(2)
        wait_guarded(running)
        running.kill(*(running.role(role).identity for role in roles), slot.identity)
        job.wait_healthy(3)
        wait_guarded(running)
        running.wait_beats(5)
        assert (running.generations()["job"], len(job.verdicts())) == (3, 1)


@ROLES
def test_watchers_die_while_it_registers(running: LivePair, roles: tuple[Role, ...]):
    """It is written down, and not in force yet."""
    with applicant(running, "job") as (job, process):
        until((running.kept / "registered.json").exists, "it is written down")
        kill_watchers(running, *roles)
        slot = job.wait_healthy()
        running.wait_beats(5)
        assert (slot.identity.pid, running.generations()["job"]) == (process.pid, 1)
        running.kill(slot.identity)
        assert job.wait_healthy(2).generation == 2


# ---------------------------------------------------------------- the pair's commands


def test_reload_keeps_it(running: LivePair):
    with applicant(running, "job") as (job, _):
        before = job.wait_healthy()
        running.configure(entry("base", SLEEP) + entry("more", SLEEP))
        said = json.loads(running.call("reload", "-p", running.name, "--json").stdout)
        assert (said["started"], said["unchanged"]) == (["more"], ["base", "job"])
        running.wait_beats()
        assert job.slot.identity == before.identity
        job.tell("deaf")
        assert job.wait_healthy(2).generation == 2


def test_down_ends_it_and_up_starts_it_by_its_command(running: LivePair):
    with applicant(running, "job") as (job, process):
        job.wait_healthy()
        running.down()
        assert process.wait(60) == -15
        running.up()
        slot = job.wait_healthy(2)
        assert (slot.generation, slot.owner in WATCHER_ROLES) == (2, True)
        assert running.births("job")[1] == [str(slot.identity.pid), "2"]
        for command, generation in (("restart", 3), ("stop", 3), ("start", 4)):
            running.call(command, "-p", running.name, "job")
            assert job.slot.generation == generation
        assert job.wait_healthy(4).generation == 4


def test_unregistered_it_lives_on_unguarded(running: LivePair):
    with applicant(running, "job") as (job, process):
        job.wait_healthy()
        old = os.open(job.path, os.O_RDONLY)
        said = running.call("unregister", "-p", running.name, "job")
        assert said.stdout == "job: is not guarded any more\n"
        assert list(running.workers()) == ["base"]
        job.tell("deaf")
        kill_watchers(running)
        wait_silence(job)
        assert process.poll() is None
        assert [birth[1] for birth in running.births("job")] == ["None"]
        again = running.call("unregister", "-p", running.name, "job", check=False)
        assert (again.returncode, again.stderr) == (5, "twinwatch: no registered worker job: there is none\n")
        job.tell(application(running, "job"), "beat")
        slot = job.wait_healthy()
        assert (slot.identity.pid, slot.generation) == (process.pid, 2), "generations only ever grow"
        status = os.fstat(old)
        os.close(old)
        assert (status.st_nlink, status.st_size) == (0, 64), "what it had mapped was replaced, and not cut"
        told = {event["reason"] for event in changes(running, "job") if event["generation"] == 1}
        assert "new in the configuration" not in told, "a watcher that was late did not fill its place again"


def test_a_lost_file_is_made_again(running: LivePair):
    with outside(running, *SLEEP) as process:
        path = Path(register(running, "job", process.pid).stdout.strip())
        path.unlink()
        again = register(running, "job", process.pid)
        assert (again.returncode, again.stdout) == (0, f"{path}\n")
        assert path.read_bytes() == bytes(64)
        assert (running.worker("job").generation, running.state.header().config_generation) == (1, 2)


# ---------------------------------------------------------------- by the shell


def register(
    pair: LivePair, name: str, pid: int, *command: str, directory: str = "."
) -> "subprocess.CompletedProcess[str]":
    """`twinwatch register` from a shell's point of view."""
    silence = ["--timeout", f"{round(TIMEOUT_S * 1000)}ms", "--misses", str(MISSES)]
    begin = ["register", "-p", pair.name, name, *silence, "--pid", str(pid), "--directory", directory]
    return pair.call(*begin, "--", *(command or SLEEP), check=False)


def test_a_shell_script(running: LivePair):
    """It beats by `touch`, and registers again in each generation."""
    script = running.directory / "job.sh"
    script.write_text(
        f"export TWINWATCH_RUNTIME_DIR={running.directory}/run TWINWATCH_STATE_DIR={running.directory}/lib\n"
        f"beat=$({sys.executable} -m twinwatch register -p {running.name} job "
        f"--timeout {TIMEOUT_S}s --misses {MISSES} --pid $$ -- sh {script}) || exit 9\n"
        f'echo "$$ ${{TWINWATCH_GENERATION:-None}}" >>{running.births_of("job")}\n'
        f'while [ ! -e deaf.${{TWINWATCH_GENERATION:-1}} ]; do touch "$beat"; sleep 0.05; done\n'
        "exec sleep 100000\n"
    )
    with outside(running, "sh", str(script)) as process:
        until(lambda: "job" in running.workers(), "it is registered")
        for generation in (1, 2):
            until(lambda number=generation: running.worker("job").generation == number, "its generation runs")
            until(lambda: running.worker("job").health is Health.HEALTHY, "it is well")
            (running.directory / f"deaf.{generation}").touch()
        assert process.wait(60) == -15
        wait_running(running, "job", generation=3)
        until(lambda: len(running.births("job")) == 3, "the third one is at work")
        assert [birth[1] for birth in running.births("job")] == ["None", "2", "3"]


def test_many_at_once(running: LivePair):
    names = [f"job{number}" for number in range(8)]
    with ExitStack() as stack:
        made = [stack.enter_context(applicant(running, name)) for name in names]
        slots = {job.name: job.wait_healthy() for job, _ in made}
        assert [slots[job.name].identity.pid for job, _ in made] == [process.pid for _, process in made]
        wait_guarded(running)
        running.wait_beats()
        assert {slot.generation for slot in running.workers().values()} == {1}
        running.kill(*(slot.identity for slot in slots.values()))
        for job, _ in made:
            assert job.wait_healthy(2).generation == 2


# ---------------------------------------------------------------- refusals


def test_what_is_refused(running: LivePair):
    """One line each, and nothing has changed."""
    with (
        applicant(running, "taken") as (job, taken),
        outside(running, *SLEEP) as process,
        outside(running, "true") as zombie,
    ):
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        job.wait_healthy()
        watcher = running.role(Role.A).identity.pid
        before = (running.workers(), running.state.header().config_generation)
        for done, code, words in (
            (register(running, "base", process.pid), 1, "base is a worker of "),
            (register(running, "all", process.pid), 1, "all cannot name a worker: to the commands it means"),
            (register(running, "Job!", process.pid), 1, "'Job!' cannot name a worker: 1 to 40 of"),
            (register(running, "job", process.pid, "/no/program"), 1, "/no/program is no program: name one"),
            (register(running, "job", 2**22), 7, f"there is no process {2**22}"),
            (register(running, "job", zombie.pid), 7, f"there is no process {zombie.pid}"),
            (register(running, "job", 0), 7, "there is no process 0"),
            (register(running, "job", -1), 7, "there is no process -1"),
            (register(running, "job", 1), 4, "PID 1 cannot be guarded" if not os.geteuid() else "belongs to"),
            (register(running, "job", taken.pid), 1, f"process {taken.pid} is guarded already, as taken"),
            (register(running, "job", watcher), 1, f"process {watcher} is guarded already, as a"),
            (register(running, "taken", process.pid), 1, f"taken runs as PID {taken.pid}: `twinwatch stop"),
        ):
            assert (done.returncode, done.stdout) == (code, "")
            assert words in done.stderr
            assert (done.stderr.startswith("twinwatch: "), done.stderr.count("\n")) == (True, 1), done.stderr
        running.wait_beats()
        assert (process.poll(), taken.poll()) == (None, None)
        assert (running.workers(), running.state.header().config_generation) == before


def test_no_pair_is_up(pair: LivePair):
    pair.configure(entry("base", SLEEP))
    with outside(pair, *SLEEP) as process:
        assert register(pair, "job", process.pid).returncode == 7
        pair.up()
        pair.down()
        done = register(pair, "job", process.pid)
        assert (done.returncode, process.poll()) == (7, None)
        assert "is not running: `twinwatch up" in done.stderr


# ---------------------------------------------------------------- users


@pytest.mark.root
def test_a_users_process_is_started_again_as_that_user(running: LivePair):
    """Root gives it to the pair: what a user's script says is not run as root from then on."""
    log = running.kept / "log" / "job.log"
    with outside(running, *SLEEP, uid=NOBODY) as process:
        done = register(running, "job", process.pid, "sh", "-c", "id -u; exec sleep 100000", directory="/")
        file = Path(done.stdout.strip())
        assert (done.returncode, file.stat().st_uid, file.stat().st_size) == (0, NOBODY, 64)
        running.kill(running.worker("job").identity)
        process.wait(60)
        wait_running(running, "job", generation=2)
        until(log.read_text, "it says who it is")
        assert log.read_text() == f"{NOBODY}\n"
        assert file.stat().st_uid == NOBODY
