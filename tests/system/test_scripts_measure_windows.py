"""scripts/measure-windows: what it makes of a trace, and that it measures a real pair and leaves nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from live_pair import ROOM

from twinwatch.core import record
from twinwatch.linux.gate import ORDER_SIZE
from twinwatch.linux.lock import LOCK_BYTE

SCRIPTS = ROOM.parents[1] / "scripts"
A, B, A1, A2, B1, B2, NEW1, NEW2 = range(100, 108)  # watchers, their reserves, and those of a new one
KILLER, WORKER, NEXT = 50, 60, 61
SEEN_BY_LOOKING = {"W5b", "W10a", "W10b", "W11a", "W11b"}
HEARTBEAT, RESERVES = record.HEARTBEAT_AT, record.RESERVES_AT


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


class Written:
    """A trace, written by hand: a nanosecond passes with each event."""

    def __init__(self):
        from windows.ftrace import Event
        from windows.marks import Before

        self._event = Event
        self.events = []
        self.before = Before({0: A, 1: B}, {0: (A1, A2), 1: (B1, B2)})

    def __call__(self, pid: int, name: str, /, **fields: int) -> int:
        self.events.append(self._event(len(self.events), pid, name, fields))
        return len(self.events) - 1

    def wakes(self, waker: int, woken: int) -> int:
        return self(waker, "sched_waking", pid=woken)

    def returns(self, pid: int, wait: str = "epoll_wait") -> int:
        return self(pid, f"sys_exit_{wait}")

    def writes(self, pid: int, at: int, size: int) -> int:
        self(pid, "sys_enter_pwrite64", pos=at, count=size)
        return self(pid, "sys_exit_pwrite64")

    def changes(self, pid: int, slot: int) -> int:
        return self.writes(pid, record.slot_at(slot), record.SELECTOR_SIZE)

    def locks(self, pid: int, kind: int, result: int = 0, at: int = LOCK_BYTE) -> int:
        return self(pid, "posix_lock_inode", fl_start=at, type=kind, ret=result)

    def kills(self, pid: int) -> int:
        return self(KILLER, "signal_generate", sig=9, pid=pid)

    def exits(self, pid: int) -> int:
        return self(pid, "sched_process_exit", pid=pid)

    def claims(self, pid: int, slot: int) -> dict[str, int]:
        self.locks(pid, 1, result=-11)  # not to be had
        locked = self.locks(pid, 1)
        recorded = self.changes(pid, slot)
        return {"locked": locked, "recorded": recorded, "unlocked": self.locks(pid, 2)}

    def begins(self, pid: int, slot: int) -> dict[str, int]:
        """A new watcher's first acts, with both its reserves."""
        watching = self.changes(pid, slot)
        beat = self.writes(pid, HEARTBEAT + slot * record.HEARTBEAT_SIZE, 40)
        table = RESERVES + slot * record.RESERVES_SIZE
        self(pid, "sched_process_fork", parent_pid=pid, child_pid=NEW1)
        self.writes(pid, table, 100)  # one of two is listed
        reserve = self(NEW1, "sys_enter_poll")
        self(pid, "sched_process_fork", parent_pid=pid, child_pid=NEW2)
        listed = self.writes(pid, table, 150)
        reserves = self(NEW2, "sys_enter_ppoll")
        return {
            "watching": watching,
            "beat": beat,
            "reserve": reserve,
            "reserves": reserves,
            "listed": listed,
        }


# ---------------------------------------------------------------- from a trace to marks


def test_a_role_that_the_twin_gives_away():
    from windows import marks

    trace = Written()
    trace.returns(B)  # of something else
    expected = {"sent": trace.kills(A)}
    trace.exits(A)
    expected["piped"] = trace.wakes(A, A2)
    trace.wakes(A, A1)
    expected["dead"] = trace.wakes(A, B)
    expected["awake"] = trace.returns(B)
    expected |= trace.claims(B, 0)
    trace(B, "sys_enter_write", count=1)  # a wake-up pipe
    trace(B, "sys_exit_write")
    trace(B, "sys_enter_write", count=ORDER_SIZE)
    expected["opened"] = expected["through"] = trace(B, "sys_exit_write")
    trace.exits(A1)
    trace.exits(A2)
    expected |= trace.begins(B2, 0)
    story = marks.of_one(trace.events, trace.before, 0, B2, 2)
    assert story.marks == expected  # the twin lacks a reserve: not whole


def test_a_role_that_a_reserve_takes():
    from windows import marks

    trace = Written()
    expected = {"sent": trace.kills(A), "piped": trace.wakes(A, A1)}
    trace.returns(A1, "poll")  # the end of the pipe: no death yet
    expected["dead"] = trace.wakes(A, B)
    expected["awake"] = trace.returns(A1, "poll")
    expected |= trace.claims(A1, 0)
    expected["through"] = expected["unlocked"]
    trace.exits(A)
    trace.exits(A2)
    expected |= trace.begins(A1, 0)
    expected["whole"] = expected["reserves"]
    assert marks.of_one(trace.events, trace.before, 0, A1, 2).marks == expected


