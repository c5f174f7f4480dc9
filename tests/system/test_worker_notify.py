"""sd_notify from a worker's side: its words count, from it alone, whichever watcher dies meanwhile."""

import os
import shlex
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from notify_kit import READY, puppets, upcoming, wait_born, wait_note, wait_ready
from service_kit import program_of
from worker_kit import (
    SLEEP,
    TIRELESS,
    Lever,
    LivePair,
    background,
    changes,
    entry,
    kill_guards,
    kill_watchers,
    shown,
    until,
    wait_change,
    wait_guarded,
    wait_phase,
    wait_running,
)

from twinwatch.core.record import Ping
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Ending, Phase, Role
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import is_alive

PATIENT_WATCH = "{interval: 100ms, timeout: 20s}"  # watchers that are stopped for a moment are not hung


def told(pair: LivePair, event: str, label: str = "") -> list[dict[str, object]]:
    return [e for e in pair.events() if e["event"] == event and (not label or e.get("slot") == label)]


def ping_of(pair: LivePair, label: str) -> Ping:
    """The record of its newest WATCHDOG=1."""
    slots = range(FIRST_WORKER_SLOT, pair.state.header().slots)
    return pair.state.ping(next(index for index in slots if pair.state.slot(index).label == label))


def wait_heard(pair: LivePair, label: str) -> None:
    """Wait until another WATCHDOG=1 of its present generation was recorded."""
    before_ns = ping_of(pair, label).at_ns

    def is_heard() -> bool:
        now = ping_of(pair, label)
        return now.generation == pair.worker(label).generation and now.at_ns > before_ns

    until(is_heard, f"{label} was heard")


# ------------------------------------------------------------ readiness


def test_ready_when_it_says_so(pair: LivePair):
    """Who depends on it is not born before."""
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry() + entry("web", SLEEP, depends_on=["db"]))
        with upcoming(pair, "db"):
            db.tell_and_wait("say STATUS=loading")
            assert not pair.worker("db").ready
            assert pair.worker("web").generation == 0
            db.tell("say READY=1")
            wait_ready(pair, "db")
            wait_running(pair, "web")
        assert shown(pair, "db")["ready"] is True


def test_each_speaks_for_itself(pair: LivePair):
    """Neither another worker nor another process makes one ready."""
    with puppets(pair, "one", "two") as [one, two]:
        pair.configure(one.entry() + two.entry())
        with upcoming(pair, "one", "two"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
                stranger.connect(two.environ()["NOTIFY_SOCKET"])
                for _ in range(50):
                    stranger.send(b"READY=1")
            one.tell_and_wait("say READY=1")
            wait_ready(pair, "one")
            assert not pair.worker("two").ready
            until(lambda: told(pair, "notify-refused"), "the stranger was told of")
            pair.wait_beats()
            events = told(pair, "notify-refused")
            assert {event["uid"] for event in events} == {os.getuid()}
            assert len({event["by"] for event in events}) == len(events), "each watcher tells it once"
            two.tell("say READY=1")


def test_each_generation_for_itself(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("say STATUS=born"))
        with upcoming(pair, "db"):
            db.tell("say READY=1")
        first = wait_ready(pair, "db")
        pair.kill(first.identity)
        wait_born(pair, "db", 2)
        db.tell_and_wait("say STATUS=again")
        assert not pair.worker("db").ready
        db.tell("say READY=1")
        wait_ready(pair, "db", 2)


@pytest.mark.parametrize("roles", [(Role.A,), (Role.B,), WATCHER_ROLES], ids=["a", "b", "both"])
def test_ready_does_not_die_with_a_watcher(pair: LivePair, roles: tuple[Role, ...]):
    """Both watchers stand still while it is said; then one dies, or both."""
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry())
        with upcoming(pair, "db"):
            wait_guarded(pair)
            watchers = {role: pair.role(role).identity for role in WATCHER_ROLES}
            pair.kill(*watchers.values(), number=signal.SIGSTOP)
            said = pair.directory / "db.environ"
            db.tell("say READY=1", f"environ {said}")
            until(said.exists, "it was said")
            pair.kill(*(watchers[role] for role in roles))
            for role in WATCHER_ROLES:
                if role not in roles:
                    pair.kill(watchers[role], number=signal.SIGCONT)
            assert wait_ready(pair, "db").generation == 1


