"""`state`: any dump as text."""

import json

from twinwatch.cli.main import main
from twinwatch.cli.state_view import text
from twinwatch.control import dump

DUMP = {
    "path": "/run/x/state",
    "header": {"pair": "shop", "init": {"pid": 1}, "moved": False},
    "roles": {"a": {"index": 0, "phase": "running"}, "b": {"index": 1, "damage": "checksum"}},
    "slots": [
        {"index": 3, "name": "web", "identity": {"pid": 7, "handle": ""}, "births": [1, 2], "restarts": 0},
        {"index": 4, "name": "db", "identity": {"pid": 0, "handle": ""}, "births": [], "restarts": 0},
        {"index": 5, "name": "", "identity": {"pid": 0, "handle": ""}},
    ],
    "changes": [3, 4],
    "damage": [],
    "none": None,
}


def sections():
    return [part.splitlines() for part in text(DUMP).split("\n\n")]


def test_each_part_is_a_section():
    path, header, roles, slots, changes, damage, none = sections()
    assert path == ["path: /run/x/state"]
    assert [row.split() for row in header[2:]] == [["pair", "shop"], ["init.pid", "1"], ["moved", "no"]]
    assert [row.split() for row in roles[1:]] == [
        ["OF", "INDEX", "PHASE", "DAMAGE"],
        ["a", "0", "running", "-"],
        ["b", "1", "-", "checksum"],
    ]
    assert [row.split() for row in slots[1:]] == [
        ["INDEX", "NAME", "IDENTITY.PID", "BIRTHS"],
        ["3", "web", "7", "1,2"],
        ["4", "db", "0", "-"],
    ]
    assert (changes, damage, none) == (["changes: 3,4"], ["damage: -"], ["none: -"])


def test_rows_in_a_row():
    assert "pid=1 of=x,pid=2" in text({"slots": [{"index": 0, "list": [{"pid": 1, "of": "x"}, {"pid": 2}]}]})


def test_the_command(monkeypatch, capsys):
    monkeypatch.setattr(dump, "dump", lambda _: DUMP)
    assert main(["-p", "shop", "state"]) == 0
    assert capsys.readouterr().out == text(DUMP)
    assert main(["-p", "shop", "state", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == DUMP
