"""What a worker is born into: its folder, its environment, its limits, its descriptors, its signals."""

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

from worker_kit import SLEEP, LivePair, entry, kill_watchers, status_field, until, wait_running

from twinwatch.core.values import WATCHER_ROLES


def environ_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(line.split("=", 1) for line in lines if line)


def limits_of(pid: int, name: str) -> tuple[str, str]:
    line = next(
        line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith(name)
    )
    soft, hard = line.removeprefix(name).split()[:2]
    return soft, hard


def descriptors_of(pid: int) -> dict[int, str]:
    folder = f"/proc/{pid}/fd"
    return {int(fd): os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}


def pid_of(pair: LivePair, label: str = "w") -> int:
    return wait_running(pair, label)[0].identity.pid


def born_again(pair: LivePair, label: str = "w") -> int:
    """The PID of the next generation, which another watcher gave birth to than the first."""
    kill_watchers(pair)
    slot = pair.worker(label)
    pair.kill(slot.identity)
    return wait_running(pair, label, generation=slot.generation + 1)[0].identity.pid


def generations(pair: LivePair, label: str = "w") -> Iterator[int]:
    """The PIDs of two generations, one after the other."""
    yield pid_of(pair, label)
    yield born_again(pair, label)


def test_environment_is_inherited_without_what_was_meant_for_others(pair: LivePair):
    inherited = {"KEPT": "1", "OVERRIDDEN": "old", "PATH": os.environ["PATH"]}
    foreign = {
        "NOTIFY_SOCKET": "/run/x",
        "LISTEN_FDS": "3",
        "LISTEN_PID": "1",
        "LISTEN_FDNAMES": "a",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "TWINWATCH_GENERATION": "99",
        "TWINWATCH_CONFIG": "/no/such",
    }
    pair.environ |= inherited | foreign
    own = {"OVERRIDDEN": "new", "NUMBER": "{instance}", "EMPTY": ""}
    pair.configure(entry("w", SLEEP, environment=own, instances=2))
    pair.up()
    for label, instance in (("w", "0"), ("w:1", "1")):
        pid = pid_of(pair, label)
        found = environ_of(pid)
        assert found["KEPT"] == "1"
        assert (found["OVERRIDDEN"], found["NUMBER"], found["EMPTY"]) == ("new", instance, "")
        ours = {
            name: value
            for name, value in found.items()
            if name.startswith("TWINWATCH_") and name != "TWINWATCH_TEST_ID"
        }
        assert ours == {
            "TWINWATCH_PAIR": "shop",
            "TWINWATCH_WORKER": "w",
            "TWINWATCH_INSTANCE": instance,
            "TWINWATCH_GENERATION": "1",
            "TWINWATCH_HEARTBEAT": f"{pair.runtime}.workers/w.{instance}",
        }
        assert not set(foreign) & set(found) - {"TWINWATCH_GENERATION"}
    found = environ_of(born_again(pair))
    assert (found["TWINWATCH_GENERATION"], found["KEPT"], found["NUMBER"]) == ("2", "1", "0")


def test_directory_and_umask(pair: LivePair):
    room = pair.directory / "room"
    room.mkdir()
    pair.configure(entry("w", SLEEP, directory="room", umask="027") + entry("usual", SLEEP))
    pair.up()
    for pid in generations(pair):
        assert os.readlink(f"/proc/{pid}/cwd") == str(room)
        assert status_field(pid, "Umask") == "0027"
    assert os.readlink(f"/proc/{pid_of(pair, 'usual')}/cwd") == str(pair.directory)
    assert status_field(pid_of(pair, "usual"), "Umask") == "0022"


