"""A worker that daemonises is never given a second instance, and is ended when it is to end."""

import os
import signal
from collections.abc import Iterator

import pytest
from service_kit import PATIENT, ask, children_of, free_port, program_of
from worker_kit import (
    TIRELESS,
    Lever,
    LivePair,
    entry,
    kill_guards,
    kill_watchers,
    program,
    shown,
    until,
    wait_change,
    wait_guarded,
    wait_phase,
)

from twinwatch.core.record import Slot
from twinwatch.core.values import WATCHER_ROLES, ExitKind, Phase, Role
from twinwatch.linux.identity import is_alive, is_dead


@pytest.fixture
def daemon(pair: LivePair) -> Iterator[int]:
    """A pidfd of the daemon, whose slot says that it escaped."""
    command = program("daemon_worker.py", pair.lock_of("d"), pair.births_of("d"))
    pair.configure(entry("d", command), watch="{interval: 100ms, timeout: 20s}")
    pair.call("up", str(pair.config), check=False)  # 0 or 1: it has begun well
    wait_phase(pair, "d", Phase.FATAL)
    until(lambda: pair.births("d"), "the daemon is there")
    pidfd = os.pidfd_open(int(pair.births("d")[0][0]))
    assert not is_dead(pidfd)
    yield pidfd
    os.close(pidfd)


def only_one(pair: LivePair) -> bool:
    return len(pair.births("d")) == 1 and not list(pair.directory.glob("*.double"))


def test_it_is_fatal_and_says_why(pair: LivePair, daemon: int):
    slot = pair.worker("d")
    assert (slot.exit.kind, slot.generation) == (ExitKind.ESCAPED, 1)
    assert shown(pair, "d")["last_exit"]["kind"] == "escaped"
    assert wait_change(pair, "d", "fatal")["reason"] == "a process of it escaped"
    assert pair.status()["state"] == "fatal"


def test_no_second_instance_whoever_looks(pair: LivePair, daemon: int):
    for _ in range(5):
        kill_watchers(pair)
    kill_guards(pair)
    pair.call("up", str(pair.config), check=False)
    slot = wait_phase(pair, "d", Phase.FATAL)
    assert slot.generation == 1
    assert only_one(pair) and not is_dead(daemon)


@pytest.mark.parametrize("when", ["at once", "watchers killed before", "all guards killed before"])
@pytest.mark.parametrize("command", ["stop", "restart", "down"])
def test_command_ends_the_escaped_one(pair: LivePair, daemon: int, command: str, when: str):
    if when == "watchers killed before":
        kill_watchers(pair)
    elif when == "all guards killed before":
        kill_guards(pair)
        if command != "down":  # `down` alone acts with no watcher alive
            pair.call("up", str(pair.config), check=False)
    if command == "down":
        pair.down()
    else:
        pair.call(command, "-p", pair.name, "d")
    assert is_dead(daemon), f"acknowledged before it was dead by {command}"
    if command == "stop":
        assert wait_phase(pair, "d", Phase.STOPPED).generation == 1
        assert pair.status()["state"] == "up"
    if command == "restart":  # which escapes again, and is no second one
        until(lambda: len(pair.births("d")) == 2, "the next daemon is there")
        assert wait_phase(pair, "d", Phase.FATAL, generation=2).generation == 2


def test_stop_is_not_acknowledged_while_it_lives(pair: LivePair, daemon: int):
    """With both watchers stopped nobody can end it: so nobody may say that it is stopped."""
    watchers = [pair.role(role).identity for role in WATCHER_ROLES]
    pair.kill(*watchers, number=signal.SIGSTOP)
    call = pair.call("stop", "-p", pair.name, "d", "--timeout", "500ms", check=False)
    assert not is_dead(daemon)
    pair.kill(*watchers, number=signal.SIGCONT)
    assert call.returncode == 1, call.stdout
    pair.call("stop", "-p", pair.name, "d")
    assert is_dead(daemon)


def test_the_next_life_of_the_pair_refuses_a_second_instance(pair: LivePair, daemon: int):
    """Its state file lost, the pair knows nothing of the daemon: the kernel still does (token)."""
    kill_guards(pair)
    pair.forget_state()
    for path in pair.runtime.iterdir():
        path.unlink()
    pair.call("up", str(pair.config), check=False)
    slot = wait_phase(pair, "d", Phase.FATAL)
    assert slot.exit.kind is ExitKind.ESCAPED
    assert only_one(pair) and not is_dead(daemon)
    pair.call("stop", "-p", pair.name, "d")
    assert is_dead(daemon)


