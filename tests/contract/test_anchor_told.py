"""`anchor install` and `uninstall` on the machine itself: who may, what the init is told, and when."""

import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from twinwatch.anchor.inits import catalog
from twinwatch.anchor.inits.recipe import MARK, Duty, File, Link, Live, Recipe, Step
from twinwatch.control import access, install
from twinwatch.control.errors import NOT_ALLOWED, NOT_RUNNING, USAGE, ControlError
from twinwatch.control.site import Site
from twinwatch.linux.paths import Paths

SHOP = Duty("shop")


class Told:
    """An init of this machine: its file, its link, and a program that notes what it is told."""

    def __init__(self, tmp_path):
        self.file, self.link = tmp_path / "unit", tmp_path / "wants"
        self.notes = tmp_path / "notes"
        self.program = tmp_path / "tell"
        self.says("true")
        text = f"{MARK} pair shop, init cron\n"
        self.recipe = Recipe(
            init="cron",
            items=(File(str(self.file), text), Link(str(self.link), str(self.file))),
            start="tell begin",
            stop="",
            look="",
            installed=self.step("again"),
            before_removal=self.step("before"),
            unlinked=self.step("unlinked"),
            removed=self.step("removed"),
            notes=("it is so",),
        )

    def step(self, word):
        return Step((str(self.program), word))

    def says(self, command):
        there = f"$([ -e {self.file} ] && echo file)$([ -L {self.link} ] && echo link)"
        self.program.write_text(f"#!/bin/sh\necho $1 {there} >>{self.notes}\n{command}\n")
        self.program.chmod(0o755)

    def noted(self):
        lines = self.notes.read_text().splitlines()
        self.notes.unlink()
        return lines


@pytest.fixture
def told(tmp_path, monkeypatch):
    told = Told(tmp_path)
    monkeypatch.setattr(catalog, "recipe", lambda _init, _duty: told.recipe)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return told


def paths(tmp_path):
    return Paths("shop", str(tmp_path / "run"), str(tmp_path / "lib"))


def test_the_init_is_told_when_there_is_something_new(told):
    first = install.install(SHOP, Site("cron"))
    assert first.lines == [
        f"wrote {told.file}",
        f"wrote {told.link}",
        f"ran: {told.program} again",
        "note: it is so",
        "start it: tell begin",
    ]
    assert first.is_whole
    assert told.noted() == ["again filelink"]
    assert install.install(SHOP, Site("cron")).lines == [
        "nothing to do: cron has all that the anchor of pair shop needs"
    ]
    assert not told.notes.exists()


def test_what_has_been_started_so_is_not_said_to_be_started(told):
    told.recipe = replace(told.recipe, start=f"{told.program} again")
    assert not any("start it" in line for line in install.install(SHOP, Site("cron")).lines)


def test_uninstall_in_its_order(told, tmp_path):
    install.install(SHOP, Site("cron"))
    told.noted()
    outcome = install.uninstall(paths(tmp_path), {}, Site("cron"), scan_dir=None)
    assert outcome.lines == [
        f"ran: {told.program} before",
        f"removed {told.link}",
        f"ran: {told.program} unlinked",
        f"removed {told.file}",
        f"ran: {told.program} removed",
    ]
    assert told.noted() == ["before filelink", "unlinked file", "removed"]


def test_a_command_that_fails_is_told(told):
    told.says("echo first; echo it is no good >&2; exit 3")
    outcome = install.install(SHOP, Site("cron"))
    assert f"failed: {told.program} again: it is no good" in outcome.lines
    assert not outcome.is_whole
    told.file.unlink()
    told.says("exit 3")
    assert f"failed: {told.program} again: exit code 3" in install.install(SHOP, Site("cron")).lines


def test_a_command_of_an_init_that_is_not_here_is_not_run(told):
    told.program.unlink()
    outcome = install.install(SHOP, Site("cron"))
    assert f"not run: {told.program} again: there is no such program" in outcome.lines
    assert outcome.is_whole