def test_the_first_of_two_roles_is_told_of():
    from windows import marks

    trace = Written()
    sent = trace.kills(A)
    trace.kills(B)
    trace.returns(B2, "poll")
    claimed = trace.claims(B2, 1)
    trace.claims(A1, 0)
    begun = trace.begins(B2, 1)
    found = marks.of_both(trace.events, trace.before, 2).marks
    assert {name: found[name] for name in ("sent", "recorded", "reserve")} == {
        "sent": sent,
        "recorded": claimed["recorded"],
        "reserve": begun["reserve"],
    }


def test_a_burst_that_was_none_is_left_out():
    """Who kills was itself not on time: the twin had its claim in between."""
    from windows import marks

    trace = Written()
    trace.kills(A)
    trace.claims(B, 0)
    trace.kills(B)
    trace.begins(B2, 0)
    with pytest.raises(LookupError, match="no burst"):
        marks.of_both(trace.events, trace.before, 2)


def test_a_worker_that_is_born_again():
    from windows import marks

    trace = Written()
    expected = {"sent": trace.kills(WORKER), "dead": trace.wakes(WORKER, B)}
    trace.wakes(WORKER, A)
    trace.returns(B)
    expected["awake"] = trace.returns(A)
    expected["told"] = trace.changes(A, 3)
    trace.changes(A, 3)
    expected["executed"] = trace(NEXT, "sched_process_exec", pid=NEXT)
    assert marks.of_worker(trace.events, trace.before, 3, WORKER, NEXT).marks == expected


def test_a_guard_that_was_at_work_anyway_did_not_wake_up_for_it():
    from windows import marks

    trace = Written()
    trace.kills(A)
    trace.wakes(A, A1)
    claimed = trace.claims(B, 0)
    trace.returns(B)  # from its next wait
    found = marks.of_one(trace.events, trace.before, 0, B2, 2).marks
    assert (found["recorded"], "awake" in found) == (claimed["recorded"], False)


@pytest.mark.parametrize("left_out", ["signal_generate", "sys_exit_pwrite64"])
def test_a_trace_that_lacks_the_main_thing_is_refused(left_out):
    from windows import marks

    trace = Written()
    trace.kills(A)
    trace.claims(B, 0)
    events = [event for event in trace.events if event.name != left_out]
    with pytest.raises(LookupError):
        marks.of_one(events, trace.before, 0, B2, 2)


def test_depth_counts_who_could_bring_the_pair_back():
    from windows import marks

    trace = Written()
    trace.exits(A2)  # before the kill
    sent = trace.kills(A)
    claimed = trace.claims(B, 0)
    trace(B, "sys_enter_write", count=ORDER_SIZE)
    opened = trace(B, "sys_exit_write")
    left = trace.exits(A1)
    trace(B2, "sched_process_fork", parent_pid=B2, child_pid=NEW1)
    ready = trace(NEW1, "sys_enter_poll")
    times = {"sent": sent, "recorded": claimed["recorded"], "opened": opened}
    steps = marks.depth(trace.events, trace.before.guards - {A2}, times)
    at = [(since + sent, count) for since, count in steps]
    assert at == [(sent, 5), (sent, 4), (claimed["recorded"], 3), (opened, 4), (left, 3), (ready, 4)]


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize(
    ("part", "expected"), [(0.05, 5), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)]
)
def test_a_quantile_is_a_sample(part, expected):
    from windows import figures

    assert figures.quantile([float(value) for value in range(1, 101)], part) == expected


def test_a_window_needs_both_its_marks():
    from windows import figures

    window = next(window for window in figures.WINDOWS if window.id == "W3")
    marks = [{"recorded": 1000, "opened": 26_000}, {"recorded": 1000}, {"opened": 1000}]
    assert figures.samples(window, marks) == [25.0]
    (entry,) = figures.document({"one": marks})
    assert (entry["id"], entry["unit"], entry["samples"]) == ("W3", "us", [25.0])
    assert "| W3 | " in figures.markdown([entry])


def test_depths_are_of_all_kills_at_one_time():
    from windows import figures

    curves = [[(0, 6), (150_000, 3)]] * 19 + [[(0, 6), (50_000, 1), (250_000, 6)]]
    found = {point["at_us"]: point for point in figures.depths(curves)}
    assert found[0] == {"at_us": 0, "median": 6, "p5": 6, "least": 6}
    assert found[100] == {"at_us": 100, "median": 6, "p5": 1, "least": 1}
    assert found[200] == {"at_us": 200, "median": 3, "p5": 1, "least": 1}
    assert "| 6 | 3 |" in figures.depth_markdown({"one": [found[100], found[200]]}, (100, 200))


