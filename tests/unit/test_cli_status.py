"""`status`: exit codes, and what is shown of one document in a pipe and on a terminal."""

import io
import json

import pytest

from twinwatch.cli import status_view
from twinwatch.cli.main import main
from twinwatch.cli.output import Output, for_terminal
from twinwatch.cli.status import exit_code, failure_code
from twinwatch.cli.table import plain
from twinwatch.control import status as control
from twinwatch.control.errors import NOT_CONFIGURED, NOT_RUNNING, ControlError

DEAD = {"alive": False, "phase": "stopped", "uptime_s": None, "heartbeat_age_s": None, "reserves": []}


def watcher(pid, **changes):
    fields = {"pid": pid, "alive": True, "generation": 3, "phase": "running", "born_by": "b.2"}
    return fields | {"uptime_s": 725, "heartbeat_age_s": 0.3, "reserves": [pid + 1, pid + 2]} | changes


def worker(**changes):
    fields = {"name": "web", "instance": 0, "pid": 20, "generation": 1, "phase": "running", "desired": "run"}
    fields |= {"owner": "a", "ready": True, "health": None, "restarts": 0, "uptime_s": 273600.0}
    return fields | {"last_exit": None, "memory_bytes": 67108864, "cpu_percent": 0.5} | changes


def document(state="up", a=(), b=(), workers=(), **changes):
    watchers = {"a": watcher(10, **dict(a)), "b": watcher(13, **dict(b))}
    fields = {"schema": 1, "pair": "shop", "state": state, "desired": "run", "config_generation": 4}
    return fields | {"boot_id": "", "anchor": None, "watchers": watchers, "workers": list(workers)} | changes


DOWN = document("down", watchers={"a": None, "b": None}, config_generation=0)


def text(status):
    return plain(status_view.blocks(status))


def rows(status):
    return [line.split() for line in text(status).splitlines()]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (document(), 0),
        (document("degraded", a=DEAD, b=DEAD), 1),
        (document("fatal", a=DEAD, b=DEAD), 1),
        (DOWN, 3),
        (document("novel"), 4),
        (document("degraded", b=DEAD), 150),
        (document("fatal"), 151),
    ],
)
def test_exit_code(status, code):
    assert exit_code(status) == code


@pytest.mark.parametrize(("code", "shown"), [(NOT_RUNNING, 3), (5, 3), (NOT_CONFIGURED, 4), (1, 4), (2, 4)])
def test_exit_code_of_what_could_not_be_looked_at(code, shown):
    assert failure_code(code) == shown


def test_a_whole_pair():
    end = {"kind": "signal", "code": None, "signal": 11, "core": True, "reason": "hung"}
    found = rows(document(workers=[worker(), worker(instance=1, pid=None, phase="backoff", last_exit=end)]))
    assert found[0] == ["shop:", "up", "configuration", "4"]
    assert found[2] == ["a", "10", "3", "running", "b.2", "12m5s", "0.3s", "11,12"]
    assert found[4] == []
    assert found[5][0] == "NAME"
    assert found[6] == ["web", "20", "1", "running", "yes", "-", "0", "3d4h", "64.0MiB", "0.5%", "-"]
    assert found[7][:4] == ["web:1", "-", "1", "backoff"]
    assert found[7][-4:] == ["SIGSEGV,", "core", "dumped", "(hung)"]


def test_plain_columns_are_aligned_and_end_in_no_blanks():
    lines = text(document(workers=[worker(), worker(name="database")])).splitlines()
    assert not [line for line in lines if line != line.rstrip()]
    header, first, second = lines[-3:]
    assert header.index("PHASE") == first.index("running") == second.index("running")


