"""Commands that change something: what they ask for, and what they print of the answer."""

import json

import pytest

from twinwatch.cli.main import main
from twinwatch.control import down, reload, up, workers

STATUS = {
    "schema": 1,
    "pair": "shop",
    "state": "up",
    "config_generation": 1,
    "anchor": None,
    "watchers": {"a": None, "b": None},
    "workers": [],
}
CHANGES = {
    "started": ["web:1"],
    "stopped": [],
    "restarted": ["db", "web"],
    "unchanged": [],
    "config_generation": 7,
}


@pytest.fixture
def asked(monkeypatch):
    """Every operation answers `asked.answer` and notes how it was asked."""

    class Asked(list):
        answer: object = STATUS

    asked = Asked()

    def operation(*args, progress=None, **how):
        asked.append((args, how))
        if progress is not None:
            progress("working")
        return asked.answer

    for module, names in (
        (up, ["up"]),
        (down, ["down"]),
        (reload, ["reload"]),
        (workers, ["start", "stop", "restart", "pause", "resume", "send_signal"]),
    ):
        for name in names:
            monkeypatch.setattr(module, name, operation)
    return asked


def run(capsys, *argv):
    code = main(["-p", "shop", *argv])
    return code, *capsys.readouterr()


def test_up(asked, capsys):
    code, out, err = run(capsys, "up", "shop.yaml", "--timeout", "5s")
    assert (code, err) == (0, "working\n")
    assert out.startswith("shop: up")
    (path, _), how = asked[0]
    assert (path, how) == ("shop.yaml", {"timeout_s": 5})


def test_up_that_is_not_whole(asked, capsys):
    asked.answer = STATUS | {"state": "degraded"}
    assert run(capsys, "up", "shop.yaml")[0] == 1


def test_down(asked, capsys):
    asked.answer = STATUS | {"state": "down"}
    assert run(capsys, "down") == (0, "shop: down\n", "working\n")
    (target,), how = asked[0]
    assert (target.paths.pair, how) == ("shop", {"timeout_s": None, "temporary": False})
    asked.answer = STATUS
    assert run(capsys, "down")[0] == 1


@pytest.mark.parametrize("argv", [("up", "x.yaml", "--json"), ("down", "--json"), ("reload", "--json")])
def test_json_is_the_answer(asked, capsys, argv):
    assert json.loads(run(capsys, *argv)[1]) == STATUS


def test_reload(asked, capsys):
    asked.answer = CHANGES
    assert run(capsys, "reload")[:2] == (
        0,
        "configuration 7 is in force\nstarted: web:1\nrestarted: db, web\n",
    )


@pytest.mark.parametrize("command", ["start", "stop", "restart", "pause", "resume"])
def test_workers(asked, capsys, command):
    asked.answer = ["web: done", "db: done"]
    assert run(capsys, command, "web", "db", "--no-wait") == (0, "web: done\ndb: done\n", "working\n")
    (_, names), how = asked[0]
    assert (names, how) == (["web", "db"], {"wait": False, "timeout_s": 60})


def test_signal(asked, capsys):
    asked.answer = ["web: sent"]
    assert run(capsys, "signal", "USR1", "web", "--group") == (0, "web: sent\n", "")
    (_, names, number), how = asked[0]
    assert (names, number, how) == (["web"], 10, {"group": True})


def test_nobody_reads_of_the_progress(asked, capsys, monkeypatch):
    """An operation is carried on."""

    class Gone:
        def write(self, _):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    asked.answer = STATUS | {"state": "down"}
    monkeypatch.setattr("sys.stderr", Gone())
    assert main(["-p", "shop", "down"]) == 0