def test_what_a_killed_leader_left_is_ended(pair: LivePair):
    """A child in a session of its own that outlives a crash: ended, and then the worker is born again."""
    said = pair.directory / "child"
    script = f'setsid sleep 100000 & echo $! >"{said}.draft"; mv "{said}.draft" "{said}"; exec sleep 100000'
    pair.configure(entry("w", ["sh", "-c", script]))
    pair.up()
    until(said.exists, "the child is there")
    child = os.pidfd_open(int(said.read_text()))
    until(lambda: os.getsid(int(said.read_text())) == int(said.read_text()), "it has its own session")
    before = pair.worker("w")
    said.unlink()
    pair.kill(before.identity)
    until(lambda: pair.worker("w").generation == before.generation + 1, "it is born again")
    assert is_dead(child)
    os.close(child)
    until(said.exists, "its child is there again")


# ---------------------------------------------------------------- a PID file names what was left


def named_daemon(pair: LivePair, **keys: object) -> None:
    """A daemon that writes its PID file, as its worker's configuration says."""
    command = program("daemon_worker.py", pair.lock_of("d"), pair.births_of("d"), pair.directory / "pid")
    keys = {"restart": TIRELESS, **keys}
    pair.configure(entry("d", command, pid_file=str(pair.directory / "pid"), **keys))


def begin(pair: LivePair) -> None:
    """0 or 1: at the moment of the hand-over it does not run."""
    pair.call("up", str(pair.config), check=False)


def wait_handed_over(pair: LivePair, generation: int = 1) -> Slot:
    """The slot names the daemon of this generation."""

    def is_named() -> bool:
        births, slot = pair.births("d"), pair.worker("d")
        return bool(births) and births[-1] == [str(slot.identity.pid), str(generation)]

    until(is_named, "the slot names the daemon")
    return wait_phase(pair, "d", Phase.RUNNING, generation=generation)


def test_what_a_pid_file_names_is_the_worker(pair: LivePair):
    named_daemon(pair)
    begin(pair)
    slot = wait_handed_over(pair)
    assert (slot.generation, slot.ready, slot.restarts) == (1, True, 0)
    assert is_alive(slot.identity)
    until(lambda: pair.status()["state"] == "up", "all is well")


def test_its_death_is_the_death_of_the_worker(pair: LivePair):
    named_daemon(pair)
    begin(pair)
    for generation in (1, 2, 3):
        pair.kill(wait_handed_over(pair, generation).identity)
    slot = wait_handed_over(pair, 4)
    assert len(pair.births("d")) == 4
    pair.call("stop", "-p", pair.name, "d")
    assert not is_alive(slot.identity)
    assert wait_phase(pair, "d", Phase.STOPPED).generation == 4
    assert pair.worker("d").exit.kind is ExitKind.SIGNAL, "how it ended is seen, though it is nobody's child"


@pytest.mark.parametrize("who", ["one watcher", "both watchers", "all guards"])
def test_it_is_adopted_whoever_dies(pair: LivePair, who: str):
    named_daemon(pair)
    begin(pair)
    before = wait_handed_over(pair)
    if who == "all guards":
        kill_guards(pair)
        begin(pair)
    else:
        kill_watchers(pair, *WATCHER_ROLES[: 1 + (who == "both watchers")])
    pair.wait_beats()
    assert pair.worker("d").identity == before.identity and is_alive(before.identity)
    pair.kill(before.identity)
    wait_handed_over(pair, 2)
    assert only_one_each(pair, 2)


def only_one_each(pair: LivePair, count: int) -> bool:
    return len(pair.births("d")) == count and not list(pair.directory.glob("*.double"))


@pytest.mark.parametrize("roles", [(Role.A,), WATCHER_ROLES], ids=["a", "both"])
def test_watchers_that_die_while_it_hands_over(pair: LivePair, roles: tuple[Role, ...]):
    """The leader waits at a lever; when it ends, whoever guards then finds the daemon in the PID file."""
    lever = Lever(pair.directory / "lever")
    script = f'"$@"; cat {lever.path}'
    command = program("daemon_worker.py", pair.lock_of("d"), pair.births_of("d"), pair.directory / "pid")
    pair.configure(
        entry(
            "d", ["sh", "-c", script, "sh", *command], pid_file=str(pair.directory / "pid"), restart=TIRELESS
        )
    )
    begin(pair)
    lever.hold()
    wait_guarded(pair)
    lever.release()
    pair.kill(*(pair.role(role).identity for role in roles))
    slot = wait_handed_over(pair)
    assert slot.generation == 1
    assert only_one_each(pair, 1)


