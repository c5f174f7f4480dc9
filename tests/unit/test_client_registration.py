"""register() asks the command line of the pair, and says what went wrong."""

import json
import os
import struct
import sys
import threading

import pytest
from live_pair import until

import twinwatch
from twinwatch.client import registration
from twinwatch.client.heartbeat import ACTIVE, LAYOUT, SIGNED_OFF, SIZE, VARIABLE

COMMAND = ["/opt/run", "--all", "a b"]


class Pair:
    """Stands in for `python -m twinwatch`: notes what it was asked, and answers as told."""

    def __init__(self, directory, monkeypatch):
        self.directory = directory
        self.file = directory / "heartbeat"
        self.file.write_bytes(bytes(SIZE))
        self.answer(json.dumps({"worker": "job", "pair": "shop", "heartbeat": str(self.file)}))
        program = directory / "python"
        program.write_text(
            f"#!/bin/sh\ncd {directory}\nprintf '%s\\n' \"$@\" >asked\n. ./delay\ncat answer\ncat words >&2\nexit $(cat code)\n"
        )
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        for name in (VARIABLE, "TWINWATCH_WORKER", "TWINWATCH_PAIR"):
            monkeypatch.delenv(name, raising=False)

    def answer(self, answer, words="", code=0, delay=""):
        for name, text in (("answer", answer), ("words", words), ("code", str(code)), ("delay", delay)):
            (self.directory / name).write_text(text)

    def asked(self):
        path = self.directory / "asked"
        return path.read_text().splitlines() if path.exists() else None

    def state(self):
        number, _, progress, state = struct.unpack(LAYOUT, self.file.read_bytes())
        return number, progress, state


@pytest.fixture
def pair(tmp_path, monkeypatch):
    return Pair(tmp_path, monkeypatch)


def test_what_it_asks(pair):
    guard = twinwatch.register("job", 5.0, COMMAND)
    own = str(os.getpid())
    begin = ["-m", "twinwatch", "register", "job", "--timeout"]
    assert pair.asked() == [*begin, "5000ms", "--misses", "3", "--pid", own, "--json", "--", *COMMAND]
    assert guard.name == "job"
    twinwatch.register("job", 0.25, COMMAND, pair="shop", directory="/srv", misses=7)
    options = ["-p", "shop", "--directory", "/srv", "--json", "--"]
    assert pair.asked() == [*begin, "250ms", "--misses", "7", "--pid", own, *options, *COMMAND]


def test_from_activation_to_signing_off(pair):
    guard = twinwatch.register("job", 5, COMMAND)
    assert guard.heartbeat.is_watched
    assert pair.state() == (0, 0, 0)
    guard.activate()
    assert pair.state() == (1, 0, ACTIVE)
    guard.beat()
    guard.beat(9)
    assert pair.state() == (3, 9, ACTIVE)
    guard.sign_off()
    assert pair.state() == (3, 9, SIGNED_OFF)


def test_a_thread_beats_from_activation_on(pair):
    guard = twinwatch.register("job", 5, COMMAND, every=0.001)
    count = threading.active_count()
    assert pair.state() == (0, 0, 0)
    guard.activate()
    until(lambda: pair.state()[0] > 3)
    guard.sign_off()
    until(lambda: threading.active_count() == count)
    assert pair.state()[2] == SIGNED_OFF


@pytest.mark.parametrize("named", [None, "shop"])
def test_who_was_started_under_that_name_is_guarded_already(pair, monkeypatch, named):
    monkeypatch.setenv("TWINWATCH_WORKER", "job")
    monkeypatch.setenv("TWINWATCH_PAIR", "shop")
    monkeypatch.setenv(VARIABLE, str(pair.file))
    guard = twinwatch.register("job", 5, COMMAND, pair=named)
    assert pair.asked() is None
    guard.activate()
    assert pair.state() == (1, 0, ACTIVE)


@pytest.mark.parametrize(
    ("name", "pair_name", "variable"), [("other", None, True), ("job", "other", True), ("job", None, False)]
)
def test_who_was_started_as_another_asks(pair, monkeypatch, name, pair_name, variable):
    monkeypatch.setenv("TWINWATCH_WORKER", "job")
    monkeypatch.setenv("TWINWATCH_PAIR", "shop")
    if variable:
        monkeypatch.setenv(VARIABLE, str(pair.file))
    twinwatch.register(name, 5, COMMAND, pair=pair_name)
    assert pair.asked()[3] == name


def refused(pair, monkeypatch):
    pair.answer("", "twinwatch: no pair shop: start it with `twinwatch up`\n", 7)
    return "not registered: no pair shop: start it with `twinwatch up`$"


def failed_but_answered(pair, monkeypatch):
    pair.answer(json.dumps({"heartbeat": str(pair.file)}), "", 1)
    return "exit 1"


def silent(pair, monkeypatch):
    pair.answer("")
    return "exit 0, and no word of a heartbeat file"


def garbled(pair, monkeypatch):
    pair.answer("{")
    return "no word of a heartbeat file"


def of_another_kind(pair, monkeypatch):
    pair.answer("[1]")
    return "no word of a heartbeat file"


def without_path(pair, monkeypatch):
    pair.answer('{"heartbeat": 3}')
    return "no word of a heartbeat file"


def wedged(pair, monkeypatch):
    pair.answer("", delay="exec sleep 1000")
    monkeypatch.setattr(registration, "REGISTER_WAIT_S", 0.05)
    return "did not answer within 0.05 s: look at it with `twinwatch status`"


def without_interpreter(pair, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    return "cannot run the Python interpreter"


def without_file(pair, monkeypatch):
    pair.file.unlink()
    return "job: cannot beat into /.*: is it there"


@pytest.mark.parametrize(
    "harm",
    [
        *(refused, failed_but_answered, silent, garbled, of_another_kind, without_path, wedged),
        *(without_interpreter, without_file),
    ],
)
def test_what_goes_wrong_is_said(pair, monkeypatch, harm):
    words = harm(pair, monkeypatch)
    with pytest.raises(twinwatch.RegistrationError, match=words):
        twinwatch.register("job", 5, COMMAND)
