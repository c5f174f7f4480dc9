"""Registration across users: only the pair's owner registers, and only what it may end."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from beating_kit import outside
from live_pair import LivePair
from test_pair_names import AS_NOBODY, NOBODY, public  # noqa: F401 - a fixture
from worker_kit import SLEEP

pytestmark = pytest.mark.root
ROOT = Path(__file__).resolve().parents[2]
BECOME = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
LOADS = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import twinwatch.watch.frame; sys.exit(sys.version_info < (3, 11))"


def python_for_nobody() -> str:
    """An interpreter that nobody may execute: the tests' own may lie in somebody's home."""
    for python in (sys.executable, "/usr/bin/python3"):
        with suppress(PermissionError, FileNotFoundError):
            command = [python, "-I", "-S", "-c", LOADS]
            if subprocess.run(command, capture_output=True, check=False, cwd="/", **BECOME).returncode == 0:
                return python
    return pytest.skip(f"interpreter absent: none of Python 3.11 that UID {NOBODY} may execute")


def as_nobody(pair: LivePair, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """`twinwatch ARGUMENTS` of a process that is nobody's; watchers are born in an interpreter of its own."""
    program = f"import encodings.ascii, sys\n{AS_NOBODY}".replace(
        "sys.exit(main(", f"sys.executable = {python_for_nobody()!r}\nsys.exit(main("
    )
    program = program.replace("load(sys.argv[2], os.environ)", f"load({str(pair.config)!r}, os.environ)")
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**pair.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def make_home(pair: LivePair) -> Path:
    home = pair.directory / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    return home


def register(pid: int, name: str = "job") -> list[str]:
    return ["register", name, "--timeout", "1s", "--pid", str(pid), "--directory", "/", "--", *SLEEP]


def test_who_does_not_own_the_pair_registers_nothing(public: LivePair):  # noqa: F811
    """Neither where root's pair is nor where its own would be."""
    home = make_home(public)
    public.up()
    public.wait_whole()
    before = (public.generations(), public.state.header().config_generation)
    with outside(public, *SLEEP, uid=NOBODY) as process:
        there = {"TWINWATCH_RUNTIME_DIR": "/run/twinwatch", "TWINWATCH_STATE_DIR": "/var/lib/twinwatch"}
        own = {"HOME": str(home), "XDG_STATE_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
        for environ, code in ((there, 1), (own, 7)):
            done = as_nobody(public, "-p", public.name, *register(process.pid), **environ)
            assert (done.returncode, done.stdout) == (code, ""), done
            assert (done.stderr.startswith("twinwatch: "), done.stderr.count("\n")) == (True, 1), done.stderr
        assert process.poll() is None
    assert (public.generations(), public.state.header().config_generation) == before


def test_a_pair_that_is_not_roots_guards_its_own_users_processes_only(public: LivePair):  # noqa: F811
    home = make_home(public)
    public.runtime, public.kept = home / "run" / public.name, home / "lib" / public.name
    public.environ |= {"TWINWATCH_RUNTIME_DIR": str(home / "run"), "TWINWATCH_STATE_DIR": str(home / "lib")}
    up = as_nobody(public, "up", str(public.config))
    try:
        assert up.returncode == 0, up.stderr
        with outside(public, *SLEEP) as roots, outside(public, *SLEEP, uid=NOBODY) as own:
            done = as_nobody(public, "-p", public.name, *register(roots.pid))
            assert done.stderr == f"twinwatch: process {roots.pid} belongs to UID 0, not to you\n"
            assert done.returncode == 4
            done = as_nobody(public, "-p", public.name, *register(own.pid))
            assert done.returncode == 0, done.stderr
            assert Path(done.stdout.strip()).stat().st_uid == NOBODY
            assert public.worker("job").identity.pid == own.pid
            as_nobody(public, "-p", public.name, "stop", "job")
            assert (own.wait(60), roots.poll()) == (-15, None)
    finally:
        public.forget_state()
        down = as_nobody(public, "-p", public.name, "down")
        shutil.rmtree(home)
    assert down.returncode == 0, down.stderr
