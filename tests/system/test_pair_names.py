"""One pair for one name: the same name twice is refused, the same `up` twice changes nothing."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_pair import LivePair, until

NOBODY = 65534
# Imports all that `up` may import, then becomes nobody: the interpreter may lie in root's home.
AS_NOBODY = f"""
import argparse, importlib, os, pkgutil, shutil, sys, twinwatch
for found in pkgutil.walk_packages(twinwatch.__path__, "twinwatch."):
    if not found.name.startswith(("twinwatch.__main__", "twinwatch.watch.boot", "twinwatch.chaos")):
        importlib.import_module(found.name)
from twinwatch.cli import parser
from twinwatch.config.load import load
parser.parse(sys.argv[1:], argparse.Namespace())
load(sys.argv[2], os.environ)
os.setgroups([]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
from twinwatch.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def running(pair: LivePair) -> LivePair:
    pair.configure(pair.lone("web") + pair.lone("db"))
    pair.up()
    pair.wait_whole()
    pair.wait_at_work("web", "db")
    return pair


def picture(pair: LivePair) -> tuple[object, ...]:
    """Everything that an `up` which changes nothing leaves as it is."""
    identities = {label: slot.identity for label, slot in pair.workers().items()}
    return pair.generations(), identities, set(pair.everyone()), pair.state.header().config_generation


def refusal(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    """The one line that a refused command writes."""
    assert done.returncode == code, done
    assert done.stderr.startswith("twinwatch: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_another_configuration(running: LivePair):
    before = picture(running)
    other = running.directory / "other.yaml"
    shutil.copy(running.config, other)
    said = refusal(running.call("up", str(other), check=False), 1)
    assert str(running.config) in said
    assert str(other) in said
    assert picture(running) == before
    said = refusal(running.call("reload", "-c", str(other), check=False), 1)
    assert str(other) in said
    assert picture(running) == before


def test_the_same_file_by_other_paths(running: LivePair):
    before = picture(running)
    link = running.directory / "link.yaml"
    link.symlink_to(running.config)
    for path in ("twinwatch.yaml", "./twinwatch.yaml", str(link)):
        running.call("up", path)
    running.call("up")
    assert picture(running) == before


def test_up_again_and_again(running: LivePair):
    before = picture(running)
    for _ in range(3):
        running.up()
    running.wait_beats()
    assert picture(running) == before
    assert [len(running.births(name)) for name in ("web", "db")] == [1, 1]


def test_ups_at_once(pair: LivePair):
    pair.configure(pair.lone("web") + pair.lone("db"))
    ups = [pair.begin("up", str(pair.config)) for _ in range(4)]
    answers = [(up.communicate()[0], up.returncode) for up in ups]
    assert [code for _, code in answers] == [0] * 4, answers
    pair.wait_whole()
    assert pair.generations() == {"a": 1, "b": 1, "web": 1, "db": 1}
    until(lambda: len(pair.guards()) == len(pair.everyone()) == 6, "two watchers with two reserves each")


def test_a_changed_file(running: LivePair):
    before = picture(running)
    running.configure(running.lone("web") + running.lone("db") + running.lone("mail"))
    said = refusal(running.call("up", str(running.config), check=False), 1)
    assert "twinwatch reload" in said
    assert picture(running) == before
    running.call("reload", "-p", running.name)
    running.up()
    running.wait_at_work("mail")
    assert {name: len(running.births(name)) for name in ("web", "db", "mail")} == {
        "web": 1,
        "db": 1,
        "mail": 1,
    }


def test_a_broken_file(running: LivePair):
    """Nothing is touched, and the pair can still be looked at and ended by its file."""
    before = picture(running)
    running.config.write_text(running.config.read_text() + "wrokers: {}\n")
    done = running.call("up", str(running.config), check=False)
    assert done.returncode == 2
    assert f"{running.config}:" in done.stderr
    assert picture(running) == before
    running.call("down", "-c", str(running.config))
    assert running.processes() == []


# ---------------------------------------------------------------- root and another user


@pytest.fixture
def public(tmp_path: Path) -> Iterator[LivePair]:
    """A pair in the real places of root, with a name of its own and a file that anybody may read."""
    directory = Path("/tmp") / f"twinwatch-test-{secrets.token_hex(6)}"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    pair = LivePair(directory, f"test-{secrets.token_hex(6)}")
    pair.runtime, pair.kept = Path("/run/twinwatch") / pair.name, Path("/var/lib/twinwatch") / pair.name
    for variable in ("TWINWATCH_RUNTIME_DIR", "TWINWATCH_STATE_DIR"):
        pair.environ.pop(variable, None)
    pair.configure("  web:\n    command: [/bin/sleep, infinity]\n")
    yield pair
    pair.end()
    for path in (directory, pair.runtime, pair.kept, Path("/tmp") / f"twinwatch-{NOBODY}" / pair.name):
        shutil.rmtree(path, ignore_errors=True)
    pair.kept.with_name(f"{pair.name}.lock").unlink(missing_ok=True)


def up_as_nobody(pair: LivePair, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "up", str(pair.config)],
        env={**pair.environ, "HOME": str(pair.directory / "home"), **environ},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


@pytest.mark.root
@pytest.mark.parametrize("own_place", [True, False], ids=["XDG_RUNTIME_DIR", "tmp"])
def test_another_user(public: LivePair, *, own_place: bool):
    """Root's pair lives: nobody's `up` of the same name is refused before anything is made."""
    public.up()
    public.wait_whole()
    before = public.generations()
    home = public.directory / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    done = up_as_nobody(public, **({"XDG_RUNTIME_DIR": str(home)} if own_place else {"XDG_RUNTIME_DIR": ""}))
    said = refusal(done, 4)
    assert "UID 0" in said
    assert str(public.runtime) in said
    assert list(home.iterdir()) == []
    assert not (Path("/tmp") / f"twinwatch-{NOBODY}" / public.name).exists()
    assert public.generations() == before


@pytest.mark.root
def test_root_after_a_user(public: LivePair):
    """The user's runtime directory is there: root's `up` of that name is refused and names it."""
    theirs = Path("/tmp") / f"twinwatch-{NOBODY}" / public.name
    theirs.mkdir(parents=True)
    os.chown(theirs, NOBODY, NOBODY)
    try:
        said = refusal(public.call("up", str(public.config), check=False), 4)
        assert f"UID {NOBODY}" in said
        assert str(theirs) in said
    finally:
        theirs.rmdir()
        theirs.parent.rmdir()
    assert not public.runtime.exists()
    public.up()
    public.wait_whole()
