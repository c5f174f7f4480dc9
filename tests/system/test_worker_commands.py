"""Commands on workers: by name, by instance, all of them; and what is said when there is no such worker."""

import signal
import sys

import pytest
from worker_kit import (
    SLEEP,
    LivePair,
    entry,
    kill_guards,
    kill_watchers,
    shown,
    until,
    wait_phase,
    wait_running,
)

from twinwatch.core.values import Phase
from twinwatch.linux.identity import is_alive

NOT_INSTALLED, NOT_RUNNING = 5, 7


@pytest.fixture
def web(pair: LivePair) -> LivePair:
    pair.configure(entry("web", SLEEP, instances=3) + entry("db", SLEEP))
    pair.up()
    return pair


def phases(pair: LivePair) -> dict[str, str]:
    return {label: slot.phase.name.lower() for label, slot in pair.workers().items()}


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (["web"], {"web", "web:1", "web:2"}),
        (["web:1"], {"web:1"}),
        (["web:0", "db"], {"web", "db"}),
        (["web:2", "web:1"], {"web:1", "web:2"}),
        (["all"], {"web", "web:1", "web:2", "db"}),
    ],
)
def test_names(web: LivePair, names: list[str], meant: set[str]):
    before = web.workers()
    web.call("stop", "-p", web.name, *names)
    assert {label for label, phase in phases(web).items() if phase == "stopped"} == meant
    web.call("start", "-p", web.name, *names)
    assert set(phases(web).values()) == {"running"}
    web.call("restart", "-p", web.name, *names)
    after = web.workers()
    for label in before:
        assert after[label].phase is Phase.RUNNING
        assert after[label].generation == (3 if label in meant else 1), label
        assert (after[label].identity == before[label].identity) == (label not in meant)


@pytest.mark.parametrize("name", ["wbe", "web:3", "web:x", ""])
def test_unknown_name(web: LivePair, name: str):
    before = web.workers()
    for command in ("start", "stop", "restart", "pause", "resume", "signal HUP"):
        refused = web.call(
            *command.split()[:1], "-p", web.name, *command.split()[1:], "db", name, check=False
        )
        assert refused.returncode == NOT_INSTALLED, command
        assert refused.stderr == f"twinwatch: no worker {name}: there is web, db\n"
    assert web.workers() == before, "nothing was done to the one that there is"


def test_restart_replaces_a_living_one_whatever_its_policy(pair: LivePair):
    pair.configure(
        "".join(entry(policy, SLEEP, restart=policy) for policy in ("never", "on-failure", "always"))
    )
    pair.up()
    before = pair.workers()
    pair.call("restart", "-p", pair.name, "all")
    for label, slot in pair.workers().items():
        assert (slot.phase, slot.generation) == (Phase.RUNNING, 2), label
        assert not is_alive(before[label].identity)
        assert shown(pair, label)["last_exit"]["reason"] == "restart"
        assert slot.restarts == 0, "an ordered one does not count"


def test_start_of_what_runs_changes_nothing(web: LivePair):
    before = web.workers()
    web.call("start", "-p", web.name, "all")
    assert {label: slot.identity for label, slot in web.workers().items()} == {
        label: slot.identity for label, slot in before.items()
    }


def test_start_runs_a_finished_job_once_more(pair: LivePair):
    ran = pair.directory / "ran"
    pair.configure(entry("job", ["sh", "-c", f'echo x >>"{ran}"'], restart="never"))
    pair.up()
    for times in range(1, 4):
        wait_phase(pair, "job", Phase.STOPPED, generation=times)
        assert ran.read_text() == "x\n" * times
        pair.call("start", "-p", pair.name, "job")


def test_paused_worker_is_not_started_again_until_it_is_resumed(pair: LivePair):
    pair.configure(pair.lone("w") + pair.lone("other"))
    pair.up()
    pair.call("pause", "-p", pair.name, "w")
    slot = pair.worker("w")
    assert (slot.phase, shown(pair, "w")["desired"]) == (Phase.PAUSED, "pause")
    assert is_alive(slot.identity), "it runs on"
    until(lambda: len(pair.births("w")) == 1, "it says that it was born")
    pair.kill(slot.identity)
    assert wait_phase(pair, "w", Phase.STOPPED).generation == 1
    for _ in range(3):
        kill_watchers(pair)
    kill_guards(pair)
    pair.up()
    assert (pair.worker("w").phase, pair.worker("w").generation) == (Phase.STOPPED, 1)
    assert shown(pair, "w")["last_exit"]["signal"] == 9
    pair.call("resume", "-p", pair.name, "w")
    assert wait_running(pair, "w")[0].generation == 2


