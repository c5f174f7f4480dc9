"""The anchor with a test for its init: what it revives, what it leaves alone, what it is told."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from anchor_kit import Init, anchor_slot, is_gone, wait_anchored
from live_pair import LivePair, until

from twinwatch.core.values import WATCHER_ROLES, Desired, ExitKind, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.identity import is_alive, is_dead, open_process

WORKERS = ("w0", "w1")


@pytest.fixture
def init(pair: LivePair) -> Iterator[Init]:
    pair.configure("".join(pair.lone(name) for name in WORKERS))
    with Init(pair) as init:
        yield init
        pair.end()


def born_by_anchor(pair: LivePair) -> bool:
    return any(pair.role(role).owner is Role.ANCHOR for role in WATCHER_ROLES)


# ---------------------------------------------------------------- what it revives


@pytest.mark.smoke
def test_it_starts_the_pair(pair, init):
    init.start()
    wait_anchored(pair, init)
    pair.wait_at_work(*WORKERS)
    assert pair.generations() == {"a": 1, "b": 1, "w0": 1, "w1": 1}
    assert born_by_anchor(pair)
    told = pair.status()["anchor"]
    assert (told["pid"], told["alive"], told["born_by"]) == (init.anchor.pid, True, "init")


def test_both_watchers_and_all_reserves_at_once(pair, init):
    """No one of the pair is left: only the anchor can do it."""
    init.start()
    wait_anchored(pair, init)
    for _ in range(10):
        before = pair.generations()
        guards = [identity for identity in pair.guards() if identity.pid != init.anchor.pid]
        for identity in guards:
            process.end(identity, signal.SIGSTOP)  # so that none revives another meanwhile
        pair.kill(*guards)
        pair.wait_whole({role.label: before[role.label] + 1 for role in WATCHER_ROLES})
        assert {name: pair.generations()[name] for name in WORKERS} == {
            name: before[name] for name in WORKERS
        }
    pair.assert_never_double()


def test_everything_but_the_workers_and_then_a_new_anchor(pair, init):
    init.start()
    wait_anchored(pair, init)
    workers = pair.workers()
    pair.extinguish()
    init.anchor.wait()
    init.start()
    wait_anchored(pair, init)
    assert {name: slot.identity for name, slot in pair.workers().items()} == {
        name: slot.identity for name, slot in workers.items()
    }
    assert anchor_slot(pair).generation == 2
    lost = [event for event in pair.events() if event["event"] == "anchor-lost"]
    assert [(event["generation"], event["by"]) for event in lost] == [(1, "anchor.2")], "nobody else was left"


def test_a_worker_that_ended_meanwhile_is_started_once(pair, init):
    init.start()
    wait_anchored(pair, init)
    pair.extinguish()
    init.anchor.wait()
    pair.kill(pair.worker("w0").identity)
    init.start()
    wait_anchored(pair, init)
    assert {name: pair.generations()[name] for name in WORKERS} == {"w0": 2, "w1": 1}


def test_watchers_and_reserves_that_are_all_stopped(pair, init):
    """Nobody of the pair can judge: the anchor ends the watchers, and gives birth to new ones."""
    init.start()
    wait_anchored(pair, init)
    before = pair.generations()
    for identity in pair.guards():
        if identity.pid != init.anchor.pid:
            process.end(identity, signal.SIGSTOP)
    pair.wait_whole({role.label: before[role.label] + 1 for role in WATCHER_ROLES})
    hung = [
        e for e in pair.events() if e["by"].startswith("anchor") and "stood still" in str(e.get("reason"))
    ]
    assert {event["slot"] for event in hung} == {"a", "b"}
    assert {name: pair.generations()[name] for name in WORKERS} == {"w0": 1, "w1": 1}


def test_a_pair_that_lives_is_adopted(pair, init):
    pair.up()
    before = {role: pair.role(role).identity for role in WATCHER_ROLES}
    init.start()
    wait_anchored(pair, init)
    assert {role: pair.role(role).identity for role in WATCHER_ROLES} == before


def test_a_lost_runtime_directory(pair, init):
    """One pair, not two, and the anchor is its anchor still."""
    init.start()
    wait_anchored(pair, init)
    before = pair.generations()
    pair.forget_state()
    for path in pair.runtime.iterdir():
        path.unlink()
    pair.runtime.rmdir()
    until((pair.runtime / "state").exists, "it is rebuilt")
    wait_anchored(pair, init)
    assert pair.generations() == before
    sequence = pair.state.heartbeat(Role.ANCHOR).sequence
    until(lambda: pair.state.heartbeat(Role.ANCHOR).sequence > sequence, "the anchor beats in the new file")


# ---------------------------------------------------------------- its own death


def test_its_death_changes_nothing_and_is_told_once(pair, init):
    init.start()
    wait_anchored(pair, init)
    before = pair.generations()
    for number in range(1, 4):
        init.anchor.kill()
        init.anchor.wait()
        told = [e for e in pair.events() if e["event"] == "anchor-lost"]
        until(
            lambda n=number: len([e for e in pair.events() if e["event"] == "anchor-lost"]) == n, "it is told"
        )
        pair.wait_beats()
        assert pair.status()["anchor"]["alive"] is False
        init.start()
        wait_anchored(pair, init)
        told = [e for e in pair.events() if e["event"] == "anchor-lost"]
        assert [event["generation"] for event in told] == list(range(1, number + 1))
    assert pair.generations() == before


def test_there_is_one_at_most(pair, init):
    init.start()
    wait_anchored(pair, init)
    first = init.anchor
    second = init.start()
    assert second.wait() == 1
    assert f"another anchor of pair shop lives (PID {first.pid})" in init.words()
    assert first.poll() is None


def test_a_stopped_one_is_no_watcher_s_business(pair, init):
    """It holds nothing that anybody needs."""
    init.start()
    wait_anchored(pair, init)
    init.tell(signal.SIGSTOP)
    before = pair.generations()
    pair.kill(pair.role(Role.A).identity)
    pair.wait_whole({"a": before["a"] + 1})
    pair.call("restart", "-p", pair.name, "w0")
    assert pair.worker("w0").generation == 2
    init.tell(signal.SIGCONT)
    sequence = pair.state.heartbeat(Role.ANCHOR).sequence
    until(lambda: pair.state.heartbeat(Role.ANCHOR).sequence > sequence, "it beats")


# ---------------------------------------------------------------- what init tells it


def test_told_to_end_it_ends_all_for_now(pair, init):
    init.start()
    wait_anchored(pair, init)
    workers = pair.workers()
    assert init.end() == 0
    assert is_gone(pair) and not pair.guards()
    assert not [slot for slot in workers.values() if is_alive(slot.identity)]
    init.listen()
    assert "STOPPING=1" in init.said
    assert [line for line in init.said if line.startswith("EXTEND_TIMEOUT_USEC=")]
    init.start()  # it was for now: the next start is a start
    wait_anchored(pair, init)
    assert pair.generations() == {"a": 2, "b": 2, "w0": 2, "w1": 2}


def test_told_to_end_before_it_is_there(pair, init):
    """A signal in the first moments of an anchor ends the pair that it was started for."""
    pair.up()
    workers = pair.workers()
    anchor = init.start()
    until(lambda: "anchor/boot.py" in Path(f"/proc/{anchor.pid}/cmdline").read_text(), "it was executed")
    assert init.end() == 0
    assert is_gone(pair)
    assert not [slot for slot in workers.values() if is_alive(slot.identity)]


def test_what_does_not_end_in_time_is_killed(pair, init):
    pair.configure(pair.lone("w0", "deaf", extra="    stop: {timeout: 10m}\n") + pair.lone("w1"))
    with pair.config.open("a") as file:
        file.write("anchor: {stop_timeout: 1s}\n")
    init.start()
    wait_anchored(pair, init)
    pair.wait_at_work("w0")
    stubborn = pair.worker("w0").identity
    assert init.end() == 0
    assert not is_alive(stubborn) and not pair.guards()
    assert "it has not ended in time: KILL" in init.words()


def test_told_twice_it_does_not_wait(pair, init):
    pair.configure(pair.lone("w0", "deaf", extra="    stop: {timeout: 10m}\n"))
    init.start()
    wait_anchored(pair, init)
    pair.wait_at_work("w0")
    init.tell(signal.SIGTERM)
    until(lambda: pair.worker("w0").phase is Phase.STOPPING, "the worker was told")
    assert init.end() == 0
    assert "told to end once more: KILL" in init.words()
    assert not pair.guards()


def test_killed_while_it_ends_the_pair(pair, init):
    """Its successor ends it, and starts it anew: it was to end for now."""
    pair.configure(pair.lone("w0", "deaf", extra="    stop: {timeout: 2s}\n"))
    init.start()
    wait_anchored(pair, init)
    pair.wait_at_work("w0")
    init.tell(signal.SIGTERM)
    until(lambda: pair.worker("w0").phase is Phase.STOPPING, "the worker was told")
    pair.forget_state()
    init.anchor.kill()
    init.anchor.wait()
    init.start()
    until(
        lambda: init.anchor.poll() is not None or "anchor." in init.words().rpartition("ending the pair")[2]
    )
    wait_anchored(pair, init)
    assert pair.worker("w0").generation == 2
    pair.assert_never_double()


def test_told_to_leave_it_leaves_alone(pair, init):
    init.start()
    wait_anchored(pair, init)
    before = {role: pair.role(role).identity for role in WATCHER_ROLES}
    init.tell(signal.SIGQUIT)
    assert init.anchor.wait() == 0
    pair.wait_beats()
    assert {role: pair.role(role).identity for role in WATCHER_ROLES} == before
    assert anchor_slot(pair).phase is Phase.STOPPED
    assert not [event for event in pair.events() if event["event"] == "anchor-lost"]


def test_told_to_reload(pair, init):
    init.start()
    wait_anchored(pair, init)
    kept = pair.worker("w0").identity
    pair.configure("".join(pair.lone(name) for name in ("w0", "w2")))
    init.wait_said("READY=1")
    init.tell(signal.SIGHUP)
    init.hear("READY=1")
    assert "RELOADING=1" in init.said
    assert set(pair.workers()) == {"w0", "w2"} and pair.worker("w0").identity == kept
    until(lambda: anchor_slot(pair).config_generation == 2, "the anchor has taken it over as well")


def test_a_reload_that_is_refused_changes_nothing(pair, init):
    init.start()
    wait_anchored(pair, init)
    init.wait_said("READY=1")
    pair.config.write_text("pair: shop\nworkers: {w0: {comand: [sleep]}}\n")
    init.tell(signal.SIGHUP)
    init.hear("READY=1")
    assert "unknown key 'comand'" in init.words()
    pair.wait_beats()
    assert pair.generations() == {"a": 1, "b": 1, "w0": 1, "w1": 1}


# ---------------------------------------------------------------- `down` and `up` of a person


def test_down_by_a_person_is_kept(pair, init):
    init.start()
    wait_anchored(pair, init)
    pair.down()
    assert is_gone(pair) and [identity.pid for identity in pair.guards()] == [init.anchor.pid]
    assert pair.status()["anchor"] == pair.status()["anchor"] | {"pid": init.anchor.pid, "phase": "idle"}
    init.hear("STATUS=down") if "STATUS=down" not in init.said + init.listen() else None
    init.anchor.kill()
    init.anchor.wait()
    init.start()
    until(lambda: pair.status()["anchor"], "the next anchor lives")
    init.hear("READY=1") if "READY=1" not in init.listen() else None
    assert is_gone(pair) and [identity.pid for identity in pair.guards()] == [init.anchor.pid]
    pair.up()
    wait_anchored(pair, init)
    assert born_by_anchor(pair), "what `up` starts is the anchor's, not the caller's"
    assert init.end() == 0


def test_up_with_an_anchor_that_stands_still(pair, init):
    """It is not waited for in vain."""
    init.start()
    wait_anchored(pair, init)
    pair.down()
    init.tell(signal.SIGSTOP)
    pair.up()
    assert not born_by_anchor(pair)
    init.tell(signal.SIGCONT)
    wait_anchored(pair, init)


def test_an_idle_one_ends_at_once(pair, init):
    init.start()
    wait_anchored(pair, init)
    pair.down()
    assert init.end() == 0


# ---------------------------------------------------------------- what it tells init


def test_ready_when_all_is_where_it_should_be(pair, init):
    held = pair.directory / "held"
    ready = f"    ready: {{exec: [test, -e, {held}], timeout: 10m}}\n"
    pair.configure(pair.lone("w0", extra=ready) + pair.lone("w1"))
    init.start()
    until(lambda: "STATUS=waiting for w0" in init.said + init.listen(), "it says what it waits for")
    assert "READY=1" not in init.said
    held.touch()
    init.wait_said("READY=1")
    init.wait_said("STATUS=up")


def test_ready_on_a_descriptor(pair, init):
    read, write = os.pipe()
    try:
        init.start("--ready-fd", str(write), pass_fds=(write,))
        os.close(write)
        assert os.read(read, 16) == b"\n"
        assert os.read(read, 16) == b"", "it is closed, in the anchor and in all that it has forked"
    finally:
        os.close(read)


def test_nothing_of_init_reaches_the_workers(pair, init):
    init.start(WATCHDOG_USEC="30000000", LISTEN_FDS="1", INVOCATION_ID="x")
    wait_anchored(pair, init)
    for slot in pair.workers().values():
        names = {
            part.partition(b"=")[0]
            for part in Path(f"/proc/{slot.identity.pid}/environ").read_bytes().split(b"\0")
        }
        assert not names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"LISTEN_FDS", b"INVOCATION_ID"}


def test_watchers_are_like_those_of_up(pair, init):
    """Nothing of the anchor's: its output, its directory, its session."""
    init.start()
    wait_anchored(pair, init)
    for role in WATCHER_ROLES:
        pid = pair.role(role).identity.pid
        assert os.readlink(f"/proc/{pid}/fd/2") == str(pair.kept / "watchers.log")
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1)} == {os.devnull}
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert os.getsid(pid) == pid
        handled = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:\t")[2].split()[0]
        assert not int(handled, 16) & (1 << signal.SIGTERM - 1), "TERM ends it"