def test_a_table_is_put_between_its_markers(tmp_path):
    import measured

    document = tmp_path / "page.md"
    document.write_text("a\n<!-- windows -->\nold\n<!-- /windows -->\nb\n")
    measured.put(document, "windows", "new")
    assert document.read_text() == "a\n<!-- windows -->\nnew\n<!-- /windows -->\nb\n"
    with pytest.raises(SystemExit, match="no <!-- atomic -->"):
        measured.put(document, "atomic", "new")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "scripts/x"),
        (["-n", "3", "--json", "/some/where", "--how", "look", "--write"], "scripts/x -n 3 --how look"),
        (["--json=/some/where", "-n", "3"], "scripts/x -n 3"),
    ],
)
def test_a_command_is_repeated_without_where_its_results_went(arguments, expected):
    import measured

    assert measured.command("scripts/x", arguments) == expected


# ---------------------------------------------------------------- the kernel and a real pair


@pytest.fixture
def tracing():
    from windows.ftrace import NoTraceError, Trace

    if os.geteuid() != 0:
        pytest.skip("not root")
    try:
        Trace({}).close()
    except NoTraceError as error:
        pytest.skip(f"kernel lacks what tracing needs: {error}")


@pytest.mark.root
def test_what_a_child_does_is_traced_and_in_order(tracing, tmp_path):
    from windows.ftrace import Trace

    wanted = {
        "sched/sched_process_fork": ("child_pid",),
        "sched/sched_process_exec": ("pid",),
        "syscalls/sys_enter_pwrite64": ("pos", "count"),
        "sched/sched_process_exit": ("pid",),
        "sched/no_such_event": ("pid",),
    }
    program = "import os, sys; os.pwrite(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), b'hallo', 77)"
    with Trace(wanted) as trace:
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", program, str(tmp_path / "file")])
        child.wait()
        events = [event for event in trace.drain() if event.pid == child.pid or event.fields.get("child_pid")]
        assert not trace.lost
        room = Path(f"/proc/self/fd/{trace._mount}/instances")
        assert [path.name for path in room.glob(f"twinwatch-{os.getpid()}")]
    assert [event.name for event in events] == [
        "sched_process_fork",
        "sched_process_exec",
        "sys_enter_pwrite64",
        "sched_process_exit",
    ]
    assert events[0].fields["child_pid"] == events[1].fields["pid"] == child.pid
    assert events[2].fields == {"pos": 77, "count": 5}
    assert sorted(event.at_ns for event in events) == [event.at_ns for event in events]


def measure(tmp_path: Path, *arguments: str) -> dict[str, object]:
    written, scratch = tmp_path / "windows.json", tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, str(SCRIPTS / "measure_windows.py"), "--json", str(written), *arguments]
    environ = os.environ | {"TMPDIR": str(scratch)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert list(scratch.iterdir()) == []
    found = json.loads(written.read_text())
    assert all(entry["id"] in done.stdout for entry in found["windows"])
    return found


def test_looking_needs_no_rights(tmp_path):
    found = measure(tmp_path, "--how", "look", "-n", "1")
    assert (found["how"], found["kills"]) == ("look", 2)
    assert {entry["id"] for entry in found["windows"]} == SEEN_BY_LOOKING
    assert all(min(entry["samples"]) > 0 for entry in found["windows"])


@pytest.mark.root
def test_tracing_sees_every_window(tracing, tmp_path):
    import measure_windows
    from windows import figures

    found = measure(tmp_path, "--how", "trace", "-n", "2")
    missing = 6 - found["kills"]  # bursts that were none, each time
    assert 0 <= missing * measure_windows.TRIES_MAX <= sum(found["unseen"].values())
    named = {entry["id"]: entry["samples"] for entry in found["windows"]}
    by_chance = {"W1a", "W1b", "W2", "W3", "W6", "W8", "W9", "W10d", "W11d"}  # who slept, who was faster
    lacking = {window.id for window in figures.WINDOWS} - named.keys()
    assert lacking <= by_chance or missing
    assert sum(found["claims"].values()) == len(named["W11a"])
    for whole, part in (("W11b", "W11a"), ("W11c", "W11a"), ("W11a", "W2"), ("W5b", "W7")):
        assert part not in named or max(named[whole]) > min(named[part]) > 0
    assert set(found["tracing_cost_us"]) == {"traced", "untraced"}
    assert {"one", "both"} == found["depth"].keys() or missing
    assert {depth[0]["median"] for depth in found["depth"].values()} == {5}  # a signal counts at once
