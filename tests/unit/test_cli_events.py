"""`events`: what is read, chosen and told."""

import json

import pytest

from twinwatch.cli import events
from twinwatch.cli.event_line import Choice, describe, is_meant, parse
from twinwatch.cli.main import main
from twinwatch.linux.events import EventLog

END = {"kind": "error", "code": 1, "signal": None, "core": False, "reason": None}
EVENT = {
    "time": "2030-01-01T00:00:00.000Z",
    "monotonic_ns": 5,
    "pair": "shop",
    "event": "phase",
    "slot": "web:1",
    "old": "running",
    "new": "backoff",
    "reason": "again in 2 s",
    "generation": 4,
    "pid": 31,
    "exit": END,
    "by": "b.2",
}


def test_a_change_in_one_line():
    assert [part.strip() for part in describe(EVENT).split("  ") if part] == [
        *("2030-01-01T00:00:00.000Z", "web:1", "running -> backoff", "again in 2 s"),
        *("exit 1", "generation 4", "pid 31", "by b.2"),
    ]


def test_another_event_in_one_line():
    event = {"time": "T", "event": "crashed", "reason": "a\nb\x1b", "index": 3, "list": [1], "by": "a.1"}
    assert describe(event).split() == [
        "T",
        "-",
        "crashed",
        r"a\nb\x1b",
        "index",
        "3",
        "list",
        "[1]",
        "by",
        "a.1",
    ]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"time": "T", "ev', b"[]", b"1", b"\xff", b'{"event": "x"}', b'{"time": 1, "event": "x"}'],
)
def test_no_event(data):
    assert parse(data) is None


def test_an_event():
    assert parse(json.dumps(EVENT).encode()) == EVENT


@pytest.mark.parametrize(
    ("label", "name", "expected"),
    [
        ("web", "web", True),
        ("web:1", "web", True),
        ("web:1", "web:1", True),
        ("web", "web:0", True),
        ("web:1", "web:0", False),
        ("web:10", "web:1", False),
        ("website", "web", False),
        ("", "web", False),
        ("a", "a", True),
        ("web", "all", True),
    ],
)
def test_which_slot_is_meant(label, name, expected):
    assert is_meant(label, name) is expected


def test_choice():
    assert Choice().takes(EVENT)
    assert Choice(("db", "web")).takes(EVENT)
    assert not Choice(("db",)).takes(EVENT)
    assert Choice(since="2029-12-31T23:59:59.000Z").takes(EVENT)
    assert not Choice(since="2030-01-01T00:00:00.001Z").takes(EVENT)


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The state directory of a pair with three events in two files, and a torn and a foreign line."""
    monkeypatch.setenv("TWINWATCH_STATE_DIR", str(tmp_path))
    folder = tmp_path / "shop"
    folder.mkdir()
    log = EventLog(str(folder / "events.jsonl"), "shop", "a.1")
    log.write("phase", slot="web", old="stopped", new="starting")
    log.close()
    (folder / "events.jsonl").rename(folder / "events.jsonl.1")
    log.write("phase", slot="db", old="stopped", new="starting")
    log.write("crashed")
    log.close()
    with open(folder / "events.jsonl", "ab") as file:
        file.write(b'{"time": "2030\nhello\n{"time": ')
    return folder


def run(capsys, *argv):
    code = main(["-p", "shop", "events", *argv])
    return code, *capsys.readouterr()


def slots(out):
    return [line.split()[1] for line in out.splitlines()]


def test_all_files_oldest_first(state, capsys):
    code, out, err = run(capsys)
    assert (code, slots(out)) == (0, ["web", "db", "-"])
    assert "2 lines" in err


def test_the_last_ones_and_the_chosen_ones(state, capsys):
    assert slots(run(capsys, "-n", "1")[1]) == ["-"]
    assert slots(run(capsys, "web")[1]) == ["web"]
    assert slots(run(capsys, "--since", "1h")[1]) == ["web", "db", "-"]
    assert run(capsys, "--since", "0", "--json")[1] == ""


def test_json_is_the_line_itself(state, capsys):
    out = run(capsys, "--json", "db")[1]
    assert out.encode() == (state / "events.jsonl").read_bytes().splitlines(keepends=True)[0]


def test_following(state, capsys, monkeypatch):
    """Between two looks an event is written, then the file is rotated and another one is written."""
    log = EventLog(str(state / "events.jsonl"), "shop", "b.1")

    def pauses():
        yield
        log.write("one")
        yield
        (state / "events.jsonl").rename(state / "events.jsonl.2")
        log.follow_path()
        log.write("two")
        yield
        raise KeyboardInterrupt

    pause = pauses()
    monkeypatch.setattr(events.time, "sleep", lambda _: next(pause))
    code, out, _ = run(capsys, "-f", "-n", "1")
    log.close()
    assert code == 130
    assert [line.split()[2] for line in out.splitlines()] == ["crashed", "two"]


def test_a_pair_that_never_was(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TWINWATCH_STATE_DIR", str(tmp_path))
    code, out, err = run(capsys)
    assert (code, out) == (5, "")
    assert "shop is not known here" in err


def test_a_pair_without_events(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TWINWATCH_STATE_DIR", str(tmp_path))
    (tmp_path / "shop").mkdir()
    assert run(capsys) == (0, "", "")


def test_lines_that_two_watchers_wrote_at_once_are_shown_in_order():
    from twinwatch.cli.event_line import in_order

    moments = [5, 7, 6, 3_000_000_000, 4, 2_999_999_999]
    lines = [({"time": "t", "event": "e", "monotonic_ns": at}, b"%d" % at) for at in moments]
    shown = [event["monotonic_ns"] for event, _ in in_order(lines)]
    assert shown == [5, 6, 7, 3_000_000_000, 4, 2_999_999_999]