def test_ready_is_not_lost_in_a_storm(pair: LivePair):
    """Ten generations each say it once, while watchers die in turn."""
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("say READY=1"))
        pair.up()
        for generation in range(2, 12):
            wait_guarded(pair)
            role = WATCHER_ROLES[generation % 2]
            pair.kill(wait_ready(pair, "db", generation - 1).identity, pair.role(role).identity)
            wait_ready(pair, "db", generation)


def test_adopted_it_is_ready_still(pair: LivePair):
    """With nobody guarding it what it says is lost or refused; and it lives on."""
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("say READY=1|STATUS=serving"))
        pair.up()
        before = wait_ready(pair, "db")
        kill_guards(pair)
        db.tell("say STATUS=alone", "say WATCHDOG=1")
        pair.up()
        after = wait_ready(pair, "db")
        assert (after.identity, after.generation) == (before.identity, 1)
        db.tell_and_wait("say STATUS=adopted")
        wait_note(pair, "db", "adopted")


def test_not_ready_in_time(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("from 2 say READY=1", ready={"notify": True, "timeout": "1s"}))
        with upcoming(pair, "db"):
            ended = wait_born(pair, "db", 2).exit
            assert (ended.generation, ended.ending) == (1, Ending.UNREADY)
            wait_ready(pair, "db", 2)


def test_more_time_to_get_ready(pair: LivePair):
    """Asked for at its birth: the time by which it must be ready moves on."""
    with puppets(pair, "db") as [db]:
        extend = "say EXTEND_TIMEOUT_USEC=90000000"
        pair.configure(db.entry(extend, ready={"notify": True, "timeout": "3s"}))
        with upcoming(pair, "db"):
            until(lambda: pair.worker("db").until_ns - pair.worker("db").born_ns > 60e9, "it has more time")
            db.tell("say READY=1")
            wait_ready(pair, "db")


@pytest.mark.parametrize(
    "word", ["EXTEND_TIMEOUT_USEC=90000000", "WATCHDOG=trigger", "STOPPING=1", "MAINPID={pid}|READY=1"]
)
def test_its_first_word_counts(pair: LivePair, word: str):
    """Said in its first moment, before any watcher has seen that its program runs."""
    lever = Lever(pair.directory / "lever")
    said = pair.directory / "said"
    with puppets(pair, "db") as [db]:
        keys = {"before_start": ["cat", str(lever.path)], "ready": {"notify": True, "timeout": "30s"}}
        pair.configure(db.entry(f"say {word}", f"environ {said}", **keys), watch=PATIENT_WATCH)
        with background(pair, "up", str(pair.config)):
            lever.hold()
            wait_guarded(pair)
            assert wait_phase(pair, "db", Phase.STARTING).generation == 1
            watchers = [pair.role(role).identity for role in WATCHER_ROLES]
            pair.kill(*watchers, number=signal.SIGSTOP)
            lever.release()
            until(said.exists, "it was said")
            pair.kill(*watchers, number=signal.SIGCONT)
            until(lambda: has_counted(pair, word), f"{word} counts")
            db.tell("end 0")


def has_counted(pair: LivePair, word: str) -> bool:
    slot = pair.worker("db")
    match word.partition("=")[0]:
        case "EXTEND_TIMEOUT_USEC":
            return slot.phase is Phase.RUNNING and slot.until_ns - slot.born_ns > 60 * SECOND_NS
        case "WATCHDOG":
            return any(str(event["reason"]).startswith("unhealthy") for event in changes(pair, "db"))
        case "STOPPING":
            return slot.phase is Phase.STOPPING
    return slot.ready


# ------------------------------------------------------------ signs of life


def test_what_it_is_told_of_its_watchdog(pair: LivePair):
    with puppets(pair, "db", "plain") as [db, plain]:
        keys = {"health": [{"notify": {"timeout": "5s"}}]}
        pair.configure(db.entry("say READY=1", **keys) + plain.entry("say READY=1"))
        pair.up()
        given = db.environ()
        assert given["WATCHDOG_USEC"] == "5000000"
        assert given["WATCHDOG_PID"] in ("", given["pid"])
        assert len(os.fsencode(given["NOTIFY_SOCKET"])) <= 107
        assert plain.environ()["WATCHDOG_USEC"] == ""


