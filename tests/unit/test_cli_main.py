"""Whatever goes wrong ends in one line and an exit code."""

import errno
import os
import subprocess
import sys

import pytest

from twinwatch import __version__
from twinwatch.cli.main import main
from twinwatch.config.problem import ConfigError, Problem
from twinwatch.config.snapshot import SnapshotError
from twinwatch.control import dump
from twinwatch.control.errors import NOT_INSTALLED, ControlError
from twinwatch.core.record import Damage
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.paths import PathError
from twinwatch.linux.statefile import StateMoved

PROBLEMS = [Problem("x.yaml", 2, 3, "pair", "bad"), Problem("x.yaml", 1, 1, "", "worse")]


def raising(error):
    def raise_it(*_, **__):
        raise error

    return raise_it


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs `state` where the operation raises; gives exit code and stderr."""
    monkeypatch.setenv("TWINWATCH_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("TWINWATCH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("TWINWATCH_DEBUG", raising=False)

    def run_it(error):
        monkeypatch.setattr(dump, "dump", raising(error))
        return main(["-p", "shop", "state"]), capsys.readouterr().err

    return run_it


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ControlError("no worker x", NOT_INSTALLED), 5, "no worker x"),
        (PathError("/x is a symlink: remove it"), 1, "/x is a symlink: remove it"),
        (SnapshotError("config.1.json: damaged"), 1, "config.1.json: damaged"),
        (ConfigError(PROBLEMS[:1]), 2, "x.yaml:2:3: pair: bad"),
        (LockWedged(7, "D"), 1, "state lock held by PID 7 in state D"),
        (Damage("magic"), 1, "magic"),
        (StateMoved(), 1, "try again"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 4, "/x: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_an_error_is_one_line(run, error, code, text):
    found, err = run(error)
    assert found == code
    assert err.startswith("twinwatch: ")
    assert text in err
    assert err.count("\n") == 1


def test_many_problems_are_counted(run):
    code, err = run(ConfigError(PROBLEMS))
    assert code == 2
    assert err.splitlines() == [
        "twinwatch: x.yaml:1:1: worse",
        "twinwatch: x.yaml:2:3: pair: bad",
        "twinwatch: 2 problems in x.yaml",
    ]


def test_interrupted(run):
    assert run(KeyboardInterrupt()) == (130, "")


def test_our_own_errors_are_shown_whole(run):
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError())


def test_a_traceback_on_request(run, monkeypatch):
    monkeypatch.setenv("TWINWATCH_DEBUG", "1")
    code, err = run(ControlError("no"))
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("twinwatch: no\n")


def call(*argv, **how):
    return subprocess.run(
        [sys.executable, "-m", "twinwatch", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **how,
    )


def test_version():
    assert call("--version").stdout == f"twinwatch {__version__}\n"


def call_without_reader(*argv, **environ):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "twinwatch", *argv],
        stdout=write,
        stderr=subprocess.PIPE,
        env=os.environ | environ,
        timeout=60,
        check=False,
    )
    os.close(write)
    return process.returncode, process.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_left(tmp_path, unbuffered):
    (tmp_path / "shop.yaml").write_text("pair: shop\nworkers: {web: {command: [sleep, '1']}}\n")
    (tmp_path / "shop.yaml").chmod(0o600)
    command = ("check", str(tmp_path / "shop.yaml"))
    assert call_without_reader(*command, PYTHONUNBUFFERED=unbuffered) == (141, b"")


def test_a_reader_of_the_help_that_left():
    """Unbuffered, some versions of argparse take no notice."""
    assert call_without_reader("--help", PYTHONUNBUFFERED="") == (141, b"")
    assert call_without_reader("--help", PYTHONUNBUFFERED="1") in ((0, b""), (141, b""))


def test_no_stdout_at_all():
    process = call("doctor", "--help", preexec_fn=lambda: os.close(1))
    assert (process.returncode, process.stderr) == (0, "")


def test_help_loads_nothing_slow():
    program = "import sys, twinwatch.cli.parser as p; p.build().format_help(); print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"yaml", "rich", "psutil", "filelock", "ctypes"} & set(run.stdout.split())


def test_commands_without_any_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TWINWATCH_CONFIG", raising=False)
    if os.path.exists("/etc/twinwatch/twinwatch.yaml"):
        monkeypatch.setattr("twinwatch.control.target.PLACES", ())
    assert main(["down"]) == 6
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["status"]) == 4
