"""notify() speaks sd_notify to a real socket, and never fails a program that nobody listens to."""

import os
import secrets
import select
import socket
import threading

import pytest

from twinwatch import notify
from twinwatch.client import notify as module
from twinwatch.client.notify import VARIABLE, barrier


@pytest.fixture(params=["path", "abstract"])
def receiver(request, tmp_path, monkeypatch):
    name = str(tmp_path / "n") if request.param == "path" else f"@twinwatch-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bound:
        bound.bind(name.replace("@", "\0"))
        monkeypatch.setenv(VARIABLE, name)
        yield bound


def test_lines_are_one_message(receiver):
    assert notify("READY=1", "STATUS=serving 3 €")
    assert receiver.recv(4096) == "READY=1\nSTATUS=serving 3 €".encode()
    assert notify("WATCHDOG=1")
    assert receiver.recv(4096) == b"WATCHDOG=1"


def test_text_that_is_no_text_is_sent_all_the_same(receiver):
    assert notify("STATUS=\ud800")
    assert receiver.recv(4096) == b"STATUS=?"


@pytest.mark.parametrize(
    "name", [None, "", "relative", "vsock:2:1234", "/nonexistent/notify", "@", "/" + "x" * 200]
)
def test_nobody_there(name, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    if name is not None:
        monkeypatch.setenv(VARIABLE, name)
    assert not notify("READY=1")
    assert not barrier(60)


def test_a_name_of_another_kind_is_not_taken_for_an_abstract_one(monkeypatch):
    name = f"x{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.bind("\0" + name[1:])
        monkeypatch.setenv(VARIABLE, name)
        assert not notify("READY=1")


def test_nobody_listens_any_more(receiver):
    receiver.close()
    assert not notify("READY=1")
    assert not barrier(60)


def test_a_full_queue_is_waited_for_within_a_bound(receiver, monkeypatch):
    monkeypatch.setattr(module, "SEND_WAIT_S", 0.01)
    sent = 0
    while notify(f"STATUS={sent}"):
        sent += 1
        assert sent < 100_000
    assert [receiver.recv(64) for _ in range(sent)][-1] == f"STATUS={sent - 1}".encode()
    assert notify("READY=1")
    assert receiver.recv(64) == b"READY=1"


def test_a_place_in_the_queue_that_becomes_free_is_taken(receiver, monkeypatch):
    monkeypatch.setattr(module, "SEND_WAIT_S", 0.001)
    while notify("STATUS=full"):
        pass
    monkeypatch.setattr(module, "SEND_WAIT_S", 60)
    reading = threading.Timer(0.05, receiver.recv, [64])
    reading.start()
    assert notify("READY=1")
    reading.join()


def test_a_message_that_is_too_long(receiver):
    assert not notify("STATUS=" + "x" * 10_000_000)


def test_a_barrier_waits_until_the_receiver_has_closed_its_end(receiver):
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(barrier(60)))
    waiting.start()
    select.select([receiver], [], [], 60)
    message, fds, _, _ = socket.recv_fds(receiver, 4096, 4)
    assert (message, len(fds), answers) == (b"BARRIER=1", 1, [])
    assert waiting.is_alive()
    os.close(fds[0])
    waiting.join()
    assert answers == [True]


def test_a_barrier_that_nobody_reads(receiver):
    assert not barrier(0.01)
    assert not barrier(-1)