@pytest.mark.parametrize(
    ("status", "remark"),
    [
        (document("degraded", b=DEAD), "watcher b is dead: a is reviving it"),
        (document("degraded", a=DEAD), "watcher a is dead: b is reviving it"),
        (
            document("degraded", a=DEAD, b=DEAD),
            "both watchers are dead: nothing is guarded; `twinwatch up` brings",
        ),
        (
            document("degraded", a=DEAD, b=DEAD, anchor={"pid": 5, "alive": True}),
            "the anchor is reviving them",
        ),
        (document("degraded", desired="stop"), "told to be down: it is ending"),
        (document("degraded", a=DEAD, b=DEAD, desired="stop"), "`twinwatch down` ends it"),
    ],
)
def test_remarks(status, remark):
    assert remark in text(status)


def test_one_watcher_was_never_born():
    status = document("degraded")
    status["watchers"]["b"] = None
    assert "watcher b is dead" in text(status)
    assert ["b", "-", "-", "-", "-", "-", "-", "-"] in rows(status)


def test_down_is_one_line():
    assert text(DOWN) == "shop: down  configuration -\n"


def test_control_characters_do_not_reach_the_terminal():
    end = {"kind": "exec-failed", "code": None, "signal": None, "core": False, "reason": "\x1b[2J\n"}
    shown = text(document(workers=[worker(last_exit=end)]))
    assert "\x1b" not in shown
    assert r"exec failed (\x1b[2J\n)" in shown


# --- where it is shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("color", "stream", "environ", "expected"),
    [
        ("auto", Terminal, {"TERM": "xterm"}, (True, True)),
        ("auto", Terminal, {"TERM": "xterm", "NO_COLOR": "1"}, (True, False)),
        ("auto", Terminal, {"TERM": "xterm", "NO_COLOR": ""}, (True, True)),
        ("auto", Terminal, {"TERM": "dumb"}, (False, False)),
        ("auto", Terminal, {}, (False, False)),
        ("auto", io.StringIO, {"TERM": "xterm"}, (False, False)),
        ("never", Terminal, {"TERM": "xterm"}, (False, False)),
        ("always", io.StringIO, {"NO_COLOR": "1"}, (True, True)),
    ],
)
def test_when_there_is_colour(color, stream, environ, expected):
    output = for_terminal(color, stream(), environ)
    assert (output.is_rich, output.is_colored) == expected


def painted(monkeypatch, *, is_colored):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    Output(stream, is_rich=True, is_colored=is_colored).show(status_view.blocks(document(workers=[worker()])))
    return stream.getvalue()


def test_colour(monkeypatch):
    assert "\x1b[32mup\x1b[0m" in painted(monkeypatch, is_colored=True)


def test_no_colour(monkeypatch):
    shown = painted(monkeypatch, is_colored=False)
    assert not [code for code in ("\x1b[3", "\x1b[4") if code in shown]
    assert "running" in shown


def test_a_terminal_spares_empty_columns(monkeypatch):
    shown = painted(monkeypatch, is_colored=False)
    assert "READY" in shown
    assert "HEALTH" not in shown


def test_markup_in_values_is_text():
    stream = io.StringIO()
    end = {"kind": "error", "code": 1, "signal": None, "core": False, "reason": "[red]x"}
    blocks = status_view.blocks(document(workers=[worker(last_exit=end)]))
    Output(stream, is_rich=True).show(blocks)
    assert "[red]x" in stream.getvalue()


# --- the command


@pytest.fixture
def run(monkeypatch, capsys):
    def run_it(result, *argv):
        def status(_):
            if isinstance(result, BaseException):
                raise result
            return next(result) if hasattr(result, "__next__") else result

        monkeypatch.setattr(control, "status", status)
        monkeypatch.setattr("time.sleep", lambda _: None)
        code = main(["-p", "shop", "status", *argv])
        return code, *capsys.readouterr()

    return run_it


def test_json_is_the_document(run):
    code, out, _ = run(document("fatal"), "--json")
    assert code == 151
    assert out.count("\n") == 1
    assert json.loads(out) == document("fatal")


def test_text_in_a_pipe(run):
    assert run(DOWN) == (3, "shop: down  configuration -\n", "")