def test_silence_convicts(pair: LivePair):
    """While it beats nothing happens; when it stops, it is ended and started again."""
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("beat 20", "say READY=1", health=[{"notify": {"timeout": "1s"}}]))
        pair.up()
        slot = wait_ready(pair, "db")
        wait_heard(pair, "db")
        db.tell("beat 0")
        born = wait_born(pair, "db", slot.generation + 1)
        assert born.exit.ending is Ending.UNHEALTHY
        assert "WATCHDOG=1" in str(wait_change(pair, "db", "stopping")["reason"])


def test_a_stopped_one_is_convicted(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("beat 20", "say READY=1", health=[{"notify": {"timeout": "1s"}}]))
        pair.up()
        slot = wait_ready(pair, "db")
        pair.kill(slot.identity, number=signal.SIGSTOP)
        assert wait_born(pair, "db", slot.generation + 1).exit.ending is Ending.UNHEALTHY


def test_it_may_convict_itself(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("say READY=1", health=[{"notify": {"timeout": "600s"}}]))
        pair.up()
        wait_ready(pair, "db")
        db.tell("say WATCHDOG=trigger")
        assert wait_born(pair, "db", 2).exit.ending is Ending.UNHEALTHY


def test_it_may_choose_another_span(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("say READY=1", health=[{"notify": {"timeout": "600s"}}]))
        pair.up()
        wait_ready(pair, "db")
        db.tell("say WATCHDOG_USEC=500000|WATCHDOG=1")
        assert wait_born(pair, "db", 2).exit.ending is Ending.UNHEALTHY


def test_another_span_ends_with_its_generation(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("say READY=1", health=[{"notify": {"timeout": "600s"}}]))
        pair.up()
        slot = wait_ready(pair, "db")
        db.tell_and_wait("say WATCHDOG_USEC=500000000|WATCHDOG=1")
        assert ping_of(pair, "db").limit_ns == 500 * SECOND_NS
        pair.kill(slot.identity)
        wait_ready(pair, "db", 2)
        db.tell_and_wait("say WATCHDOG=1")
        heard = ping_of(pair, "db")
        assert (heard.generation, heard.limit_ns) == (2, 0)


def test_watchers_that_die_do_not_convict(pair: LivePair):
    """Their successors hear it, each by its own clock."""
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("beat 20", "say READY=1", health=[{"notify": {"timeout": "20s"}}]))
        pair.up()
        wait_ready(pair, "db")
        for _ in range(2):
            kill_watchers(pair)
            wait_heard(pair, "db")
        assert pair.worker("db").generation == 1


def test_what_nobody_heard_is_no_silence(pair: LivePair):
    """It beats while nobody guards it, for longer than it may be silent: those who come do not convict it."""
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("beat 20", "say READY=1", health=[{"notify": {"timeout": "2s"}}]))
        pair.up()
        wait_ready(pair, "db")
        wait_heard(pair, "db")
        kill_guards(pair)
        alone_ns = monotonic_ns()
        until(lambda: monotonic_ns() - alone_ns > 3 * SECOND_NS, "longer than it may be silent")
        pair.up()
        wait_heard(pair, "db")
        assert pair.worker("db").generation == 1


# ------------------------------------------------------------ what it says of itself


def test_its_status_is_shown(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("say READY=1"))
        pair.up()
        db.tell_and_wait("say STATUS=66 % of größer")
        wait_note(pair, "db", "66 % of größer")
        assert shown(pair, "db")["note"] == "66 % of größer"
        db.tell("say STATUS=\x1b[31mred")
        wait_note(pair, "db", "red")
        assert str(shown(pair, "db")["note"]).isprintable()


def test_a_stopping_one_is_not_depended_on(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("say READY=1"))
        pair.up()
        wait_ready(pair, "db")
        db.tell("say STOPPING=1")
        until(lambda: not pair.worker("db").ready, "it is not ready any more")
        db.tell("end 0")
        wait_ready(pair, "db", 2)