def test_pause_and_resume_of_a_living_one_do_not_touch_it(pair: LivePair):
    pair.configure(entry("w", SLEEP))
    pair.up()
    identity = pair.worker("w").identity
    for command, phase in (("pause", Phase.PAUSED), ("resume", Phase.RUNNING)):
        pair.call(command, "-p", pair.name, "w")
        slot = pair.worker("w")
        assert (slot.phase, slot.identity) == (phase, identity)
        assert pair.call("status", "-p", pair.name).returncode == 0
        kill_watchers(pair)
        assert pair.worker("w").phase is phase
    pair.call("pause", "-p", pair.name, "w")
    pair.call("stop", "-p", pair.name, "w")
    assert not is_alive(identity), "a paused one can be stopped"


def test_paused_worker_is_left_alone_by_reload(pair: LivePair):
    """Unguarded is unguarded: the change takes effect when it is resumed."""
    pair.configure(entry("w", SLEEP))
    pair.up()
    pair.call("pause", "-p", pair.name, "w")
    slot = pair.worker("w")
    pair.configure(entry("w", SLEEP, umask="027"))
    pair.call("reload", "-p", pair.name)
    assert (pair.worker("w").phase, pair.worker("w").identity) == (Phase.PAUSED, slot.identity)
    pair.call("resume", "-p", pair.name, "w")
    assert wait_running(pair, "w", generation=2)[0].generation == 2


def test_resume_of_a_job_that_ended_while_paused(pair: LivePair):
    """There is nothing to start: so it is done, and nobody waits."""
    pair.configure(entry("job", SLEEP, restart="never"))
    pair.up()
    pair.call("pause", "-p", pair.name, "job")
    pair.kill(pair.worker("job").identity)
    wait_phase(pair, "job", Phase.STOPPED)
    done = pair.call("resume", "-p", pair.name, "job", "--timeout", "5s", check=False)
    assert done.returncode == 0, done.stderr
    assert pair.worker("job").generation == 1


def hears(pair: LivePair, name: str) -> list[str]:
    """It writes down which signals arrive."""
    code = (
        "import os, signal, sys\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)\n"
        "for number in (1, 10, 12):\n"
        "    signal.signal(number, lambda n, _: os.write(fd, b'%d\\n' % n))\n"
        "os.write(fd, b'ready\\n')\n"
        "while True:\n"
        "    signal.pause()\n"
    )
    return [sys.executable, "-I", "-S", "-c", code, str(pair.directory / f"{name}.heard")]


def heard(pair: LivePair, name: str) -> list[str]:
    path = pair.directory / f"{name}.heard"
    return path.read_text().split() if path.exists() else []


def test_signal_arrives_where_it_was_sent(pair: LivePair):
    pair.configure(entry("w", hears(pair, "w-{instance}"), instances=2) + entry("x", hears(pair, "x")))
    pair.up()
    until(lambda: heard(pair, "w-0") == heard(pair, "w-1") == heard(pair, "x") == ["ready"], "all listen")
    pair.call("signal", "-p", pair.name, "HUP", "w:1")
    until(lambda: heard(pair, "w-1") == ["ready", "1"], "w:1 hears HUP")
    pair.call("signal", "-p", pair.name, "SIGUSR1", "w")
    until(
        lambda: heard(pair, "w-1") == ["ready", "1", "10"] and heard(pair, "w-0") == ["ready", "10"],
        "both hear",
    )
    kill_guards(pair)
    pair.call("signal", "-p", pair.name, "12", "x", "--group")  # needs no watcher
    until(lambda: heard(pair, "x") == ["ready", "12"], "x hears")


def test_signal_to_one_that_does_not_run(web: LivePair):
    web.call("stop", "-p", web.name, "db")
    refused = web.call("signal", "-p", web.name, "HUP", "db", check=False)
    assert (refused.returncode, refused.stderr) == (NOT_RUNNING, "twinwatch: db does not run\n")
    assert web.call("signal", "-p", web.name, "NOPE", "web", check=False).returncode == 2


def test_without_watchers_a_wish_is_kept_and_said_to_be_kept(web: LivePair):
    kill_guards(web)
    refused = web.call("stop", "-p", web.name, "db", check=False)
    assert refused.returncode == NOT_RUNNING
    assert "both watchers are dead" in refused.stderr
    web.up()
    wait_phase(web, "db", Phase.STOPPED)
    assert web.worker("db").exit.signal == signal.SIGTERM
