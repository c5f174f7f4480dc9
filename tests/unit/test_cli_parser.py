"""The command line is read as its help says."""

import argparse

import pytest

from twinwatch.cli import options, parser


def read(*argv):
    args = argparse.Namespace()
    parser.parse(list(argv), args)
    return args


@pytest.mark.parametrize(
    "argv", [("-p", "shop", "--color", "never", "status"), ("status", "-p", "shop", "--color", "never")]
)
def test_shared_options_stand_before_or_after_the_command(argv):
    args = read(*argv)
    assert (args.pair, args.color, args.config, args.json) == ("shop", "never", None, False)


def test_one_on_each_side():
    args = read("-c", "a.yaml", "status", "--json")
    assert (args.config, args.json) == ("a.yaml", True)


@pytest.mark.parametrize(
    "command",
    [
        "check",
        "up",
        "down",
        "status",
        "start",
        "stop",
        "restart",
        "pause",
        "resume",
        "signal",
        "reload",
        "anchor",
        "logs",
        "events",
        "state",
        "chaos",
        "doctor",
    ],
)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        read(command, "--help")
    assert stop.value.code == 0
    assert f"usage: twinwatch {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("fly",),
        ("stop",),
        ("logs",),
        ("signal", "HUP"),
        ("signal", "HOP", "web"),
        ("signal", "0", "web"),
        ("status", "--watch", "soon"),
        ("status", "--watch", "0"),
        ("events", "--since", "yesterday"),
        ("events", "-n", "-1"),
        ("--color", "red", "status"),
    ],
)
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        read(*argv)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_the_watch_interval():
    assert read("status").watch is None
    assert read("status", "--watch").watch == 2
    assert read("status", "--watch", "500ms").watch == 0.5


def test_signal():
    args = read("signal", "sighup", "web", "db:1", "--group")
    assert (args.number, args.names, args.group) == (1, ["web", "db:1"], True)


def test_waiting():
    args = read("restart", "web", "--no-wait", "--timeout", "1m30s")
    assert (args.wait, args.timeout, read("restart", "web").wait) == (False, 90, True)
    assert read("down").timeout is None


@pytest.mark.parametrize(
    ("argv", "expected"), [((), None), (("-f",), 10), (("-n", "3"), 3), (("-f", "-n", "0"), 0)]
)
def test_how_many_lines(argv, expected):
    assert options.lines_wanted(read("events", *argv)) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2", 2), ("1.5", 1.5), ("500ms", 0.5), ("1h30m", 5400), ("2d", 172800), ("1m1ms", 60.001)],
)
def test_duration(text, seconds):
    assert options.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1x", "1s1h", "1 s", "٣s"])
def test_no_duration(text):
    with pytest.raises(argparse.ArgumentTypeError):
        options.duration(text)


@pytest.mark.parametrize(("text", "number"), [("HUP", 1), ("SIGTERM", 15), ("kill", 9), ("10", 10)])
def test_signal_number(text, number):
    assert options.signal_number(text) == number
