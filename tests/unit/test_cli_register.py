"""`register` and `unregister`: what they ask for, what they print, what they refuse."""

import argparse
import json
import os

import pytest

from twinwatch.cli import parser
from twinwatch.cli.main import main
from twinwatch.control import register
from twinwatch.control.errors import NOT_ALLOWED, NOT_INSTALLED, ControlError
from twinwatch.control.register import Registration
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

BEGIN = ("register", "job", "--timeout", "5s")


@pytest.fixture
def asked(monkeypatch):
    """Both operations note how they were asked; `asked.error` is raised."""

    class Asked(list):
        error: Exception | None = None

    asked = Asked()

    def operation(target, what, *, timeout_s, progress):
        asked.append((target.paths.pair, what, timeout_s))
        progress("working")
        if asked.error is not None:
            raise asked.error
        return {"worker": "job", "pair": "shop", "heartbeat": "/run/job.0"}

    monkeypatch.setattr(register, "register", operation)
    monkeypatch.setattr(register, "unregister", operation)
    return asked


def run(capsys, *argv):
    code = main(["-p", "shop", *argv])
    return code, *capsys.readouterr()


def test_it_prints_where_to_beat(asked, capsys):
    assert run(capsys, *BEGIN, "--", "run", "--all", "a b") == (0, "/run/job.0\n", "working\n")
    expected = Registration("job", os.getppid(), ("run", "--all", "a b"), ".", 5 * SECOND_NS, 3)
    assert asked == [("shop", expected, 30)]


def test_every_option(asked, capsys):
    more = ("--misses", "7", "--pid", "42", "--directory", "/srv", "--json")
    code, out, _ = run(capsys, "register", "job", "--timeout", "250ms", *more, "--", "run")
    assert (code, json.loads(out)) == (0, {"worker": "job", "pair": "shop", "heartbeat": "/run/job.0"})
    expected = Registration("job", 42, ("run",), "/srv", 250 * MILLISECOND_NS, 7)
    assert asked == [("shop", expected, 30)]


def test_unregister(asked, capsys):
    assert run(capsys, "unregister", "job") == (0, "job: is not guarded any more\n", "working\n")
    assert run(capsys, "unregister", "job", "--timeout", "5s", "--json")[0] == 0
    assert asked == [("shop", "job", 30), ("shop", "job", 5)]


@pytest.mark.parametrize(("error", "code"), [(NOT_ALLOWED, 4), (NOT_INSTALLED, 5)])
@pytest.mark.parametrize("argv", [(*BEGIN, "--", "run"), ("unregister", "job")])
def test_what_is_refused_is_one_line(asked, capsys, argv, error, code):
    asked.error = ControlError("belongs to another", error)
    assert run(capsys, *argv) == (code, "", "working\ntwinwatch: belongs to another\n")


@pytest.mark.parametrize(
    "argv",
    [
        ("register", "job", "--", "run"),
        BEGIN,
        (*BEGIN, "--"),
        ("register", "job", "--timeout", "soon", "--", "run"),
        (*BEGIN, "--misses", "0", "--", "run"),
        (*BEGIN, "--misses", "1001", "--", "run"),
        (*BEGIN, "--misses", "-1", "--", "run"),
        (*BEGIN, "--pid", "own", "--", "run"),
        ("register", "job", "--timeout", "0", "--", "run"),
        ("register", "job", "--timeout", "99ms", "--", "run"),
        ("unregister",),
        ("unregister", "job", "other"),
    ],
)
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        parser.parse(list(argv), argparse.Namespace())
    assert stop.value.code == 2
    assert "usage: twinwatch " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["register", "unregister"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        parser.parse([command, "--help"], argparse.Namespace())
    assert stop.value.code == 0
    assert f"usage: twinwatch {command}" in capsys.readouterr().out
