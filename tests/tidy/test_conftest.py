"""tests/conftest.py does what it says: an inner pytest run with bad tests under a copy of it."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tidy_source import ROOT

INNER = '''
import os, signal, subprocess, sys, time
import pytest
from hypothesis import given, strategies

SLEEP = [sys.executable, "-c", "import time; time.sleep({sleep})"]
DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 99)
time.sleep({sleep})
"""

def sleep_in_fork():
    pid = os.fork()
    if not pid:
        time.sleep({sleep})
        os._exit(0)
    return pid

@pytest.fixture(scope="module")
def shared():
    pid = sleep_in_fork()
    read, write = os.pipe()
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)

@pytest.fixture(scope="module")
def careless():
    sleep_in_fork()

def test_clean(shared):
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    subprocess.run(["true"])
    assert os.environ["TWINWATCH_TEST_ID"]

def test_ends_by_itself():
    os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", "import time; time.sleep(0.05)"])
    os.wait()
    if not os.fork():
        if not os.fork():
            time.sleep(0.05)
        os._exit(0)
    os.wait()

@given(strategies.integers())
def test_hypothesis(number):
    assert number == number

def test_collected_in_a_cycle():
    class Holder:
        def __init__(self):
            self.me, self.read = self, os.open("/dev/null", os.O_RDONLY)
        def __del__(self):
            os.close(self.read)
    Holder()

def test_leaks_pipe():
    os.pipe()

def test_leaks_same_number_other_file():
    os.open("/dev/null", os.O_RDONLY)

def test_leaves_child():
    os.spawnv(os.P_NOWAIT, SLEEP[0], SLEEP)

def test_leaves_fork_without_exec():
    sleep_in_fork()

def test_leaves_child_without_environment():
    os.spawnve(os.P_NOWAIT, SLEEP[0], SLEEP, {{}})

def test_leaves_daemon():
    subprocess.run([sys.executable, "-c", DAEMON], check=True)

def test_leaves_daemon_without_environment():
    subprocess.run([sys.executable, "-c", DAEMON], check=True, env={{}})

def test_leaves_stopped():
    os.kill(sleep_in_fork(), signal.SIGSTOP)

def test_leaves_two_that_revive_each_other():
    subprocess.Popen.__del__ = lambda self: None
    child = subprocess.Popen([sys.executable, "-c", """
import os, time
while True:
    while os.fork():
        os.wait()
    if os.fork():
        os.setsid()
        os.wait()
    else:
        time.sleep({sleep})
"""])
    time.sleep(0.3)

def test_leaves_zombie():
    if not os.fork():
        os._exit(0)