@pytest.mark.parametrize(
    ("live", "there", "is_live"),
    [
        (Live.SYSTEMD, {"/run/systemd/system"}, True),
        (Live.SYSTEMD, {"/run/initctl"}, False),
        (Live.SYSTEMD_USER, {"/run/user/1/systemd/private"}, True),
        (Live.SYSTEMD_USER, {"/run/systemd/system"}, False),
        (Live.SYSVINIT, {"/run/initctl"}, True),
        (Live.SYSVINIT, {"/dev/initctl"}, True),
        (Live.SYSVINIT, {"/run/initctl", "/run/systemd/system"}, False),
        (Live.SYSVINIT, set(), False),
        (Live.BUSYBOX, {"init", "/bin/busybox"}, True),
        (Live.BUSYBOX, {"init", "/usr/sbin/init"}, False),
        (Live.BUSYBOX, {"sh", "/bin/busybox"}, False),
    ],
)
def test_whether_an_init_is_at_work(live, there, is_live, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    monkeypatch.setattr(os.path, "exists", there.__contains__)
    monkeypatch.setattr(os.path, "isdir", there.__contains__)
    programs = [name for name in there if "/" in name]
    names = [name for name in there if "/" not in name]
    monkeypatch.setattr(install, "_first_process", lambda: (names[0], programs[0]))
    assert install.is_live(Step(("/bin/sh",), live)) == is_live


def test_the_first_process_of_this_machine():
    name, program = install._first_process()
    assert name == Path("/proc/1/comm").read_text().strip()
    assert program == "" or os.path.isabs(program)


def test_only_root_may(told, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for act in (
        lambda: install.install(SHOP, Site("cron")),
        lambda: install.uninstall(paths(tmp_path), {}, Site("cron"), scan_dir=None),
    ):
        with pytest.raises(ControlError, match="only root can") as refused:
            act()
        assert refused.value.exit_code == NOT_ALLOWED
    install.install(SHOP, Site("systemd-user"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ControlError, match="root has `--init systemd`") as refused:
        install.install(SHOP, Site("systemd-user"))
    assert refused.value.exit_code == USAGE


def test_a_pair_that_is_up_is_not_taken_away_from_its_init(told, monkeypatch, tmp_path):
    install.install(SHOP, Site("cron"))
    told.noted()
    watchers = {"a": "alive"}

    @contextmanager
    def opened(_paths):
        if not watchers:
            raise ControlError("not running", NOT_RUNNING)
        yield None

    monkeypatch.setattr(access, "opened", opened)
    monkeypatch.setattr(access, "living_watchers", lambda _state: watchers)
    with pytest.raises(ControlError, match="`twinwatch -p shop down` first, or --force"):
        install.uninstall(paths(tmp_path), {}, Site("cron"), scan_dir=None)
    assert told.file.exists() and not told.notes.exists()
    assert install.uninstall(paths(tmp_path), {}, Site("cron", force=True), scan_dir=None).is_whole
    assert not told.file.exists()
    install.install(SHOP, Site("cron"))
    watchers.clear()
    assert install.uninstall(paths(tmp_path), {}, Site("cron"), scan_dir=None).is_whole


def test_a_name_that_leads_elsewhere_is_none(told, tmp_path):
    with pytest.raises(ControlError, match="is no pair's name"):
        install.uninstall(Paths("../x", "/r", "/s"), {}, Site("cron"), scan_dir=None)


def test_a_file_is_whole_or_not_there(told, monkeypatch):
    """A full disk leaves the old file, and no draft of the new one."""
    told.file.write_text(f"{MARK} pair shop, init cron\nold\n")

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        install.install(SHOP, Site("cron"))
    assert told.file.read_text().endswith("old\n")
    assert [path.name for path in told.file.parent.glob(".twinwatch*")] == []
