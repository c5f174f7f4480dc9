"""README.md: its commands, codes, configuration and places are those of the code."""

import argparse
import os
import re
from pathlib import Path

from twinwatch.cli import parser, status
from twinwatch.config.load import load
from twinwatch.control import errors
from twinwatch.linux import paths

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
COMMAND_CELL = re.compile(r"^\| (`[^|]*) \|", re.MULTILINE)


def section(title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)[1]


def commands() -> set[str]:
    actions = parser.build()._actions
    return set(next(action for action in actions if isinstance(action, argparse._SubParsersAction)).choices)


def test_table_of_commands():
    cells = COMMAND_CELL.findall(section("Commands"))
    named = {word for cell in cells for text in re.findall(r"`([^`]*)`", cell) for word in text.split()[:1]}
    assert named == commands()


def test_exit_codes():
    text = " ".join(section("Commands").split())
    for number, meaning in (
        (errors.FAILED, "failed"),
        (errors.USAGE, "usage"),
        (errors.NOT_ALLOWED, "not allowed"),
        (errors.NOT_INSTALLED, "no such worker"),
        (errors.NOT_CONFIGURED, "no configuration found"),
        (errors.NOT_RUNNING, "not running"),
        (status.DEAD, "should run but no watcher lives"),
        (status.DOWN, "down"),
        (status.UNKNOWN, "cannot be told"),
        (status._CODES["degraded"], "degraded"),
        (status._CODES["fatal"], "a worker gave up"),
    ):
        assert f" {number} {meaning}" in text


def test_the_configuration_is_right(tmp_path, monkeypatch):
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / "shop.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", section("Configuration"), re.DOTALL)[1])
    file.chmod(0o644)
    spec = load(str(file), os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert [(worker.name, worker.instances) for worker in spec.workers] == [("db", 1), ("web", 2)]


def test_places():
    text = section("Where files live")
    for name in (paths.ROOT_RUNTIME, paths.ROOT_STATE, paths.RUNTIME_VARIABLE, paths.STATE_VARIABLE):
        assert f"`{name}" in text
    found = paths.Paths("demo", "/run", "/lib")
    for place in (found.events, found.wishes, found.own_log, found.logs):
        assert Path(place).name in text


def test_the_two_commands_are_there():
    for name in re.findall(r"^scripts/([a-z-]+)", TEXT, re.MULTILINE):
        assert os.access(ROOT / "scripts" / name, os.X_OK)