# ---------------------------------------------------------------- a watchdog device


@pytest.fixture
def device(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A FIFO stands in for the device: what is fed can be read."""
    path = tmp_path / "watchdog"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, fd
    os.close(fd)


def fed(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""


def test_a_device_is_fed_and_disarmed(pair, init, device):
    path, fd = device
    init.start("--watchdog-device", str(path))
    wait_anchored(pair, init)
    until(lambda: fed(fd).count(b"\0") > 0, "it is fed")
    assert init.end() == 0
    assert fed(fd).endswith(b"V"), "the magic close"


def test_a_killed_anchor_leaves_it_armed(pair, init, device):
    path, fd = device
    init.start("--watchdog-device", str(path))
    wait_anchored(pair, init)
    until(lambda: fed(fd), "it is fed")
    init.anchor.kill()
    init.anchor.wait()
    assert b"V" not in fed(fd)
    init.start("--watchdog-device", str(path))
    wait_anchored(pair, init)
    until(lambda: fed(fd), "its successor goes on")
    assert pair.state.header().desired is Desired.RUN


def test_a_device_that_is_not_there_is_refused(pair, init):
    assert init.start("--watchdog-device", str(pair.directory / "none")).wait() == 1
    assert "no watchdog device" in init.words()
    assert not (pair.runtime / "state").exists()


# ---------------------------------------------------------------- orphans


def test_orphans_are_collected(pair, init):
    """A watcher's children come to the anchor when it dies; none of them stays a zombie."""
    init.start()
    wait_anchored(pair, init)
    worker = open_process(pair.worker("w0").identity)
    before = pair.generations()
    pair.kill(*(pair.role(role).identity for role in WATCHER_ROLES))
    pair.wait_whole({role.label: before[role.label] + 1 for role in WATCHER_ROLES})
    process.send(worker, signal.SIGKILL)
    until(lambda: is_dead(worker))
    os.close(worker)
    pair.wait_whole({"w0": 2})
    end = next(e["exit"] for e in pair.events() if e.get("slot") == "w0" and e.get("exit"))
    assert end["kind"] == ExitKind.SIGNAL.name.lower() and end["signal"] == signal.SIGKILL

    def zombies() -> list[str]:
        children = Path(f"/proc/{init.anchor.pid}/task/{init.anchor.pid}/children").read_text().split()
        return [
            pid
            for pid in children
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        ]

    until(lambda: not zombies(), "no zombie is left")


# ---------------------------------------------------------------- WATCHDOG


V1_FREEZER = Path("/sys/fs/cgroup/freezer")  # one in which KILL waits for the thaw


@pytest.fixture
def freezer() -> Iterator[Path]:
    if not os.access(V1_FREEZER / "cgroup.procs", os.W_OK):
        pytest.skip("kernel lacks a cgroup v1 freezer that may be written here")
    home = V1_FREEZER / f"twinwatch-test-{os.getpid()}"
    home.mkdir()
    yield home
    (home / "freezer.state").write_text("THAWED")
    for pid in (home / "cgroup.procs").read_text().split():
        (V1_FREEZER / "cgroup.procs").write_text(pid)
    home.rmdir()


def wait_anchor_beats(pair: LivePair, count: int) -> None:
    sequence = pair.state.heartbeat(Role.ANCHOR).sequence
    until(
        lambda: pair.state.heartbeat(Role.ANCHOR).sequence >= sequence + count, f"{count} beats of the anchor"
    )


def test_init_is_fed_only_while_both_twins_beat(pair, init, freezer, device):
    """One of them cannot even die: so init is told no more that all is well, nor is a device fed."""
    path, fd = device
    init.start("--watchdog-device", str(path), WATCHDOG_USEC="30000000")
    wait_anchored(pair, init)
    init.hear("WATCHDOG=1")
    until(lambda: fed(fd), "the device is fed")
    frozen = pair.role(Role.B)
    (freezer / "cgroup.procs").write_text(str(frozen.identity.pid))
    (freezer / "freezer.state").write_text("FROZEN")
    until(lambda: pair.role(Role.B).phase is Phase.STOPPING, "its twin has convicted it")
    wait_anchor_beats(pair, 20)  # the anchor has seen that for itself
    init.listen(), fed(fd)
    wait_anchor_beats(pair, 5)
    assert "WATCHDOG=1" not in init.listen() and not fed(fd)
    assert pair.role(Role.B).generation == frozen.generation, "its role stays its own until it is dead"
    (freezer / "freezer.state").write_text("THAWED")
    init.hear("WATCHDOG=1")
    until(lambda: fed(fd), "the device is fed again")
    assert pair.role(Role.B).generation == frozen.generation + 1
