"""The virtual kernel keeps what the real one does: each case is one body, played on both.

On the real kernel a part is played by a forked process; on the virtual one by a greenlet, by several seeds.
"""

import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from scene import act, adopting_orphans, rest, until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "simulation"))

from virtual.machine import virtual_machine

from twinwatch.linux import identity, process
from twinwatch.linux import token as token_lock
from twinwatch.linux.lock import holder_of

SEEDS = 5
CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
CASES = []


def case(body):
    CASES.append(body)
    return body


class RealMachine:
    """The real modules, and processes that are ended with the test."""

    os, fcntl, select, signal, socket, open = os, fcntl, select, signal, socket, staticmethod(open)
    rest = staticmethod(rest)
    until = staticmethod(until)

    def __init__(self, room: Path) -> None:
        self.room = str(room)
        self._actors: list = []

    def act(self, part):
        self._actors.append(act(part))
        actor = self._actors[-1]
        return SimpleNamespace(pid=actor.pid, pidfd=actor.pidfd, hear=actor.hear)

    def full_file(self) -> str:
        return "/dev/full"

    def close(self, kept: set[int]) -> None:
        """End who plays, and let go of all that a case has opened."""
        for actor in self._actors:
            process.send(actor.pidfd, signal.SIGKILL)
        for fd in descriptors() - kept:
            os.close(fd)


def descriptors() -> set[int]:
    listed = os.listdir("/proc/self/fd")
    return {int(name) for name in listed if os.path.exists(f"/proc/self/fd/{name}")}


@pytest.fixture(params=["real", *(f"virtual {seed}" for seed in range(SEEDS))])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator:
    if request.param != "real":
        with virtual_machine(int(request.param.split()[1])) as played:
            yield played
        return
    with adopting_orphans():
        machine = RealMachine(tmp_path)
        before = descriptors()
        yield lambda body: body(machine)
        machine.close(before)


def state_of(m, pid: int) -> str:
    with m.open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        return file.read().rpartition(b")")[2].split()[0].decode()


def field_of(m, pid: int, number: int) -> int:
    """Field `number` of /proc/PID/stat, counted as in proc(5)."""
    with m.open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        return int(file.read().rpartition(b")")[2].split()[number - 3])


def is_readable(m, fd: int, timeout_ms: int | None = 0) -> bool:
    poll = m.select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_ms))


def kill(m, actor) -> None:
    m.signal.pidfd_send_signal(actor.pidfd, signal.SIGKILL)
    assert is_readable(m, actor.pidfd, None)


def lock_in(m, path: str):
    """A part that holds a record lock on byte 0, and says so."""

    def part(say) -> None:
        fd = m.os.open(path, CREATE)
        m.fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        say("locked")
        m.rest()

    return part


def is_lockable(m, fd: int) -> bool:
    try:
        m.fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
    except (BlockingIOError, PermissionError):
        return False
    return True


# ---------------------------------------------------------------- locks


@case
def a_record_lock_stands_against_others_until_its_holders_death(m):
    path = f"{m.room}/lock"
    holder = m.act(lock_in(m, path))
    assert holder.hear() == "locked"
    fd = m.os.open(path, CREATE)
    assert not is_lockable(m, fd)
    assert holder_of(fd, 0, 1) == holder.pid
    kill(m, holder)
    m.until(lambda: is_lockable(m, fd))


@case
def any_close_of_the_file_drops_a_record_lock(m):
    path = f"{m.room}/lock"

    def part(say) -> None:
        fd, other = m.os.open(path, CREATE), m.os.open(path, CREATE)
        m.fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        say("locked")
        m.os.close(other)
        say("closed")
        m.rest()

    holder = m.act(part)
    assert [holder.hear(), holder.hear()] == ["locked", "closed"]
    assert is_lockable(m, m.os.open(path, CREATE))


