"""The notify socket on the real kernel: who reads, who dies in between, and what is known of a sender."""

import os
import select
import signal
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from scene import Actor, Scene, rest, until

from twinwatch.core.notice import DATAGRAM_MAX, Notice
from twinwatch.linux import process
from twinwatch.linux.lock import LOCK_BYTE
from twinwatch.linux.notify import (
    BATCH,
    PATH_MAX,
    Message,
    NotifyPathTooLong,
    NotifySocket,
    ReaderLock,
    ancestors,
    is_around,
    session_of,
)

NOBODY = 65534
FLOOD = 10_000


@pytest.fixture
def receiver(scene: Scene) -> Iterator[NotifySocket]:
    with closing(NotifySocket.bind(scene.paths.notify_socket)) as bound:
        yield bound


@pytest.fixture
def lock(scene: Scene) -> ReaderLock:
    return ReaderLock(scene.state.fileno())


@contextmanager
def sender(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.connect(path)
        yield made


def send(scene: Scene, *datagrams: bytes) -> None:
    with sender(scene.paths.notify_socket) as made:
        for datagram in datagrams:
            made.send(datagram)


def read_all(receiver: NotifySocket, lock: ReaderLock) -> list[Message]:
    found: list[Message] = []
    while receiver.read(found.append, lock):
        continue
    return found


def statuses(messages: list[Message]) -> list[str | None]:
    return [message.notice.status for message in messages]


def die() -> None:
    signal.raise_signal(signal.SIGKILL)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


# ------------------------------------------------------------ what is read


def test_a_datagram_is_read_once(scene, receiver, lock):
    assert not receiver.has_pending()
    assert receiver.read(pytest.fail, lock) == 0
    send(scene, b"READY=1\nSTATUS=up")
    assert receiver.has_pending()
    (message,) = read_all(receiver, lock)
    assert (message.pid, message.uid, message.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert message.notice.ready
    assert message.notice.status == "up"
    assert not receiver.has_pending()


def test_datagrams_keep_their_order(scene, receiver, lock):
    words = [f"{number}" for number in range(8)]
    send(scene, *(f"STATUS={word}".encode() for word in words))
    assert statuses(read_all(receiver, lock)) == words


def test_two_equal_ones_are_two(scene, receiver, lock):
    send(scene, b"WATCHDOG=1", b"WATCHDOG=1")
    assert receiver.read(lambda _message: None, lock) == 2


@pytest.mark.parametrize(
    ("size", "fault"), [(DATAGRAM_MAX, ""), (DATAGRAM_MAX + 1, "longer"), (60_000, "longer")]
)
def test_a_long_datagram(scene, receiver, lock, size, fault):
    send(scene, b"READY=1\nX=".ljust(size, b"x"), b"STOPPING=1")
    first, second = read_all(receiver, lock)
    assert first.notice.ready is not bool(fault)
    assert first.notice.fault.startswith(fault)
    assert second.notice.stopping


def test_a_batch_has_an_end(scene, receiver, lock):
    send(scene, *(b"STATUS=%d" % number for number in range(8)))
    found: list[Message] = []
    assert receiver.read(found.append, lock, bound=3) == 3
    assert receiver.has_pending()
    assert statuses(found + read_all(receiver, lock)) == [f"{number}" for number in range(8)]


def test_a_flood_does_not_keep_its_reader(scene, receiver, lock):
    """A sender that never stops: each call comes back after its batch, with all that others said read."""

    def flood(say):
        say("begun")
        with sender(scene.paths.notify_socket) as made:
            while True:
                made.send(b"STATUS=flood")

    actor = scene.act(flood)
    assert actor.hear() == "begun"
    counts: list[int | None] = []
    until(lambda: counts.append(receiver.read(lambda _message: None, lock)) or sum(counts) > 10 * BATCH)
    assert max(counts) <= BATCH
    actor.kill()
    while receiver.read(lambda _message: None, lock):
        continue
    send(scene, b"READY=1")
    assert read_all(receiver, lock)[0].notice.ready


def test_with_nobody_to_read_it_a_sender_is_refused(scene, receiver):
    """It does not wait for ever: so no process may keep the descriptor without reading."""
    with sender(scene.paths.notify_socket) as made:
        receiver.close()
        with pytest.raises(ConnectionRefusedError):
            made.send(b"READY=1")


# ------------------------------------------------------------ two readers


@pytest.mark.parametrize("records", [False, True])
def test_nothing_dies_with_its_reader(scene, receiver, lock, records):
    """KILL before and after it recorded: the next reader sees the same datagram, and all behind it."""
    heard: list[str] = []

    def read(say):
        def record(message):
            if records:
                say(message.notice.status)
            die()

        receiver.read(record, ReaderLock(scene.open().fileno()))

    send(scene, b"STATUS=first", b"STATUS=second")
    for _ in range(3):
        reader = scene.act(read)
        heard.append(reader.hear())
        assert reader.status() == signal.SIGKILL
    assert heard == ["first" if records else ""] * 3
    assert statuses(read_all(receiver, lock)) == ["first", "second"]


def test_who_has_not_the_lock_touches_nothing(scene, receiver, lock):
    def hold(say):
        say(ReaderLock(scene.open().fileno()).take())
        rest()

    holder = scene.act(hold)
    assert holder.hear() == "True"
    send(scene, b"READY=1")
    holder.stop()
    assert receiver.read(pytest.fail, lock) is None
    assert receiver.has_pending()
    holder.kill()
    assert read_all(receiver, lock)[0].notice.ready


def test_a_refused_record_leaves_the_datagram(scene, receiver, lock):
    def refuse(_message):
        raise RuntimeError

    send(scene, b"READY=1")
    with pytest.raises(RuntimeError):
        receiver.read(refuse, lock)
    free = scene.act(lambda say: say(ReaderLock(scene.open().fileno()).take()))
    assert free.hear() == "True", "the lock is free again"
    assert free.status() == 0
    assert read_all(receiver, lock)[0].notice.ready


@pytest.mark.parametrize("takes", [1, 2])
def test_a_reader_with_another_lock_loses_nothing(scene, receiver, lock, takes):
    """The state file was replaced, and the two readers exclude each other no more."""
    elsewhere = os.open(scene.directory / "elsewhere", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    found: list[Message] = []
    others: list[Message] = []

    def record(message):
        if not others:
            assert receiver.read(others.append, ReaderLock(elsewhere), bound=takes) == takes
        found.append(message)

    send(scene, b"STATUS=first", b"STATUS=second", b"STATUS=third")
    while receiver.read(record, lock):
        continue
    os.close(elsewhere)
    assert statuses(others) == ["first", "second"][:takes]
    assert statuses(found) == (["first", "second", "third"] if takes == 1 else ["first", "third"])


def compete(scene: Scene, receiver: NotifySocket, enough: Path) -> Actor:
    """A process that reads, and writes down what, until nothing is left and nothing will come."""

    def read(_say: Callable[[object], None]) -> None:
        own = ReaderLock(scene.open().fileno())
        notes = os.open(scene.directory / f"read.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        while receiver.has_pending() or not enough.exists():
            receiver.read(lambda message: os.write(notes, f"{message.notice.status}\n".encode()), own)

    return scene.act(read)


def test_two_readers_that_compete(scene, receiver):
    """Ten thousand datagrams: none is lost, and since no reader died, none is recorded twice."""
    enough = scene.directory / "enough"
    readers = [compete(scene, receiver, enough) for _ in range(2)]
    send(scene, *(b"STATUS=%d" % number for number in range(FLOOD)))
    enough.touch()
    assert [reader.status() for reader in readers] == [0, 0]
    read = [(scene.directory / f"read.{reader.pid}").read_text().split() for reader in readers]
    assert sorted(int(word) for words in read for word in words) == list(range(FLOOD))
    assert all(words == sorted(words, key=int) for words in read)


def test_it_lets_the_state_lock_alone(scene, receiver, lock):
    send(scene, b"READY=1")
    with scene.state.lock:
        assert len(read_all(receiver, lock)) == 1
        other = scene.act(lambda say: say(scene.open().lock._try(LOCK_BYTE)))
        assert other.hear() == "False", "the state lock is still held"
    send(scene, b"READY=1")
    with scene.state.lock:
        reader = scene.act(
            lambda say: say(receiver.read(lambda _message: None, ReaderLock(scene.open().fileno())))
        )
        assert reader.hear() == "1", "the state lock keeps nobody from reading"


def test_a_fork_reads_on(scene, receiver, lock):
    """The descriptor is inherited; a fork that has closed it forgets it without closing somebody else's."""
    send(scene, b"STATUS=first", b"STATUS=second")

    def read(say):
        receiver.read(lambda message: say(message.notice.status), ReaderLock(scene.open().fileno()), bound=1)
        fd = receiver.fileno()
        os.close(fd)
        assert os.dup2(os.open("/dev/null", os.O_RDONLY), fd) == fd
        receiver.abandon()
        os.fstat(fd)

    reader = scene.act(read)
    assert reader.hear() == "first"
    assert reader.status() == 0
    assert statuses(read_all(receiver, lock)) == ["second"]


# ------------------------------------------------------------ descriptors that come along


def hung_up(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))


def test_a_barrier_falls_when_it_is_recorded(scene, receiver, lock):
    ear, mouth = os.pipe()
    seen: list[tuple[bool, int, bool]] = []
    with sender(scene.paths.notify_socket) as made:
        made.send(b"READY=1")
        socket.send_fds(made, [b"BARRIER=1"], [mouth])
    os.close(mouth)
    assert not hung_up(ear)

    def record(message: Message) -> None:
        seen.append((message.notice.barrier, message.descriptors, hung_up(ear)))

    before = descriptors()
    assert receiver.read(record, lock) == 2
    assert seen == [(False, 0, False), (True, 1, False)]
    assert hung_up(ear)
    assert descriptors() == before
    os.close(ear)


def test_a_barrier_stands_while_its_reader_did_not_record(scene, receiver, lock):
    ear, mouth = os.pipe()
    with sender(scene.paths.notify_socket) as made:
        socket.send_fds(made, [b"BARRIER=1"], [mouth])
    os.close(mouth)
    reader = scene.act(lambda _say: receiver.read(lambda _message: die(), ReaderLock(scene.open().fileno())))
    assert reader.status() == signal.SIGKILL
    assert not hung_up(ear)
    assert read_all(receiver, lock)[0].notice.barrier
    assert hung_up(ear)
    os.close(ear)


def test_all_that_can_come_along_is_closed(scene, receiver, lock):
    with sender(scene.paths.notify_socket) as made:
        socket.send_fds(made, [b"FDSTORE=1"], [made.fileno()] * 253)
    before = descriptors()
    seen: list[tuple[int, bool]] = []
    assert receiver.read(lambda m: seen.append((m.descriptors, m.notice.fdstore)), lock) == 1
    assert seen == [(253, True)]
    assert descriptors() == before


# ------------------------------------------------------------ who sent it


def test_the_senders_pidfd_is_open_while_it_is_recorded(scene, receiver, lock):
    def speak(_say):
        send(scene, b"READY=1")
        rest()

    speaker = scene.act(speak)
    until(receiver.has_pending)
    before = descriptors()
    pidfds: list[int] = []

    def record(message: Message) -> None:
        assert message.pid == speaker.pid
        assert is_around(message)
        if message.pidfd >= 0:
            process.send(message.pidfd, signal.SIGKILL)
            pidfds.append(message.pidfd)

    assert receiver.read(record, lock) == 1
    assert descriptors() == before
    if not pidfds:
        assert kernel() < (6, 5)
        pytest.skip("kernel lacks SO_PASSPIDFD")
    assert speaker.status() == signal.SIGKILL


def test_a_sender_that_was_collected_is_seen_to_be_gone(scene, receiver, lock):
    """A zombie still has its PID; a collected one has not, whoever has it now."""
    speaker = scene.act(lambda _say: send(scene, b"READY=1"))
    assert speaker.status() == 0
    seen: list[bool] = []

    def record(message: Message) -> None:
        seen.append(is_around(message))
        os.waitpid(speaker.pid, 0)
        seen.append(is_around(message))

    assert receiver.read(record, lock) == 1
    assert seen == [True, False]
    send(scene, b"READY=1")
    speaker = scene.act(lambda _say: send(scene, b"STOPPING=1"))
    os.waitpid(speaker.pid, 0)
    seen.clear()
    assert receiver.read(lambda message: seen.append(is_around(message)), lock) == 2
    assert seen == [True, False]


def test_without_a_pidfd_only_the_pid_can_be_looked_for(scene):
    speaker = scene.act(lambda _say: rest())
    message = Message(speaker.pid, 0, 0, -1, 0, Notice())
    assert is_around(message)
    speaker.kill()
    os.waitpid(speaker.pid, 0)
    assert not is_around(message)


def credentials(pid: int) -> list[tuple[int, int, bytes]]:
    packed = struct.pack("=iII", pid, os.geteuid(), os.getegid())
    return [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, packed)]


def speak_as(scene: Scene, uid: int, pid: int) -> Actor:
    """A process that becomes this user and says that it is `pid`."""

    def speak(say: Callable[[object], None]) -> None:
        with sender(scene.paths.notify_socket) as made:
            os.setresuid(uid, uid, uid)
            made.send(b"STATUS=true")
            try:
                made.sendmsg([b"STATUS=forged"], credentials(pid))
            except PermissionError:
                say("refused")

    return scene.act(speak)


@pytest.mark.root
def test_a_user_cannot_lie_about_itself(scene, receiver, lock):
    liar = speak_as(scene, NOBODY, os.getpid())
    assert liar.hear() == "refused"
    assert liar.status() == 0
    (message,) = read_all(receiver, lock)
    assert (message.pid, message.uid, message.notice.status) == (liar.pid, NOBODY, "true")


@pytest.mark.root
def test_root_can(scene, receiver, lock):
    """So systemd-notify speaks for its parent; and what root says of others is believed."""
    liar = speak_as(scene, 0, os.getpid())
    assert liar.hear() == ""
    found = [(message.pid, message.notice.status) for message in read_all(receiver, lock)]
    assert found == [(liar.pid, "true"), (os.getpid(), "forged")]


def test_what_a_process_descends_from(scene):
    def branch(say):
        os.setsid()
        if os.fork() == 0:
            say(os.getpid())
        rest()

    parent = scene.act(branch)
    child = int(parent.hear())
    assert session_of(child) == parent.pid
    assert ancestors(child)[:2] == (parent.pid, os.getpid())
    assert ancestors(child, 1) == (parent.pid,)
    assert ancestors(child)[-1] == 1 or session_of(1) == 0
    parent.kill()
    os.waitpid(parent.pid, 0)
    assert session_of(parent.pid) == 0
    assert ancestors(parent.pid) == ()
    assert session_of(os.getpid()) == os.getsid(0)


# ------------------------------------------------------------ its path


def test_a_new_one_takes_the_path(scene, receiver, lock):
    assert receiver.is_at_path()
    with closing(NotifySocket.bind(scene.paths.notify_socket)) as second:
        assert (receiver.is_at_path(), second.is_at_path()) == (False, True)
        assert (second.device, second.inode) != (receiver.device, receiver.inode)
        send(scene, b"READY=1")
        assert not receiver.has_pending()
        assert read_all(second, lock)[0].notice.ready
    assert os.listdir(scene.paths.contact) == ["notify"]


def test_a_deleted_path_is_seen(scene, receiver):
    os.unlink(scene.paths.notify_socket)
    assert not receiver.is_at_path()
    Path(scene.paths.notify_socket).touch()
    assert not receiver.is_at_path()
    os.unlink(scene.paths.notify_socket)
    os.rmdir(scene.paths.contact)
    assert not receiver.is_at_path()
    with pytest.raises(FileNotFoundError):
        NotifySocket.bind(scene.paths.notify_socket)


def test_any_user_may_send(scene):
    old = os.umask(0o077)
    try:
        bound = NotifySocket.bind(scene.paths.notify_socket)
    finally:
        os.umask(old)
    with closing(bound):
        mode = os.stat(scene.paths.notify_socket).st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o666


def test_what_a_killed_one_left_is_no_obstacle(scene):
    Path(f"{scene.paths.contact}/.notify.{os.getpid()}").touch()
    with closing(NotifySocket.bind(scene.paths.notify_socket)) as bound:
        assert bound.is_at_path()
    assert os.listdir(scene.paths.contact) == ["notify"]


def test_a_failed_bind_leaves_nothing(scene):
    os.mkdir(scene.paths.notify_socket)
    before = descriptors()
    with pytest.raises(IsADirectoryError):
        NotifySocket.bind(scene.paths.notify_socket)
    assert descriptors() == before
    assert os.listdir(scene.paths.contact) == ["notify"]


def test_a_path_as_long_as_workers_can_use(scene):
    """The draft's name is longer, and goes through the directory's descriptor."""
    room = f"{scene.directory}/".ljust(PATH_MAX - 2, "r")
    os.mkdir(room)
    with closing(NotifySocket.bind(f"{room}/n")) as bound, sender(f"{room}/n") as made:
        made.send(b"READY=1")
        assert bound.has_pending()
    with pytest.raises(NotifyPathTooLong, match="has 108 bytes, more than 107: choose a shorter runtime"):
        NotifySocket.bind(f"{room}/nn")
    assert os.listdir(room) == ["n"]