@pytest.mark.parametrize("named", ["before its leader ends", "when its leader is gone"])
def test_one_in_its_group_is_not_ended_with_it(pair: LivePair, named: str):
    """Also a program that has not left its leader's group may be named, and has a moment for it."""
    said = pair.directory / "pid"
    script = f"sleep 100000 & echo $! >{said}; exit 0"
    if "gone" in named:
        waits = f'until [ ! -d /proc/$0 ]; do :; done; sleep 0.2; echo $$ >"{said}"; exec sleep 100000'
        script = f"sh -c '{waits}' $$ & exit 0"
    pair.configure(entry("d", ["sh", "-c", script], pid_file=str(said)))
    begin(pair)
    until(lambda: said.exists() and said.read_text().strip() == str(pair.worker("d").identity.pid))
    slot = wait_phase(pair, "d", Phase.RUNNING)
    assert slot.generation == 1 and is_alive(slot.identity)
    pair.down()
    assert not is_alive(slot.identity)


@pytest.mark.parametrize("named", ["nobody", "a stranger", "no number"])
def test_a_pid_file_proves_nothing(pair: LivePair, named: str):
    """Only who holds the token is believed; else what was left has escaped, as without a PID file."""
    said = pair.directory / "other"
    said.write_text({"nobody": "", "a stranger": f"{os.getpid()}\n", "no number": "-1\n"}[named])
    named_daemon(pair, restart={"policy": "never"})
    text = pair.config.read_text().replace(f'"pid_file": "{pair.directory}/pid"', f'"pid_file": "{said}"')
    pair.config.write_text(text)
    begin(pair)
    slot = wait_phase(pair, "d", Phase.FATAL)
    assert slot.exit.kind is ExitKind.ESCAPED
    assert slot.identity.pid != os.getpid()


def test_each_instance_has_its_own(pair: LivePair):
    script = 'setsid sleep 100000 & echo $! >"$0"; exit 0'
    path = f"{pair.directory}/pid-{{instance}}"
    pair.configure(entry("d", ["sh", "-c", script, path], instances=2, pid_file=path))
    begin(pair)

    def are_named() -> bool:
        slots = [pair.worker("d"), pair.worker("d:1")]
        files = [pair.directory / f"pid-{instance}" for instance in range(2)]
        return [str(slot.identity.pid) for slot in slots] == [
            f.read_text().strip() for f in files if f.exists()
        ]

    until(are_named, "each slot names its own")
    pair.call("stop", "-p", pair.name, "d")


def test_nginx_that_daemonises(pair: LivePair):
    nginx, port, room = program_of("nginx"), free_port(), pair.directory / "nginx"
    room.mkdir()
    room.chmod(0o755)
    temporary = "".join(
        f"  {kind}_temp_path {room}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (room / "nginx.conf").write_text(
        f"daemon on;\nworker_processes 2;\npid {room}/pid;\nerror_log {room}/error.log;\n"
        f"events {{ worker_connections 32; }}\n"
        f"http {{\n  access_log off;\n{temporary}"
        f'  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello"; }} }}\n}}\n'
    )
    command = [nginx, "-p", str(room), "-c", str(room / "nginx.conf")]
    pair.configure(entry("nginx", command, pid_file=f"{room}/pid", restart=PATIENT))
    begin(pair)

    def serves() -> bool:
        return ask(port, b"GET / HTTP/1.0\r\n\r\n").endswith(b"hello")

    def is_named() -> bool:
        return serves() and (room / "pid").read_text().strip() == str(pair.worker("nginx").identity.pid)

    for generation in (1, 2):
        until(is_named, "the slot names the master, and it serves")
        slot = wait_phase(pair, "nginx", Phase.RUNNING, generation=generation)
        until(lambda pid=slot.identity.pid: len(children_of(pid)) == 2, "it has its workers")
        pair.kill(slot.identity)
        wait_phase(pair, "nginx", Phase.RUNNING, generation=generation + 1)
    until(is_named, "it serves again")
    assert pair.worker("nginx").generation == 3
    pair.call("stop", "-p", pair.name, "nginx")
    assert not serves()