@case
def a_fork_does_not_inherit_a_record_lock(m):
    fd = m.os.open(f"{m.room}/lock", CREATE)
    assert is_lockable(m, fd)
    child = m.act(lambda say: say(is_lockable(m, fd)))
    assert child.hear() == "False"
    assert is_lockable(m, fd)  # the child has closed it by now, and that dropped nothing of this process's


@case
def record_locks_are_of_bytes(m):
    path = f"{m.room}/lock"
    holder = m.act(lock_in(m, path))
    assert holder.hear() == "locked"
    fd = m.os.open(path, CREATE)
    m.fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 << 62)
    m.fcntl.lockf(fd, fcntl.LOCK_UN, 1, 1 << 62)
    with pytest.raises(BlockingIOError):
        m.fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)


@case
def shared_record_locks_stand_together(m):
    path = f"{m.room}/lock"

    def part(say) -> None:
        m.fcntl.lockf(m.os.open(path, CREATE), fcntl.LOCK_SH | fcntl.LOCK_NB)
        say("shared")
        m.rest()

    assert [m.act(part).hear() for _ in range(2)] == ["shared"] * 2
    assert not is_lockable(m, m.os.open(path, CREATE))


@case
def a_lock_of_an_open_file_belongs_to_what_a_fork_shares(m):
    path = f"{m.room}/token"
    fd = m.os.open(path, CREATE)
    m.fcntl.fcntl(fd, fcntl.F_OFD_SETLK, WHOLE_FILE)

    def part(say) -> None:
        say("there")
        m.rest()

    child = m.act(part)
    assert child.hear() == "there"
    m.os.close(fd)
    assert token_lock.is_held(path)
    kill(m, child)
    m.until(lambda: not token_lock.is_held(path))


# ---------------------------------------------------------------- death


@case
def a_pidfd_is_readable_at_death_and_not_before(m):
    child = m.act(lambda _say: m.rest())
    assert not is_readable(m, child.pidfd)
    kill(m, child)
    assert is_readable(m, child.pidfd)


@case
def a_status_is_there_until_it_is_collected(m):
    child = m.act(lambda _say: m.os._exit(7))
    assert is_readable(m, child.pidfd, None)
    for _ in range(2):
        assert process.child_status(child.pidfd, reap=False) == 7 << 8
    assert (state_of(m, child.pid), field_of(m, child.pid, 52)) == ("Z", 7 << 8)
    m.signal.pidfd_send_signal(child.pidfd, 0)  # a zombie takes signals
    assert process.child_status(child.pidfd, reap=True) == 7 << 8
    assert process.child_status(child.pidfd, reap=True) is None
    assert not process.send(child.pidfd, 0)
    with pytest.raises(FileNotFoundError):
        state_of(m, child.pid)


@case
def a_pidfd_hangs_up_when_its_process_is_collected(m):
    child = m.act(lambda _say: None)
    epoll = m.select.epoll()
    epoll.register(child.pidfd, 0)
    assert is_readable(m, child.pidfd, None)
    assert epoll.poll(0) == []
    process.reap(child.pidfd)
    assert epoll.poll(0) == [(child.pidfd, select.EPOLLHUP)]
    epoll.close()


@case
def nobody_elses_child_is_waited_for(m):
    own = m.os.pidfd_open(m.os.getpid())

    def part(say) -> None:
        say(process.child_status(own, reap=False))

    assert m.act(part).hear() == "None"


@case
def orphans_go_to_the_next_subreaper(m):
    me = m.os.getpid()

    def part(say) -> None:
        child = m.act(lambda _say: m.rest())
        say(child.pid)
        m.rest()

    parent = m.act(part)
    child = int(parent.hear())
    assert field_of(m, child, 4) == parent.pid
    kill(m, parent)
    m.until(lambda: field_of(m, child, 4) == me)
    process.send(m.os.pidfd_open(child), signal.SIGKILL)