def test_descriptors_are_not_kept(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("say READY=1"))
        pair.up()
        db.tell_and_wait("keep FDSTORE=1|FDNAME=socket")
        until(lambda: told(pair, "notify-refused", "db"), "it was told of")
        db.tell_and_wait("keep FDSTORE=1|STATUS=still here")
        wait_note(pair, "db", "still here")
        assert pair.worker("db").generation == 1


def test_a_flood_is_only_its_own_affair(pair: LivePair):
    """One says WATCHDOG=1 without end; another one is heard, and no watcher is taken for hung."""
    with puppets(pair, "loud", "quiet") as [loud, quiet]:
        pair.configure(loud.entry("say READY=1") + quiet.entry())
        with upcoming(pair, "loud", "quiet"):
            wait_ready(pair, "loud")
            loud.tell("flood")
            pair.wait_beats(5)
            quiet.tell_and_wait("say READY=1")
            wait_ready(pair, "quiet")
        pair.call("stop", "-p", pair.name, "loud")
        roles = [pair.role(role).generation for role in WATCHER_ROLES]
        assert roles == [1, 1]


# ------------------------------------------------------------ another main process


def test_a_daemon_is_adopted(pair: LivePair):
    """Its leader ends well: the process that it named is the worker from then on."""
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry("daemon"))
        pair.up()
        slot = wait_ready(pair, "db")
        pid = int(db.environ()["pid"])
        until(lambda: pair.worker("db").identity.pid == pid, "the daemon is the worker")
        kill_watchers(pair)
        kill_guards(pair)
        pair.up()
        now = wait_ready(pair, "db")
        assert (now.identity.pid, now.generation) == (pid, slot.generation), "the same process"
        pair.kill(now.identity)
        again = wait_ready(pair, "db", slot.generation + 1)
        until(lambda: pair.worker("db").identity.pid == int(db.environ()["pid"]), "the next daemon")
        daemon = pair.worker("db").identity
        assert again.generation == slot.generation + 1, "it came back once"
        pair.call("stop", "-p", pair.name, "db")
        assert not is_alive(daemon)


def test_a_stranger_is_not_adopted(pair: LivePair):
    """A worker cannot have another process guarded, and then signalled, by naming it."""
    with puppets(pair, "db") as [db], subprocess.Popen(SLEEP) as stranger:
        pair.configure(db.entry("say READY=1"))
        pair.up()
        slot = wait_ready(pair, "db")
        db.tell_and_wait(f"say MAINPID={stranger.pid}", "say MAINPID=2147483647")
        pair.wait_beats()
        assert pair.worker("db").identity == slot.identity
        pair.call("stop", "-p", pair.name, "db")
        assert stranger.poll() is None
        stranger.kill()


# ------------------------------------------------------------ the socket, and a program


def test_a_deleted_socket_is_made_again(pair: LivePair):
    with puppets(pair, "db") as [db]:
        pair.configure(db.entry())
        with upcoming(pair, "db"):
            path = Path(db.environ()["NOTIFY_SOCKET"])
            path.unlink()
            until(path.exists, "there is a socket again")
            for roles in (WATCHER_ROLES[:1], WATCHER_ROLES[1:]):
                kill_watchers(pair, *roles)
            until(path.exists, "there is a socket")
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as link:
                until(lambda: link.connect_ex(str(path)) == 0, "somebody reads it")
            db.tell_and_wait("say READY=1")
            wait_ready(pair, "db")


def test_systemd_notify(pair: LivePair):
    """It speaks for its parent or as its child, and waits until that was read."""
    notify = program_of("systemd-notify")
    past = pair.directory / "past"
    lever = pair.directory / "lever"
    os.mkfifo(lever)
    script = (
        f"read line < {shlex.quote(str(lever))}; {notify} --ready --status='from a shell' && "
        f": > {shlex.quote(str(past))}; exec sleep 100000"
    )
    pair.configure(entry("shell", ["sh", "-c", script], ready=READY, restart=TIRELESS))
    with upcoming(pair, "shell"):
        pair.wait_beats()
        assert not pair.worker("shell").ready
        lever.write_text("go\n")
        wait_ready(pair, "shell")
        until(past.exists, "the barrier fell")
        wait_note(pair, "shell", "from a shell")
    assert wait_phase(pair, "shell", Phase.RUNNING).generation == 1
