"""A heartbeat among processes: forks, other programs, other users."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from twinwatch.client.heartbeat import ACTIVE, LAYOUT, SIZE, VARIABLE

BEGIN = """
import mmap, os, signal, sys, threading, time, warnings
from twinwatch import Heartbeat
warnings.simplefilter("ignore")

def child_does(act):
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        act()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.fixture
def file():
    """A heartbeat file where every user may come; pytest's own directories are private."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    path = directory / "heartbeat"
    path.write_bytes(bytes(SIZE))
    yield path
    shutil.rmtree(directory)


def play(file, script):
    """Run a program that is guarded; gives what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", BEGIN + script],
        env={**os.environ, VARIABLE: str(file)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def read(file):
    return struct.unpack(LAYOUT, file.read_bytes())


def test_a_forked_child_shares_the_file(file):
    play(
        file,
        """
heartbeat = Heartbeat()
heartbeat.beat(5)
child_does(heartbeat.advance)
heartbeat.beat()
""",
    )
    assert read(file)[0] == 3 and read(file)[2:] == (6, ACTIVE)


def test_a_child_that_closes_leaves_the_file_to_its_parent(file):
    play(
        file,
        """
heartbeat = Heartbeat()
def leave():
    heartbeat.close()
    heartbeat.advance()
child_does(leave)
heartbeat.beat()
""",
    )
    assert read(file)[0] == 1 and read(file)[2:] == (0, ACTIVE)


def test_a_thread_is_not_inherited_and_its_lock_stops_no_child(file):
    """The fork happens while the thread holds the lock of what it waits for: nobody frees that one."""
    shown = play(
        file,
        """
heartbeat = Heartbeat(every=0.001)
heartbeat.start()
def leave():
    print(threading.active_count(), flush=True)
    heartbeat.close()
with heartbeat._stop._cond:
    child_does(leave)
heartbeat.close()
""",
    )
    assert shown == "1\n"


def test_a_child_can_begin_a_thread_of_its_own(file):
    play(
        file,
        """
heartbeat = Heartbeat(every=0.001)
heartbeat.start()
def go_on():
    heartbeat.start()
    while heartbeat._words[0] < 10:
        time.sleep(0.001)
heartbeat._stop.set()
heartbeat._thread.join()
child_does(go_on)
""",
    )
    assert read(file)[0] >= 10


def test_a_thread_keeps_no_process_alive(file):
    play(file, "Heartbeat(every=1000).start()")


def test_the_descriptor_is_not_handed_on(file):
    shown = play(
        file,
        """
import subprocess
heartbeat = Heartbeat()
heartbeat.beat()
look = [sys.executable, "-c", "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')])"]
print(subprocess.run(look, close_fds=False, stdout=subprocess.PIPE, text=True).stdout)
""",
    )
    assert "[" in shown and file.name not in shown


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o222])
def test_a_file_that_the_user_may_not_use(file, mode):
    """Root may do everything, so the program becomes somebody else."""
    file.chmod(mode)
    play(
        file,
        """
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
with Heartbeat() as heartbeat:
    assert not heartbeat.is_watched
    heartbeat.advance()
""",
    )
    assert file.read_bytes() == bytes(SIZE)


def test_a_removed_file_does_not_matter(file):
    play(
        file,
        """
with Heartbeat() as heartbeat:
    os.unlink(os.environ["TWINWATCH_HEARTBEAT"])
    heartbeat.beat()
    heartbeat._look_ns = 0
    heartbeat.beat()
    assert heartbeat.is_watched
""",
    )
    assert not file.exists()


@pytest.mark.root
def test_a_hole_in_a_full_file_system_is_not_watched(file):
    """Else its first beat would end the worker: SIGBUS."""
    script = """
path = os.environ["TWINWATCH_HEARTBEAT"]
with open(path, "wb") as file:
    file.truncate(64)
with open(path + ".rest", "wb", 0) as rest:
    try:
        while rest.write(bytes(4096)):
            pass
    except OSError as error:
        assert error.errno == 28, error
heartbeat = Heartbeat()
assert not heartbeat.is_watched
heartbeat.beat()
print("alive")
"""
    mount = 'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@"'
    play = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        mount,
        "sh",
        str(file.parent),
        sys.executable,
        "-c",
        BEGIN + script,
    ]
    run = subprocess.run(
        play,
        env={**os.environ, VARIABLE: str(file)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "alive\n"), run.stderr


def test_a_file_that_was_cut_off_ends_a_mapped_worker(file):
    """Why docs/heartbeat.md says who can do that."""
    script = "heartbeat = Heartbeat()\nos.truncate(os.environ['TWINWATCH_HEARTBEAT'], 0)\nheartbeat.beat()"
    run = subprocess.run(
        [sys.executable, "-c", BEGIN + script], env={**os.environ, VARIABLE: str(file)}, check=False
    )
    assert run.returncode == -signal.SIGBUS
