"""R24: a watcher has read a worker's READY, and is killed before the slot says so."""

import socket
from contextlib import closing

from scene import Scene, kill_self, taken_out, until

from twinwatch.linux.notify import Message, NotifySocket, ReaderLock


def read_and_die(scene: Scene, receiver: NotifySocket) -> None:
    """A reader that is killed when it is about to record."""

    def read(_say):
        receiver.read(lambda _message: kill_self(), ReaderLock(scene.open().fileno()))

    reader = scene.act(read)
    until(lambda: reader.is_dead, "the reader is dead")


def said(scene: Scene) -> list[Message]:
    """What the next reader finds after the death of the first one."""
    with closing(NotifySocket.bind(scene.paths.notify_socket)) as receiver:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as worker:
            worker.sendto(b"READY=1", scene.paths.notify_socket)
        read_and_die(scene, receiver)
        found: list[Message] = []
        receiver.read(found.append, ReaderLock(scene.state.fileno()))
        return found


def test_the_next_reader_finds_it(scene):
    assert [message.notice.ready for message in said(scene)] == [True]


def test_else_it_is_lost_with_its_reader(scene):
    def consume_first(receiver: NotifySocket, record) -> bool:
        taken = receiver._receive(0)
        if taken is None:
            return False
        taken.record(record)
        return True

    with taken_out(NotifySocket, "_read_one", consume_first):
        assert said(scene) == []