@case
def a_stopped_process_stands_still_and_can_be_killed(m):
    child = m.act(lambda _say: m.rest())
    m.signal.pidfd_send_signal(child.pidfd, signal.SIGSTOP)
    m.until(lambda: state_of(m, child.pid) == "T")
    m.signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
    assert not is_readable(m, child.pidfd, 20)  # it is pending
    m.signal.pidfd_send_signal(child.pidfd, signal.SIGCONT)
    assert is_readable(m, child.pidfd, None)
    assert process.child_status(child.pidfd, reap=True) == signal.SIGTERM
    other = m.act(lambda _say: m.rest())
    m.signal.pidfd_send_signal(other.pidfd, signal.SIGSTOP)
    kill(m, other)


@case
def a_group_gets_a_signal_through_its_leaders_pidfd(m):
    def part(say) -> None:
        m.os.setsid()
        member = m.act(lambda _say: m.rest())
        say(member.pid)
        m.rest()

    leader = m.act(part)
    member = m.os.pidfd_open(int(leader.hear()))
    assert (field_of(m, leader.pid, 5), field_of(m, leader.pid, 6)) == (leader.pid, leader.pid)
    kill(m, leader)
    process.reap(leader.pidfd)
    assert process.send_group(leader.pidfd, signal.SIGKILL) is True  # its number is kept for its group
    assert is_readable(m, member, None)
    process.reap(member)
    assert process.send_group(leader.pidfd, signal.SIGKILL) is False


@case
def an_identity_is_of_one_process(m):
    child = m.act(lambda _say: m.rest())
    known = identity.identify(child.pid, child.pidfd)
    assert identity.is_alive(known)
    for changed in ({"start_ticks": 1, "handle": b""}, {"inode": known.inode + 1, "handle": b""}):
        other = identity.Identity(
            **{"pid": known.pid, "start_ticks": known.start_ticks, "inode": known.inode, **changed}
        )
        with pytest.raises(identity.ProcessGone):
            identity.open_process(other)
    kill(m, child)
    assert not identity.is_alive(known)
    process.reap(child.pidfd)
    with pytest.raises(identity.ProcessGone):
        identity.open_process(known)


@case
def the_status_of_somebody_elses_child_is_read(m):
    child = m.act(lambda _say: m.os._exit(5))
    known = identity.identify(child.pid, child.pidfd)
    assert is_readable(m, child.pidfd, None)
    assert process.stranger_status(child.pidfd, known) == 5 << 8
    process.reap(child.pidfd)
    assert process.stranger_status(child.pidfd, known) in (5 << 8, None)  # None: before Linux 6.15


# ---------------------------------------------------------------- signals


@case
def a_blocked_signal_waits(m):
    def part(say) -> None:
        m.signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        say("blocked")
        m.os.read(go, 1)
        m.signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        m.rest()

    go, start = m.os.pipe()
    child = m.act(part)
    assert child.hear() == "blocked"
    m.signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
    assert not is_readable(m, child.pidfd, 20)
    m.os.write(start, b"x")
    assert is_readable(m, child.pidfd, None)


@case
def a_handled_signal_is_told_to_the_wakeup_descriptor(m):
    def part(say) -> None:
        read, write = m.os.pipe()
        m.os.set_blocking(write, False)
        m.signal.set_wakeup_fd(write)
        m.signal.signal(signal.SIGUSR1, lambda *_: None)
        say("ready")
        say(m.os.read(read, 8)[0])

    child = m.act(part)
    assert child.hear() == "ready"
    m.signal.pidfd_send_signal(child.pidfd, signal.SIGUSR1)
    assert child.hear() == str(int(signal.SIGUSR1))


@case
def an_ignored_signal_does_nothing(m):
    def part(say) -> None:
        m.signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        say("ready")
        m.rest()

    child = m.act(part)
    assert child.hear() == "ready"
    m.signal.pidfd_send_signal(child.pidfd, signal.SIGUSR1)
    assert not is_readable(m, child.pidfd, 20)


