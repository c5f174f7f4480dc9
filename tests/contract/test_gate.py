"""A gated child on the real kernel: what it has open, what it hears, what it waits for."""

import os
import resource
import select
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from scene import rest, taken_out, until

from twinwatch.core.values import Desired, Role, Stage
from twinwatch.linux import gate, process
from twinwatch.linux.gate import Let, Order
from twinwatch.linux.identity import is_alive
from twinwatch.watch.reserve import LEFT_AT_GATE


def is_behind_gate(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == gate.COMM_RESERVE


def settled(child: gate.Child) -> gate.Child:
    """Its first acts are done: the last of them clears the mask."""
    until(
        lambda: is_behind_gate(child.pid) and status_mask(child.pid, "SigBlk") == 0, "it is behind its gate"
    )
    return child


def status_mask(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0], 16)


def descriptors(pid: int) -> list[str]:
    """What is open, by kind: the pipes as read or write end."""
    found = []
    for name in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
        if int(name) <= 2:
            found.append(name)
            continue
        try:
            link = os.readlink(f"/proc/{pid}/fd/{name}").partition(":")[0].replace("anon_inode", "pidfd")
            info = Path(f"/proc/{pid}/fdinfo/{name}").read_text()
        except FileNotFoundError:
            return ["changing"]
        mode = int(info.partition("flags:")[2].split()[0], 8) & 3
        found.append(f"{link} {'rw'[mode]}" if link == "pipe" else link)
    return found


FIXED = ["0", "1", "2", "pidfd", "pipe r", "pipe w"]


def test_what_a_gated_child_has_open(scene):
    child = settled(scene.gated())
    until(lambda: sorted(descriptors(child.pid)) == FIXED, "its rehearsal is over, and all of it is closed")


def test_also_when_its_parent_has_much_open(scene):
    opened = [fd for _ in range(100) for fd in os.pipe()]
    low = os.dup(opened[0])
    high = [os.dup2(opened[0], 900), os.dup2(opened[0], 1001)]
    epoll = select.epoll()
    for fd in (opened[0], opened[20], opened[60]):
        os.set_inheritable(fd, True)
    try:
        child = settled(scene.gated())
        until(lambda: sorted(descriptors(child.pid)) == FIXED, "nothing else is open")
    finally:
        epoll.close()
        for fd in (*opened, low, *high):
            os.close(fd)


def test_the_parents_pidfd_is_of_the_parent(scene):
    child = settled(scene.gated())

    def watches_parent() -> bool:
        infos = Path(f"/proc/{child.pid}/fdinfo")
        with suppress(FileNotFoundError):  # what it opens and closes meanwhile
            return any(f"Pid:\t{os.getpid()}\n" in info.read_text() for info in infos.iterdir())
        return False

    until(watches_parent, "it has a pidfd of its parent")


def test_signal_dispositions(scene):
    """Nothing caught, nothing blocked, ignored what would only disturb; a session of its own."""
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        child = settled(scene.gated())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR2, before)
    ignored = status_mask(child.pid, "SigIgn")
    for number in gate.IGNORED_SIGNALS:
        assert ignored & 1 << number - 1
    assert status_mask(child.pid, "SigBlk") == 0
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    process.send(child.pidfd, signal.SIGUSR1)
    process.send(child.pidfd, signal.SIGHUP)
    assert not process.wait_dead(child.pidfd, 20)
    process.send(child.pidfd, signal.SIGTERM)
    assert process.wait_dead(child.pidfd, 30_000)


def test_the_parents_own_signals_are_as_before(scene):
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler = signal.getsignal(signal.SIGUSR1)
    scene.gated()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert signal.getsignal(signal.SIGUSR1) == handler


def exit_of(child: gate.Child) -> int | None:
    assert process.wait_dead(child.pidfd, 30_000)
    return process.child_status(child.pidfd, reap=False)


def test_it_leaves_when_it_is_told_to(scene):
    child = scene.gated()
    assert child.let_through(Order(Let.LEAVE))
    assert exit_of(child) == LEFT_AT_GATE << 8


def test_it_leaves_at_the_end_of_the_pipe_with_a_living_parent(scene):
    child = settled(scene.gated())
    os.close(child.gate)
    child.gate = -1
    assert exit_of(child) == LEFT_AT_GATE << 8
    assert scene.slot(Role.A.slot).generation == 0


