"""Which events are news: tables of the lines that the pair writes, and lines that nobody writes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core.news import ASKED_MAX, KILL_IN_VAIN, KINDS, Reader, is_about
from twinwatch.core.reconcile import Life, Signal, View, decide
from twinwatch.core.record import Slot
from twinwatch.core.spec import WorkerSpec
from twinwatch.core.values import Desired, Ending, Exit, ExitKind, Identity, Phase
from twinwatch.watch.pair import describe_exit


def phase(slot: str, old: str, new: str, generation: int = 2, **more: object) -> dict[str, object]:
    return {"event": "phase", "slot": slot, "old": old, "new": new, "generation": generation, **more}


def ended(slot: str = "web", generation: int = 1, **end: object) -> dict[str, object]:
    exit_ = {"kind": "error", "code": 1, "core": False} | end
    return phase(slot, "running", "stopping", generation, reason="ended", exit=exit_)


def born(slot: str = "web", generation: int = 2, old: str = "stopping") -> dict[str, object]:
    return phase(slot, old, "starting", generation, reason="it ended")


@pytest.mark.parametrize(
    ("event", "kinds"),
    [
        (phase("web", "stopping", "fatal", reason="more than 3 restarts within 60 s"), ("fatal",)),
        (phase("web", "stopping", "fatal", exit={"kind": "escaped"}), ("fatal", "escaped")),
        ({"event": "escaped-ended", "slot": "web", "count": 1}, ("escaped",)),
        (born(), ("restarted",)),
        (born(old="backoff"), ("restarted",)),
        (born(old="stopped"), ()),
        (born(slot="_checks"), ("restarted",)),
        (phase("web", "starting", "running"), ()),
        (ended(), ("exited",)),
        (ended(kind="signal", signal=9), ("exited",)),
        (ended(kind="unknown"), ("exited",)),
        (ended(kind="exec-failed", reason="exec: No such file or directory"), ("exited",)),
        (ended(kind="signal", reason="out of memory"), ("exited",)),
        (ended(kind="clean", code=0), ()),
        *((ended(reason=ending.name.lower()), ()) for ending in Ending if ending),
        (phase("web", "running", "stopping", reason="stop"), ()),
        (ended(kind="exec-failed", reason="hook: No such file or directory"), ("hook", "exited")),
        (phase("web", "running", "stopping", reason="unready: not ready in time"), ("unhealthy",)),
        (phase("web", "running", "stopping", reason="unhealthy"), ("unhealthy",)),
        (phase("web", "running", "stopping", reason="unhealthy: no beat for 9 s"), ("unhealthy",)),
        (phase("web", "stopping", "stopping", reason="unhealthy"), ()),
        (phase("a", "running", "starting", reason="its reserve took over"), ("twin-lost",)),
        ({"event": "anchor-lost", "slot": "anchor", "generation": 3}, ("anchor-lost",)),
        (phase("anchor", "running", "stopped", reason="its init has to bring it back"), ()),
        (phase("b", "running", "starting", reason="the twin was dead"), ("twin-lost",)),
        (phase("b", "stopping", "starting", reason="the twin was dead"), ("twin-lost",)),
        (phase("b", "stopped", "starting", reason="the twin was dead"), ()),  # `up` after `down`
        (phase("b", "free", "starting", reason="the twin was dead"), ()),
        (phase("a", "running", "stopping", reason="its heartbeat has stood still for 2 s"), ()),
        (phase("a", "stopping", "stopping", reason="… and does not die"), ("wedged",)),
        (phase("a", "running", "stopped", reason="the pair is down"), ()),
        ({"event": "unhealthy", "slot": "web"}, ()),  # the phase that follows has told it
        ({"event": "over-limit", "slot": "web"}, ("resources",)),
        ({"event": "hook-failed", "slot": "web"}, ("hook",)),
        ({"event": "rotate-failed", "slot": "web"}, ("log",)),
        ({"event": "wedged"}, ("wedged",)),
        ({"event": "quarantined", "index": 3}, ("wedged",)),
        ({"event": "alert-failed"}, ()),
        ({"event": "configuration", "generation": 2}, ()),
        ({"event": ["phase"]}, ()),
        ({"event": "phase"}, ()),
        (phase("web", "stopping", "starting", generation="2"), ()),
        (ended() | {"exit": "error"}, ()),
        ({}, ()),
    ],
)
def test_kinds(event, kinds):
    assert Reader().kinds(event) == kinds
    assert set(kinds) <= set(KINDS)


@pytest.mark.parametrize("reason", ["stop", "restart", "reload", "down", "removed", "age", "group"])
def test_a_restart_that_was_asked_for_is_no_news(reason):
    reader = Reader()
    assert reader.kinds(phase("web", "running", "stopping", 1, reason=f"{reason}: and why")) == ()
    assert reader.asked == {"web": 1}
    assert reader.kinds(ended(generation=1, kind="signal", signal=15, reason=reason)) == ()
    assert reader.kinds(born(generation=2)) == ()
    assert reader.asked == {}
    assert reader.kinds(ended(generation=2)) == ("exited",)
    assert reader.kinds(born(generation=3)) == ("restarted",)


@pytest.mark.parametrize("reason", ["unhealthy", "unready", "gated"])
def test_a_restart_that_the_pair_decided_is(reason):
    reader = Reader()
    reader.kinds(ended(generation=1, reason=reason))
    assert reader.kinds(born(generation=2)) == ("restarted",)


def test_who_asked_outlives_the_reader():
    reader = Reader()
    reader.kinds(ended(generation=1, reason="restart"))
    assert Reader(reader.asked).kinds(born(generation=2)) == ()


def test_who_asked_may_stand_in_the_birth_itself():
    """It crashed, and a restart was wished before the next birth."""
    event = born(generation=2) | {"exit": {"kind": "error", "code": 1, "reason": "restart"}}
    reader = Reader()
    assert reader.kinds(event) == ()
    assert reader.kinds(born(generation=3)) == ("restarted",)


def test_what_was_asked_of_one_says_nothing_of_another():
    reader = Reader()
    reader.kinds(ended("web", 1, reason="restart"))
    assert reader.kinds(born("web:1", 2)) == ("restarted",)


def test_what_is_remembered_is_bounded():
    reader = Reader()
    for number in range(2 * ASKED_MAX):
        reader.kinds(ended(f"w{number}", 1, reason="stop"))
    assert len(reader.asked) == ASKED_MAX


def test_a_worker_that_outlives_kill_is_told_in_these_words():
    slot = Slot(
        "web", phase=Phase.STOPPING, desired=Desired.STOP, generation=2, identity=Identity(1, 2), killed=True
    )
    slot = replace(slot, exit=Exit(generation=1))
    action = decide(View(slot, WorkerSpec("web", ("x",)), Desired.RUN, 10, Life.ALIVE))
    assert isinstance(action, Signal) and action.reason.startswith(KILL_IN_VAIN)
    event = phase("web", "stopping", "stopping", reason=action.reason)
    assert Reader().kinds(event) == ("wedged",)


@pytest.mark.parametrize("kind", [kind for kind in ExitKind if kind])
def test_every_exit_is_known(kind):
    """`exited` or not, in the words of the event log."""
    told = describe_exit(Exit(kind, 1, code=1))
    failed = kind not in (ExitKind.CLEAN, ExitKind.ESCAPED)
    assert Reader().kinds(phase("web", "running", "stopping", exit=told)) == (("exited",) if failed else ())


@given(
    st.dictionaries(
        st.sampled_from(["event", "slot", "old", "new", "generation", "reason", "exit"]),
        st.recursive(
            st.none()
            | st.integers()
            | st.sampled_from(["phase", "a", "web", "starting", "stopping", "fatal"]),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_no_line_makes_it_fail(event):
    assert set(Reader().kinds(event)) <= set(KINDS)
    assert is_about(event, ("web",)) in (True, False)


@pytest.mark.parametrize(
    ("slot", "workers", "is_meant"),
    [
        ("web", (), True),
        (None, (), True),
        ("web", ("web",), True),
        ("web:1", ("web",), True),
        ("web:1", ("web:1",), True),
        ("web", ("web:1",), False),
        ("web2", ("web",), False),
        ("a", ("web",), False),
        (None, ("web",), False),
    ],
)
def test_about_whom(slot, workers, is_meant):
    assert is_about({"slot": slot} if slot else {}, workers) is is_meant