def test_zombie_of_another(shared):
    child = subprocess.Popen([sys.executable, "-c", """
import os, sys, time
if os.fork() == 0:
    os._exit(0)
print(flush=True)
sys.stdin.read()
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    child.communicate()

def test_fails_with_a_descriptor():
    read = os.pipe()
    assert not read

@pytest.mark.root
def test_root():
    pass

def test_shared_lives(shared):
    os.kill(shared, 0)

def test_careless(careless):
    pass
'''
SLEEP_S = 60 + os.getpid() / 1e7  # found in a command line: nothing of it may survive
EXPECTED = {
    "test_clean": "PASSED",
    "test_ends_by_itself": "PASSED",
    "test_hypothesis": "PASSED",
    "test_collected_in_a_cycle": "PASSED",
    "test_zombie_of_another": "PASSED",
    "test_shared_lives": "PASSED",
    "test_careless": "PASSED",
    "test_leaks_pipe": "leaked descriptor",
    "test_leaks_same_number_other_file": "leaked descriptor",
    "test_leaves_child": "left process",
    "test_leaves_fork_without_exec": "left process",
    "test_leaves_child_without_environment": "left process",
    "test_leaves_daemon": "left process",
    "test_leaves_daemon_without_environment": "left process",
    "test_leaves_stopped": "left process",
    "test_leaves_two_that_revive_each_other": "left process",
    "test_leaves_zombie": "left process",
    "test_fails_with_a_descriptor": "FAILED",
    "test_root": "PASSED" if os.geteuid() == 0 else "SKIPPED",
}


def run_inner(folder, source, **environment):
    shutil.copy(ROOT / "tests/conftest.py", folder)
    (folder / "test_inner.py").write_text(textwrap.dedent(source))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    root\n    unit\nfilterwarnings = error\n")
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200", **environment}
    for name in ("TWINWATCH_CI", "PYTEST_ADDOPTS"):
        environment.setdefault(name, "")
    command = [sys.executable, "-m", "pytest", "-v", "-rA", "-p", "no:cacheprovider", "test_inner.py"]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def inner(tmp_path_factory):
    return run_inner(tmp_path_factory.mktemp("inner"), INNER.format(sleep=SLEEP_S))


def outcomes(text, test):
    """Words of the progress lines of one inner test, setup to teardown."""
    return re.findall(rf"^test_inner\.py::{test} (\w+)", text, re.MULTILINE)


@pytest.mark.parametrize(("test", "expected"), EXPECTED.items())
def test_inner_test(inner, test, expected):
    found = outcomes(inner.stdout, test)
    if expected in ("PASSED", "FAILED", "SKIPPED"):
        assert found == [expected], inner.stdout
    else:
        assert found == ["PASSED", "ERROR"], inner.stdout
        section = inner.stdout.partition(f"ERROR at teardown of {test} ")[2]
        message = section.partition("\n")[2].lstrip()
        assert message.startswith(expected), inner.stdout
        assert re.match(r"[\w ]+ \d+ ", message)


def test_a_process_of_a_wider_fixture_fails_the_session(inner):
    assert inner.returncode == 1
    assert "processes left by the session: it fails" in inner.stdout


def test_leftovers_are_ended(inner):
    assert inner.returncode == 1
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert commands
    assert [command for command in commands if f"sleep({SLEEP_S})".encode() in command] == []


def test_only_a_wider_fixture_leaves_something(tmp_path):
    run = run_inner(
        tmp_path,
        """
        import os, time, pytest

        @pytest.fixture(scope="session")
        def careless():
            if not os.fork():
                time.sleep(60)

        def test_it(careless):
            pass
        """,
    )
    assert run.returncode == 1
    assert "1 passed" in run.stdout


SKIPS = """
import pytest
def test_kernel(): pytest.skip("kernel lacks pidfs")
def test_root(): pytest.skip("not root")
"""
OTHER = '@pytest.mark.skip(reason="not today")\ndef test_other(): pass\n'
XFAIL = "@pytest.mark.xfail\ndef test_xfail(): assert False\n"
WHOLE_FILE = 'import pytest\npytest.skip("no redis", allow_module_level=True)\n'


@pytest.mark.parametrize(
    ("source", "ci", "code"),
    [
        (SKIPS.replace('"not root"', '"interpreter absent: python3.13"') + XFAIL, "1", 0),
        (SKIPS, "1", 1 if os.geteuid() == 0 else 0),
        (SKIPS + OTHER, "1", 1),
        (SKIPS + OTHER, "", 0),
        (WHOLE_FILE, "1", 1),
        (WHOLE_FILE, "", 5),
    ],
)
def test_a_skip_in_ci(tmp_path, source, ci, code):
    run = run_inner(tmp_path, source, TWINWATCH_CI=ci)
    assert run.returncode == code, run.stdout
    listed = "this machine could have run it" in run.stdout
    assert listed == (code == 1)
    assert ("test_other: not today" in run.stdout) == (ci == "1" and OTHER in source)


def test_what_a_killed_inner_run_left_belongs_to_the_outer(tmp_path):
    """A pytest that is killed cannot clean up; the id of its tests begins with that of ours."""
    run = run_inner(
        tmp_path,
        """
        import os, subprocess, sys, time

        def test_outer():
            inner = "def test_it():\\n    import os, signal, subprocess, sys\\n"
            inner += "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\\n"
            inner += "    os.kill(os.getpid(), signal.SIGKILL)\\n"
            os.mkdir("inner")
            with open("inner/test_inner.py", "w") as file:
                file.write(inner)
            os.link("conftest.py", "inner/conftest.py")
            command = [sys.executable, "-m", "pytest", "-q", "-c", "pytest.ini", "inner/test_inner.py"]
            assert subprocess.run(command).returncode == -9
        """,
    )
    assert outcomes(run.stdout, "test_outer") == ["PASSED", "ERROR"], run.stdout
    assert "left process" in run.stdout


def test_the_check_is_cheap(request):
    conftest = request.config.pluginmanager.getplugin(str(ROOT / "tests/conftest.py"))
    start_ns = time.process_time_ns()  # its own: a busy machine takes longer, and does no more
    for _ in range(10):
        assert conftest.find_leftovers(conftest.Mark(1, 1, "")) == {}
    spent_ms = (time.process_time_ns() - start_ns) / 1e7
    print(f"one look at every process: {spent_ms:.1f} ms")
    assert spent_ms < 250
