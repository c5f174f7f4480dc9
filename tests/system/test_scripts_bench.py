"""scripts/bench measures what it says, ends what it starts; and a restart needs no more system calls than budgeted."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from live_pair import ROOM, until
from strace_kit import needs_strace

ROOT = ROOM.parents[1]
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

from benchmarks import path, report, stamps, store, syscalls  # noqa: E402 - from where the scripts are
from benchmarks.peers import catalog  # noqa: E402
from benchmarks.site import Room  # noqa: E402

from twinwatch.linux.gate import ORDER_SIZE  # noqa: E402

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="interpreter absent: cc")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of this module's own: what is compiled here stays here."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture
def programs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("TWINWATCH_BENCH_CACHE", str(cache))
    return store.programs()


# ---------------------------------------------------------------- the gate


@needs_strace
@needs_compiler
def test_a_restart_needs_no_more_system_calls_than_budgeted(programs):
    found = syscalls.restarts(4, programs)
    ways = syscalls.least(found)
    print({way: len(calls) for way, calls in ways.items()})
    over = syscalls.excess(ways, syscalls.budget())
    assert not over, "\n".join(over)
    assert len(found) == 4
    for calls in ways.values():  # it was the way that is meant: both ends are there
        assert len(calls) > 20
    watcher, child = ways.values()
    assert (watcher[-1], child[-1]) == ("write", "execve")
    assert {"fcntl", "pwrite64"} <= set(watcher)


def test_a_call_more_than_the_tolerance_is_found():
    allowed = {"way": 3, "tolerance": 1}
    assert syscalls.excess({"way": ["read"] * 4}, allowed) == []
    assert "5 system calls, 3 allowed" in syscalls.excess({"way": ["read"] * 5}, allowed)[0]


TRACE = """\
10 epoll_wait(4,  <unfinished ...>
11 restart_syscall(<... resuming interrupted read ...> <unfinished ...>
10 <... epoll_wait resumed>[{events=EPOLLIN, data={u32=10, u64=10}}], 1023, 57972) = 1
10 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=12, si_uid=0} ---
10 poll([{fd=10, events=POLLIN}], 1, 0) = 1 ([{fd=10, revents=POLLIN}])
10 pread64(7,  <unfinished ...>
11 <... restart_syscall resumed>) = 1
10 <... pread64 resumed>"\\2", 8, 0) = 8
10 write(16, "\\1", ORDER_SIZE) = ORDER_SIZE
10 write(11, "{}", 268 <unfinished ...>
11 ioctl(12, FIONREAD, [ORDER_SIZE]) = 0
10 <... write resumed>) = 268
10 epoll_wait(4, [], 1023, 0) = 0
11 execve("/x", ["/x"], 0x7ffd) = 0
11 clock_gettime(CLOCK_MONOTONIC, {tv_sec=1, tv_nsec=1}) = 0
""".replace("ORDER_SIZE", str(ORDER_SIZE))


def test_a_trace_is_cut_where_the_way_begins_and_ends():
    reader = syscalls.Reader({10})
    reader.read(TRACE.splitlines())
    (restart,) = reader.restarts
    assert restart.watcher == ["poll", "pread64", "write"]
    assert restart.child == ["ioctl", "execve"]


# ---------------------------------------------------------------- a short run


@pytest.mark.slow
@needs_compiler
def test_a_short_run(cache, tmp_path):
    output = tmp_path / "bench.json"
    words = ["--form", "short", "--only", "c-one", "--only", "twinwatch", "--json", str(output)]
    letters = [word for letter in "AD" for word in ("--measure", letter)]
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "bench.py"), *words, *letters],
        env={**os.environ, "TWINWATCH_BENCH_CACHE": str(cache), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    found = json.loads(output.read_text())
    assert (found["troubles"], found["absent"]) == ([], {})
    kills = {(row["peer"], row["variant"]): row["ns"] for row in found["rows"]["A"]}
    assert set(kills) == {("c-one", "shipped"), ("twinwatch", "shipped"), ("twinwatch", "fast")}
    assert all(value > 0 for values in kills.values() for value in values)
    idle = {(row["peer"], row["variant"]): row for row in found["rows"]["D"]}
    assert idle["c-one", "shipped"]["processes"] == 10
    assert idle["twinwatch", "shipped"]["processes"] > 2  # reserves too
    assert all(row["pss"] > 0 for row in idle.values())
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_an_unknown_peer_is_refused(cache):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "bench.py"), "--only", "bogus"],
        env={**os.environ, "TWINWATCH_BENCH_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "no peer is called bogus" in done.stderr
    assert "Traceback" not in done.stderr


@needs_compiler
def test_the_worker_reads_the_clock_and_says_so_at_once(programs, tmp_path):
    file = stamps.Stamps(tmp_path / "stamps")
    with subprocess.Popen([programs["stamp"], f"w3:{file.path}"]) as worker:
        try:
            file.wait(lambda: file.latest, "the stamp", 30)
        finally:
            worker.kill()
    (stamp,) = file.all
    assert (stamp.label, stamp.pid) == ("w3", worker.pid)


@needs_compiler
def test_a_process_that_is_not_the_worker_is_never_killed(programs, tmp_path):
    path = tmp_path / "stamps"
    other = stamps.Stamp("w0", os.getpid(), 0)  # as if the PID had been given to this process
    with pytest.raises(ProcessLookupError):
        stamps.open_worker(os.getpid(), other, path)


# ---------------------------------------------------------------- nothing outlives it


def test_a_room_ends_a_daemon_that_revives_its_child(tmp_path):
    alive = tmp_path / "alive"
    script = f"trap '' TERM; echo $$ >>{alive}; while :; do sleep 1000 & wait; done"
    room = Room(tmp_path / "log", [])
    try:
        room.start(["sh", "-c", f'setsid sh -c "{script}" & exit 0'.replace("$", r"\$")], os.environ, "/")
        until(lambda: alive.exists() and len(room.guards()) >= 2, "the daemon is there")
        found = room.guards()
    finally:
        room.end()
    assert not [pid for pid in found if Path(f"/proc/{pid}").exists()]


def test_a_room_ends_when_the_one_that_measures_is_killed(tmp_path):
    program = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {str(SCRIPTS)!r})
        from pathlib import Path
        from benchmarks.site import Room
        room = Room(Path({str(tmp_path / "log")!r}), [])
        print(room.start(["sleep", "1000"], os.environ, "/"), flush=True)
        sys.stdin.read()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as measuring:
        pid = int(measuring.stdout.readline())
        pidfd = os.pidfd_open(pid)
        os.close(pidfd)
        measuring.send_signal(signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the process has ended")


# ---------------------------------------------------------------- what is told of it


def made_up(own_ns: list[int], limit_ns: list[int]) -> dict[str, object]:
    peers = {
        key: {
            "title": key,
            "version": "1",
            "kind": "",
            "variants": {"shipped": ""},
            "unmeasured": {},
            "most": 1,
            "most_why": "",
        }
        for key in (report.LIMIT_ONE, report.OWN)
    }
    rows = {letter: [] for letter in "BCDEFGHPS"}
    rows["A"] = [
        {"peer": key, "variant": "shipped", "workers": 10, "start_ns": 1, "round": 0, "ns": values}
        for key, values in ((report.LIMIT_ONE, limit_ns), (report.OWN, own_ns))
    ]
    machine = {"linux": "6.1", "system": "x", "python": "3.11", "processors": 2, "load_at_end": 0.0}
    settings = {"name": "short"}
    about = {
        "machine": machine,
        "settings": settings,
        "seconds": 1,
        "peers": peers,
        "absent": {"monit": "no apt"},
    }
    return {**about, "rows": rows, "troubles": ["A: it fell over"]}


def test_a_later_measure_takes_the_place_of_the_same():
    """Of C, D and E only of the same guard with as many workers; of the others as a whole."""
    old, new = made_up([2], [1]), made_up([3], [1])
    old["rows"]["C"] = [
        {"peer": report.OWN, "variant": "shipped", "workers": count, "last_ns": 1} for count in (10, 100)
    ]
    new["rows"]["C"] = [{"peer": report.OWN, "variant": "shipped", "workers": 100, "last_ns": 2}]
    old["troubles"] = [f"C: {report.OWN}, shipped, {count} workers: it fell over" for count in (100, 1000)]
    new["troubles"] = []
    both = report.merged(old, new)
    assert both["troubles"] == old["troubles"][1:]
    assert {row["workers"]: row["last_ns"] for row in both["rows"]["C"]} == {10: 1, 100: 2}
    assert both["rows"]["A"] == new["rows"]["A"]
    assert {letter: about["in_part"] for letter, about in both["later"].items()} == {"A": False, "C": True}


@pytest.mark.parametrize(("own_ms", "verdict"), [(1.4, "met"), (1.6, "**missed**")])
def test_a_target_can_be_missed(own_ms: float, verdict: str):
    found = made_up([int(own_ms * 1e6)] * 3, [1_000_000] * 3)
    (row,) = [line for line in report.targets(found).splitlines() if line.startswith("| A,")]
    assert row.endswith(f"| {own_ms:.2f} | {verdict} |")


def test_who_is_absent_and_what_failed_is_told():
    text = report.render(made_up([2_000_000], [1_000_000]))
    assert "Not measured: **monit**: no apt." in text
    assert "A: it fell over" in text
    assert "2.00 ×" in text


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_quantile_is_a_value_that_was_measured(share: float, expected: int):
    assert report.quantile(range(1, 101), share) == expected
    assert statistics.median(range(1, 101)) == 50.5


def test_a_table_goes_between_the_marks_and_nowhere_else(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.put("new", document)
    report.put("newer", document)
    assert document.read_text() == f"before\n{report.BEGIN}\n\nnewer\n{report.END}\nafter\n"
    document.write_text("before\n")
    with pytest.raises(SystemExit):
        report.put("new", document)
    assert document.read_text() == "before\n"


def test_the_document_is_of_the_data():
    text = (ROOT / "docs/performance.md").read_text()
    _, _, rest = text.partition(report.BEGIN)
    told, end, _ = rest.partition(report.END)
    assert end
    assert told.strip() == report.render(report.load(ROOT / "docs/data/bench.json")).strip()


def test_every_peer_says_how_it_is_configured():
    for peer in catalog.everyone():
        assert peer.key
        assert peer.title
        assert "shipped" in peer.variants
        assert peer.most == 5000 or peer.most_why


PERF = """\
    10    20.000000100: syscalls:sys_exit_epoll_wait:
    10    20.000000200: syscalls:sys_enter_fcntl:
    10    20.000000210: syscalls:sys_exit_fcntl:
    10    20.000000220: syscalls:sys_enter_fcntl:
    10    20.000000300: syscalls:sys_exit_fcntl:
    10    20.000000400: syscalls:sys_enter_fcntl:
    10    20.000000410: syscalls:sys_exit_fcntl:
    10    20.000000420: syscalls:sys_enter_fcntl:
    10    20.000000500: syscalls:sys_exit_fcntl:
    10    20.000000600: syscalls:sys_enter_write:
    11    20.000000700: syscalls:sys_exit_poll:
    11    20.000000710: syscalls:sys_enter_openat:
    11    20.000000800: syscalls:sys_enter_openat:
    11    20.000000810: syscalls:sys_exit_fcntl:
    11    20.000000900: syscalls:sys_exit_fcntl:
    11    20.000001000: syscalls:sys_exit_rename:
    11    20.000001100: syscalls:sys_enter_execve:
"""


def test_the_steps_of_a_restart_add_up():
    events = path.events_of(PERF.splitlines())
    kill = path.Kill(20 * 10**9, 11, 20 * 10**9 + 1200)
    found = path.durations(kill, events[10], events[11])
    assert list(found.values()) == [100] * 12
    missing = [event for event in events[11] if event[1] != "exit_rename"]
    assert path.durations(kill, events[10], missing) is None