# ---------------------------------------------------------------- pipes and files


@case
def a_pipe_ends_when_all_its_writers_are_gone(m):
    read, write = m.os.pipe()
    child = m.act(lambda _say: m.rest())  # it has the write end too
    m.os.close(write)
    assert not is_readable(m, read, 20)
    kill(m, child)
    m.until(lambda: is_readable(m, read))
    assert m.os.read(read, 8) == b""


@case
def a_pipe_without_a_reader_refuses(m):
    read, write = m.os.pipe()
    m.os.write(write, b"four")
    assert m.fcntl.ioctl(read, termios.FIONREAD, b"\0\0\0\0") == struct.pack("i", 4)
    m.os.close(read)
    with pytest.raises(BrokenPipeError):
        m.os.write(write, b"x")


@case
def an_empty_pipe_that_does_not_block_says_so(m):
    read, _write = m.os.pipe()
    m.os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        m.os.read(read, 8)


@case
def names_are_exclusive_and_files_outlive_them(m):
    one, two = f"{m.room}/one", f"{m.room}/two"
    fd = m.os.open(one, CREATE | os.O_EXCL, 0o600)
    with pytest.raises(FileExistsError):
        m.os.open(one, CREATE | os.O_EXCL, 0o600)
    m.os.link(one, two)
    assert m.os.fstat(fd).st_nlink == 2
    with pytest.raises(FileExistsError):
        m.os.link(one, two)
    m.os.close(m.os.open(one + ".new", CREATE, 0o600))
    m.os.rename(one + ".new", one)
    assert m.os.stat(one).st_ino != m.os.fstat(fd).st_ino
    m.os.unlink(two)
    m.os.pwrite(fd, b"still here", 0)
    assert (m.os.pread(fd, 99, 6), m.os.fstat(fd).st_nlink) == (b"here", 0)


@case
def reading_beyond_the_end_gives_less(m):
    fd = m.os.open(f"{m.room}/file", CREATE, 0o600)
    assert m.os.pread(fd, 8, 0) == b""
    m.os.pwrite(fd, b"x", 3)
    assert m.os.pread(fd, 8, 0) == b"\0\0\0x"
    m.os.posix_fallocate(fd, 0, 16)
    assert m.os.pread(fd, 99, 0) == b"\0\0\0x" + bytes(12)
    assert m.os.pread(fd, 8, 16) == b""


@case
def appending_goes_to_the_end(m):
    path = f"{m.room}/log"
    fds = [m.os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) for _ in range(2)]
    for fd in (*fds, *fds):
        m.os.write(fd, b"%d" % fds.index(fd))
    assert m.os.pread(m.os.open(path, os.O_RDONLY), 9, 0) == b"0101"


@case
def a_full_disk_refuses(m):
    fd = m.os.open(m.full_file(), os.O_WRONLY)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        m.os.write(fd, b"x")


@case
def a_datagram_can_be_looked_at_before_it_is_taken(m):
    path = f"{m.room}/socket"
    receiver = m.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    receiver.bind(path)
    assert not is_readable(m, receiver.fileno())
    with pytest.raises(BlockingIOError):
        receiver.recvmsg(99, 0, socket.MSG_PEEK)
    receiver.close()


@case
def descriptors_in_a_range_are_closed(m):
    def part(say) -> None:
        fds = [m.os.dup2(m.os.open("/dev/null", os.O_RDONLY), number) for number in (101, 102, 105)]
        m.os.closerange(101, 105)
        left = []
        for fd in fds:
            with suppress(OSError):  # EBADF
                m.os.fstat(fd)
                left.append(fd)
        say(left)

    assert m.act(part).hear() == "[105]"


@pytest.mark.parametrize("body", CASES, ids=lambda body: body.__name__)
def test_it_does_what_the_real_one_does(play, body):
    play(body)
