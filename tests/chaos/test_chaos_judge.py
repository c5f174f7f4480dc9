"""What counts as broken: between two looks, and between processes that live at one instant."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from twinwatch.chaos import census, recovery
from twinwatch.chaos.fault import ANY, ONCE, Blow
from twinwatch.chaos.judge import Judge
from twinwatch.chaos.reader import Look
from twinwatch.core.record import Heartbeat, Slot
from twinwatch.core.spec import PairSpec, Watch, WorkerSpec
from twinwatch.core.values import Exit, ExitKind, Identity, Phase
from twinwatch.linux.identity import identify_self
from twinwatch.linux.paths import Paths

ALIVE = identify_self()
DEAD = Identity(pid=2**22 + 1, start_ticks=1)
SPEC = PairSpec("shop", watch=Watch(reserve=1), workers=(WorkerSpec("web", ("web",)),))


def slot(generation: int = 3, identity: Identity = ALIVE, phase: Phase = Phase.RUNNING, **fields) -> Slot:
    return Slot(name="web", generation=generation, identity=identity, phase=phase, **fields)


def slots(**changes: Slot) -> dict[str, Slot]:
    return {"watcher a": slot(), "watcher b": slot(), "web": slot()} | {
        name.replace("_", " "): one for name, one in changes.items()
    }


def look(damaged: tuple[str, ...] = (), reserves: int = 1, **changes: Slot) -> Look:
    listed = (ALIVE,) * reserves
    return Look(slots(**changes), damaged, {"watcher a": listed, "watcher b": listed})


@pytest.fixture
def judge(tmp_path):
    found = Judge(Paths("shop", str(tmp_path / "run"), str(tmp_path / "lib")), SPEC, None, None)
    yield found
    found.close()


def said(judge: Judge, before: dict[str, Slot], now: Look, **grown: range) -> list[str]:
    judge.compare(before, now, {name.replace("_", " "): allowed for name, allowed in grown.items()})
    return [f"{one.promise} {one.what}" for one in judge.broken]


# ---------------------------------------------------------------- between two looks


def test_nothing_changed_nothing_broke(judge: Judge):
    assert said(judge, slots(), look()) == []


@pytest.mark.parametrize(("name", "generation", "allowed"), [("web", 4, ONCE), ("watcher_a", 9, ANY)])
def test_what_was_struck_has_grown_by_as_much_as_it_may(judge: Judge, name, generation, allowed):
    assert said(judge, slots(), look(**{name: slot(generation)}), **{name: allowed}) == []


@pytest.mark.parametrize(
    ("changes", "grown", "promise"),
    [
        ({"web": slot(5)}, {"web": ONCE}, "P1 what was done to web took it from generation 3 to 5"),
        ({"web": slot(3)}, {"web": ONCE}, "P3 what was done to web took it from generation 3 to 3"),
        ({"watcher_a": slot(4)}, {}, "P9 nobody killed watcher a, yet it went from generation 3 to 4"),
        ({"web": slot(4)}, {}, "P4 nobody killed web, yet it went from generation 3 to 4"),
        ({"web": slot(3, DEAD)}, {}, "P1 web: another process of the same generation 3"),
    ],
)
def test_what_breaks(judge: Judge, changes, grown, promise):
    assert said(judge, slots(), look(**changes), **grown) == [promise]


def test_a_generation_goes_back_also_between_looks_that_are_not_compared(judge: Judge):
    judge.note(slots(web=slot(7)))
    judge.note(slots(web=slot(6)))
    judge.note(slots(web=slot(7)))
    assert [f"{one.promise} {one.what}" for one in judge.broken] == [
        "P1 web went back from generation 7 to 6: generations only grow"
    ]


def test_what_has_a_successor_is_dead(judge: Judge):
    judge.hold(slots())
    found = said(judge, slots(), look(web=slot(4, DEAD)), web=ONCE)
    assert found == ["P1 double start: web has generation 4, 3 lives"]


def test_a_worker_of_the_users_that_ended_by_itself_is_counted(judge: Judge):
    ended = slot(4, exit=Exit(ExitKind.ERROR, 3, code=1))
    assert said(judge, slots(), look(web=ended)) == []
    assert judge.ended_themselves == 1


def test_one_that_was_killed_did_not_end_by_itself(judge: Judge):
    killed = slot(4, exit=Exit(ExitKind.SIGNAL, 3, signal=9))
    assert said(judge, slots(), look(web=killed)) == [
        "P4 nobody killed web, yet it went from generation 3 to 4"
    ]


def test_a_worker_that_hands_over_by_a_pid_file(tmp_path):
    spec = replace(SPEC, workers=(WorkerSpec("web", ("web",), pid_file="/x.pid"),))
    judge = Judge(Paths("shop", str(tmp_path), str(tmp_path)), spec, None, None)
    assert said(judge, slots(), look(web=slot(3, DEAD))) == []
    judge.close()


def test_damage_that_stays(judge: Judge):
    assert said(judge, slots(), look(damaged=("slot 3 (selector)",))) == [
        "P7 the record of slot 3 (selector) is damaged and nobody repairs it"
    ]


def test_a_log_that_grows_without_bound(judge: Judge, tmp_path, monkeypatch):
    monkeypatch.setattr("twinwatch.chaos.judge.LOG_MAX", 10)
    (tmp_path / "lib/shop").mkdir(parents=True)
    (tmp_path / "lib/shop/watchers.log").write_text("x" * 11)
    (broken,) = said(judge, slots(), look())
    assert broken.startswith("P7 ")
    assert "has grown to 11 bytes" in broken


def test_a_watcher_that_collects_descriptors(judge: Judge, monkeypatch):
    monkeypatch.setattr("twinwatch.chaos.judge.descriptors", lambda _pid: list(range(71)))
    assert said(judge, slots(), look())[0] == "P7 watcher a has 71 descriptors open"


def test_it_is_said_once(judge: Judge):
    judge.accuse("P1", "twice")
    judge.accuse("P1", "twice")
    assert len(judge.broken) == 1


# ---------------------------------------------------------------- what a whole pair lacks


def lack(now: Look, *, is_own: bool = True, **grown: range) -> str:
    blow = Blow((), 0.0, grown={name.replace("_", " "): allowed for name, allowed in grown.items()})
    return recovery.lack(now, look(), blow, SPEC, is_own=is_own)


def test_a_whole_pair_lacks_nothing():
    assert lack(look()) == ""


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (look(damaged=("slot 3 (magic)",)), "the record of slot 3 (magic) is damaged"),
        (look(watcher_a=slot(3, DEAD)), "watcher a is dead"),
        (look(watcher_b=slot(3, phase=Phase.STOPPING)), "watcher b is stopping"),
        (look(reserves=0), "watcher a lacks reserves"),
        (look(web=slot(3, DEAD)), "worker web is dead"),
        (look(web=slot(3, phase=Phase.BACKOFF)), "worker web is backoff"),
    ],
)
def test_what_it_lacks(now: Look, what: str):
    assert lack(now) == what


def test_what_was_struck_must_have_a_successor():
    assert lack(look(), watcher_a=ONCE) == "watcher a is still the one that was struck"
    assert lack(look(), web=ONCE) == "worker web is running"
    assert lack(look(web=slot(4)), web=ONCE) == ""


def test_workers_of_a_users_pair_may_end_by_themselves():
    assert lack(look(web=slot(3, DEAD)), is_own=False) == ""
    assert lack(look(web=slot(3, DEAD)), is_own=False, web=ONCE) == "worker web is dead"


def test_both_have_ticked():
    beats = recovery.Beats()

    def tick(a: int, b: int) -> bool:
        return beats.have_ticked({"watcher a": Heartbeat(1, a), "watcher b": Heartbeat(1, b)})

    assert [tick(7, 7), tick(8, 7), tick(9, 8), tick(9, 9), tick(10, 9)] == [False] * 5
    assert tick(10, 10)


def test_crashes_are_read_from_where_the_run_began(tmp_path):
    log = tmp_path / "watchers.log"
    old = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    f()\nOSError: old\n'
    log.write_text(old + "a line\n" + old.replace("old", "new"))
    assert recovery.crashes(str(log), len(old)) == ['OSError: new (File "x.py", line 1, in f)']
    assert recovery.crashes(str(tmp_path / "absent"), 0) == []


# ---------------------------------------------------------------- who lives twice


def test_a_child_that_is_still_called_like_its_parent_is_no_second_watcher():
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    first, second = subprocess.Popen(sleep), subprocess.Popen(sleep)
    try:
        assert list(census.doubles({("watcher a", ""): [os.getpid(), first.pid]})) == []
        both = list(census.doubles({("watcher a", ""): [first.pid, second.pid]}))
        assert both == [f"watcher a lives 2 times: PIDs {[first.pid, second.pid]}"]
        workers = {("web", "3"): [first.pid], ("web", "4"): [second.pid], ("db", "1"): [first.pid]}
        assert list(census.doubles(workers)) == ["double start: generations 3, 4 of web live at once"]
    finally:
        for child in (first, second):
            child.kill()
            child.wait()