def test_a_dead_child_is_told_so(scene):
    child = settled(scene.gated())
    process.send(child.pidfd, signal.SIGKILL)
    assert process.wait_dead(child.pidfd, 30_000)
    assert not child.let_through(Order(Let.LEAVE))


def test_at_the_end_of_the_pipe_it_waits_for_the_parents_pidfd(scene):
    """Its parent closes the gate first and dies later: that death, not the pipe, makes it take over."""

    def die_slowly(say):
        child = scene.gated(Role.A)
        os.close(child.gate)
        child.gate = -1
        say(child.pid)
        rest()

    parent = scene.hold(Role.A, die_slowly)
    child = os.pidfd_open(int(parent.hear()))
    assert scene.slot(Role.A.slot).generation == 1
    parent.kill()
    until(lambda: scene.slot(Role.A.slot).generation == 2, "it has taken over")
    assert not process.wait_dead(child, 0)
    os.close(child)


def test_an_opened_gate_wins_over_a_dead_parent(scene):
    """The order is in the pipe, and the parent is dead before the child can read it."""

    def open_and_die(say):
        child = scene.gated(Role.A)
        until(lambda: is_behind_gate(child.pid), "it is behind its gate")
        process.send(child.pidfd, signal.SIGSTOP)
        scene.bear(child)
        say(child.pid)
        rest()

    parent = scene.hold(Role.A, open_and_die)
    pid = int(parent.hear())
    parent.kill()
    process.end(scene.slot().identity, signal.SIGCONT)
    until(scene.births, "the worker runs")
    assert scene.births() == [pid]
    assert scene.slot(Role.A.slot).generation == 1


def test_a_reserve_whose_parents_pair_is_to_be_down_leaves(scene):
    def fork(say):
        say(scene.gated(Role.A).pid)
        rest()

    parent = scene.hold(Role.A, fork)
    child = os.pidfd_open(int(parent.hear()))
    scene.record_header(desired=Desired.STOP)
    parent.kill()
    assert process.wait_dead(child, 30_000)
    assert scene.slot(Role.A.slot).generation == 1
    os.close(child)


def test_the_report_of_a_failed_start(scene):
    scene.spec = scene.make_spec("", command=("/no/such/program",))
    child = scene.gated()
    scene.bear(child)
    assert exit_of(child) == 127 << 8
    assert child.read_report() == (Stage.EXEC, 2)


def test_the_report_of_a_start_is_the_end_of_the_pipe(scene):
    child = scene.gated()
    with pytest.raises(BlockingIOError):
        child.read_report()
    scene.bear(child)
    until(scene.births, "it runs")
    assert child.read_report() is None
    assert is_alive(child.identity)


def test_a_report_that_nobody_reads_harms_nobody(scene):
    scene.spec = scene.make_spec("", command=("/no/such/program",))
    child = scene.gated()
    os.close(child.report)
    child.report = -1
    scene.bear(child)
    assert exit_of(child) == 127 << 8


@pytest.mark.parametrize("free", range(4))
def test_without_descriptors_nothing_is_left(scene, free):
    """EMFILE for each of the four ends: no child, no descriptor, the mask as before."""
    own = os.pidfd_open(os.getpid())
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    filler = []
    try:
        with suppress(OSError):  # any errno: EMFILE, the table is full
            while True:
                filler.append(os.dup(own))
        for _ in range(free):
            os.close(filler.pop())
        with pytest.raises(OSError, match="cannot fork"):
            gate.fork_gated(own)
        filler += [os.dup(own) for _ in range(free)]  # as many as before are free
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in (*filler, own):
            os.close(fd)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


def test_a_child_whose_first_acts_fail_does_not_go_on_as_its_parent(scene):
    def fail(_name):
        raise OSError(23, "too many open files in system")

    with taken_out(gate, "set_comm", fail):
        child = scene.gated()
    assert exit_of(child) == 1 << 8


def test_close_all_but_keeps_exactly_what_it_is_told(scene):
    def look(_say):
        fds = [os.dup(2) for _ in range(5)]
        gate.close_all_but({2, fds[1], fds[3]})
        folder = os.open("/proc/self/fd", os.O_RDONLY)
        assert {int(fd) for fd in os.listdir(folder)} - {folder} <= {2, fds[1], fds[3], *range(2)}
        assert {int(fd) for fd in os.listdir(folder)} >= {2, fds[1], fds[3]}

    assert scene.act(look).status() == 0