def test_limits_are_its_own(pair: LivePair):
    pair.configure(
        entry(
            "w",
            SLEEP,
            rlimits={
                "nofile": {"soft": 100, "hard": 200},
                "core": 0,
                "as": "1GiB",
                "fsize": {"soft": "1MiB", "hard": "unlimited"},
            },
        )
        + entry("usual", SLEEP)
    )
    pair.up()
    for pid in generations(pair):
        assert limits_of(pid, "Max open files") == ("100", "200")
        assert limits_of(pid, "Max core file size") == ("0", "0")
        assert limits_of(pid, "Max address space") == (str(1 << 30), str(1 << 30))
        assert limits_of(pid, "Max file size")[0] == str(1 << 20)
    usual = tuple(map(str, resource.getrlimit(resource.RLIMIT_NOFILE)))
    assert limits_of(pid_of(pair, "usual"), "Max open files") == usual


def test_session_and_group_are_its_own(pair: LivePair):
    pair.configure(entry("w", SLEEP, instances=2))
    pair.up()
    for label in ("w", "w:1"):
        for pid in generations(pair, label):
            assert os.getsid(pid) == os.getpgid(pid) == pid
            assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4] == "0", "no terminal"


def test_descriptors_are_the_standard_ones_and_the_token(pair: LivePair):
    """Nothing of a watcher leaks: no state file, no epoll, no pidfd, no gate of a sibling."""
    pair.configure(entry("w", SLEEP, instances=3))
    pair.up()
    for label in ("w", "w:1", "w:2"):
        for pid in generations(pair, label):
            found = descriptors_of(pid)
            name = f"w.{label[2:]}.log" if label != "w" else "w.log"
            log = str(pair.kept / "log" / name)
            tokens = [path for fd, path in found.items() if fd > 2]
            assert [found[0], found[1], found[2]] == ["/dev/null", log, log]
            assert tokens == [str(pair.kept / "token" / f"w.{label[2:] or 0}")]
            assert sorted(found)[:3] == [0, 1, 2] and max(found) >= 64, "3, 4, 5 are free for the program"


def test_signals_are_as_a_program_expects_them(pair: LivePair):
    """No signal blocked, ignored or pending, SIGPIPE included, which Python itself ignores."""
    pair.configure(entry("w", SLEEP))
    pair.up()
    for pid in generations(pair):
        for name in ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"):
            assert int(status_field(pid, name), 16) == 0, name


def test_log_is_appended_to_its_own_file(pair: LivePair):
    """Two instances, two files; the next generation and the next watchers go on behind the last line."""
    script = 'echo "out $TWINWATCH_GENERATION"; echo "err $TWINWATCH_GENERATION" >&2; exec sleep 100000'
    far = pair.directory / "far.log"
    pair.configure(
        entry("w", ["sh", "-c", script], instances=2, log={"file": "sub-{instance}.log"})
        + entry("far", ["sh", "-c", script], log={"file": str(far)})
    )
    pair.up()
    logs = {"w": pair.kept / "log" / "sub-0.log", "w:1": pair.kept / "log" / "sub-1.log", "far": far}
    for label, path in logs.items():
        until(
            lambda path=path: path.exists() and path.read_text() == "out 1\nerr 1\n", f"{label} has written"
        )
        flags = Path(f"/proc/{pid_of(pair, label)}/fdinfo/1").read_text()
        assert int(flags.partition("flags:")[2].split()[0], 8) & os.O_APPEND
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0, "not for everybody"
        born_again(pair, label)
        until(lambda path=path: path.read_text() == "out 1\nerr 1\nout 2\nerr 2\n", f"{label} has appended")


def test_oom_score_is_the_callers_not_a_watchers(pair: LivePair):
    pair.configure(entry("w", SLEEP))
    pair.up()
    own = Path("/proc/self/oom_score_adj").read_text()
    for pid in generations(pair):
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == own


def test_own_comm_and_command_line(pair: LivePair):
    """Nothing of the reserve that it was is to be seen."""
    pair.configure(entry("w", SLEEP))
    pair.up()
    for pid in generations(pair):
        assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
        assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00100000\x00"
        assert pid not in [pair.role(role).identity.pid for role in WATCHER_ROLES]