def test_not_running(run):
    assert run(ControlError("not running", NOT_RUNNING)) == (3, "", "twinwatch: not running\n")


def looks(*results):
    """Results one by one, then Ctrl-C."""
    yield from results
    raise KeyboardInterrupt


def test_watching_in_a_pipe(run):
    assert run(looks(DOWN, DOWN), "--watch") == (0, "shop: down  configuration -\n\n" * 2, "")


def test_watching_as_json(run):
    code, out, _ = run(looks(DOWN, document()), "--watch", "--json")
    assert code == 0
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["down", "up"]


def test_watching_goes_on_where_there_is_no_status(monkeypatch):
    from twinwatch.cli.status import _look

    def status(_):
        raise ControlError("just being rebuilt")

    monkeypatch.setattr(control, "status", status)
    assert plain(_look(None)) == "just being rebuilt\n"


def test_watching_on_a_terminal(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("TERM", "xterm")
    stream, found = Terminal(), looks(DOWN, document(workers=[worker()]))
    with pytest.raises(KeyboardInterrupt):
        Output(stream, is_rich=True).refresh(lambda: status_view.blocks(next(found)), 1)
    assert "web" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[?25h\x1b[?1049l")  # the cursor and the old screen are back


# --- asked by somebody who reads one number

ANCHOR = {"pid": 1, "alive": True, "generation": 1, "phase": "running", "uptime_s": 9, "heartbeat_age_s": 0.1}
LOST = document("degraded", a=DEAD, b=DEAD)


@pytest.mark.parametrize(
    ("status", "is_live", "is_ready"),
    [
        (document(), True, True),
        (document("degraded", b=DEAD), True, False),
        (document("fatal", a=DEAD), True, False),
        (LOST, False, False),
        (LOST | {"anchor": ANCHOR}, True, False),
        (LOST | {"anchor": ANCHOR | {"alive": False}}, False, False),
        (DOWN, False, False),
        (DOWN | {"anchor": ANCHOR}, True, False),
        (DOWN | {"desired": "stop", "anchor": {"pid": 1, "alive": True, "phase": "idle"}}, True, False),
        (LOST | {"anchor": ANCHOR | {"heartbeat_age_s": None}}, True, False),
        (LOST | {"anchor": ANCHOR | {"heartbeat_age_s": 181.0}}, False, False),
        (LOST | {"anchor": ANCHOR | {"heartbeat_age_s": 181.0}, "desired": "stop"}, True, False),
        (document(anchor=ANCHOR | {"heartbeat_age_s": 181.0}), True, True),
    ],
)
def test_probe(run, status, is_live, is_ready):
    for probe, is_so in (("live", is_live), ("ready", is_ready)):
        told = "" if is_so else f"shop: not {probe}: {status['state']}\n"
        assert run(status, "--probe", probe) == (0 if is_so else 1, told, "")


@pytest.mark.parametrize("probe", ["live", "ready"])
@pytest.mark.parametrize(
    "error", [ControlError("not running", NOT_RUNNING), PermissionError(13, "Permission denied")]
)
def test_probe_of_what_cannot_be_looked_at(run, probe, error):
    code, out, err = run(error, "--probe", probe)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1


def test_probe_without_a_pair(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TWINWATCH_CONFIG", raising=False)
    monkeypatch.setattr("twinwatch.control.target.PLACES", ("./twinwatch.yaml",))
    assert main(["status", "--probe", "live"]) == 1
    assert capsys.readouterr().err.startswith("twinwatch: no configuration")


def test_probe_and_the_document(run):
    code, out, _ = run(LOST, "--probe", "live", "--json")
    assert (code, json.loads(out)) == (1, LOST)


def test_a_probe_is_asked_once(capsys):
    with pytest.raises(SystemExit):
        main(["-p", "shop", "status", "--probe", "live", "--watch"])
    assert "not allowed with" in capsys.readouterr().err
