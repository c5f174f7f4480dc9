"""`anchor`: what its words and options ask for, and what is refused."""

import argparse

import pytest

from twinwatch.anchor.inits import NAMES
from twinwatch.cli import anchor as command
from twinwatch.cli import parser
from twinwatch.cli.main import main
from twinwatch.config.problem import ConfigError, Problem
from twinwatch.control import anchor, install
from twinwatch.control.errors import ControlError
from twinwatch.control.install import Outcome
from twinwatch.control.site import Site
from twinwatch.linux.paths import PathError


@pytest.fixture
def asked(monkeypatch):
    """Every operation notes how it was asked; an anchor that is asked for ends by `asked.error`."""

    class Asked(list):
        error: Exception = SystemExit(0)
        outcome = Outcome(["wrote it"])

    asked = Asked()

    def guard(config_path, environ, *, watchdog_device, ready_fd):
        asked.append(("anchor", config_path, watchdog_device, ready_fd))
        raise asked.error

    def duty_of(config_path, environ, at, *, scan_dir, watchdog_device):
        asked.append(("duty", config_path, at, scan_dir, watchdog_device))
        return "duty"

    def lay(duty, at):
        asked.append(("install", duty))
        return asked.outcome

    def take_away(paths, environ, at, *, scan_dir):
        asked.append(("uninstall", paths.pair, at, scan_dir))
        return asked.outcome

    monkeypatch.setattr(anchor, "anchor", guard)
    monkeypatch.setattr(install, "duty_of", duty_of)
    monkeypatch.setattr(install, "install", lay)
    monkeypatch.setattr(install, "uninstall", take_away)
    monkeypatch.setattr(install, "pages", lambda _duty, _at: iter(["# ---- /a\nx\n", "# ---- /b\n\udcff\n"]))
    return asked


@pytest.fixture
def slept(monkeypatch):
    pauses = []
    monkeypatch.setattr(command.time, "sleep", pauses.append)
    return pauses


# ---------------------------------------------------------------------- the anchor itself


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("shop.yaml",), ("shop.yaml", None, None)),
        (("-c", "shop.yaml"), ("shop.yaml", None, None)),
        (("--ready-fd", "3", "shop.yaml"), ("shop.yaml", None, 3)),
        (("shop.yaml", "--watchdog-device", "/dev/watchdog0"), ("shop.yaml", "/dev/watchdog0", None)),
        (("./install", "--pause", "1s"), ("./install", None, None)),
    ],
)
def test_in_the_foreground(asked, argv, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text("pair: shop\n")
    with pytest.raises(SystemExit):
        main(["anchor", *argv])
    assert asked == [("anchor", *expected)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError([Problem("shop.yaml", 1, 1, "", "bad")]), 2),
        (ControlError("another anchor of pair shop lives (PID 5)"), 1),
        (PathError("/run/twinwatch is a symlink: remove it"), 1),
    ],
)
def test_one_that_cannot_start_leaves_at_once_unless_told_to_wait(asked, slept, capsys, error, code):
    asked.error = error
    assert main(["anchor", "shop.yaml"]) == code
    assert main(["anchor", "shop.yaml", "--pause", "1500ms"]) == code
    assert slept == [0, 1.5]
    assert capsys.readouterr().out == ""


def test_a_pause_is_for_nothing_else(asked, slept):
    with pytest.raises(SystemExit):
        main(["anchor", "shop.yaml", "--pause", "1s"])
    assert slept == []


# ---------------------------------------------------------------------- what an init needs


def test_install(asked, capsys, tmp_path):
    root = str(tmp_path)
    argv = ["anchor", "install", "--init", "s6", "shop.yaml", "--root", root, "--scan-dir", "/x", "--force"]
    assert main([*argv, "--watchdog-device", "/dev/w"]) == 0
    assert asked == [("duty", "shop.yaml", Site("s6", root, force=True), "/x", "/dev/w"), ("install", "duty")]
    assert capsys.readouterr() == ("wrote it\n", "")


def test_a_command_that_failed_is_told(asked, capsys):
    asked.outcome = Outcome(["failed: telinit q: no such init"], is_whole=False)
    assert main(["anchor", "install", "shop.yaml", "--init", "sysvinit"]) == 1
    assert capsys.readouterr().out == "failed: telinit q: no such init\n"


def test_words_stand_on_both_sides_of_options(asked):
    for argv in (
        ["install", "shop.yaml", "--init", "cron"],
        ["install", "--init", "cron", "shop.yaml"],
        ["--init", "cron", "install", "shop.yaml"],
    ):
        assert main(["anchor", *argv]) == 0
    assert [one for one in asked if one[0] == "duty"] == [("duty", "shop.yaml", Site("cron"), None, None)] * 3


def test_print_is_byte_by_byte(asked, capfdbinary):
    assert main(["--color", "always", "anchor", "print", "--init", "cron", "shop.yaml"]) == 0
    assert capfdbinary.readouterr().out == b"# ---- /a\nx\n\n# ---- /b\n\xff\n"


def test_uninstall_needs_no_more_than_a_name(asked, tmp_path):
    wrong = tmp_path / "shop.yaml"
    wrong.write_text("pair: shop\nworkers: 5\n")
    assert main(["-p", "shop", "anchor", "uninstall", "--init", "runit", "--scan-dir", "/x"]) == 0
    assert main(["anchor", "uninstall", "--init", "cron", str(wrong)]) == 0
    assert asked == [("uninstall", "shop", Site("runit"), "/x"), ("uninstall", "shop", Site("cron"), None)]


def test_a_root_is_a_directory(asked, capsys, tmp_path):
    argv = ["anchor", "install", "--init", "cron", "shop.yaml", "--root"]
    assert main([*argv, str(tmp_path / "none")]) == 2
    assert "is no directory" in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("install", "shop.yaml"), "install needs --init NAME: one of systemd, "),
        (("uninstall",), "uninstall needs --init NAME"),
        (("print",), "print needs --init NAME"),
        (("install", "a.yaml", "b.yaml", "--init", "cron"), "one CONFIG, not 2: a.yaml b.yaml"),
        (("a.yaml", "install"), "one CONFIG, not 2: a.yaml install"),
        (("install", "print", "a.yaml", "--init", "cron"), "one CONFIG, not 2: print a.yaml"),
        (("a.yaml", "--init", "cron"), "--init goes with install, uninstall or print"),
        (("a.yaml", "--root", "/x"), "--root goes with install"),
        (("a.yaml", "--scan-dir", "/x"), "--scan-dir goes with install"),
        (("a.yaml", "--force"), "--force goes with install"),
        (("install", "--init", "s6", "--ready-fd", "4"), "--ready-fd does not go with install"),
        (("print", "--init", "s6", "--pause", "1s"), "--pause does not go with print"),
        (("install", "--init", "upstart"), "invalid choice: 'upstart'"),
        (("--ready-fd", "2"), "must be 3 or more"),
        (("--ready-fd", "-3"), ""),
        (("install", "--init", "cron", "--hard", "shop.yaml"), "--hard"),
    ],
)
def test_wrong_usage(asked, capsys, argv, said):
    with pytest.raises(SystemExit) as stop:
        main(["anchor", *argv])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: twinwatch") and said in err
    assert asked == []


def test_help_names_every_init(capsys):
    with pytest.raises(SystemExit):
        parser.parse(["anchor", "--help"], argparse.Namespace())
    out = capsys.readouterr().out
    assert out.startswith("usage: twinwatch anchor [CONFIG]")
    assert [name for name in NAMES if name not in out] == []
