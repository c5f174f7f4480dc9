"""The result document: its fields, its figures, and what people and scripts read of it."""

import io
import json

import pytest

from twinwatch.chaos import menu, result
from twinwatch.chaos.judge import TITLES, Broken
from twinwatch.chaos.needs import Allowed
from twinwatch.cli import chaos
from twinwatch.cli.output import Output
from twinwatch.core.spec import PairSpec

ASKED = ("kill-a", "flip-bits")
TERMS = menu.Terms(own=False, workers=False, revive=False, allowed=Allowed())


def document(events=(), broken=(), **more):
    about = result.About(
        "shop", False, 7, "twinwatch chaos -p shop", PairSpec("shop"), menu.offers(TERMS), ASKED
    )
    return result.document(about, 12.34, events, broken, **more)


def event(fault="kill-a", **fields):
    return result.Event(at_s=1.5, fault=fault, targets=("watcher a",), **fields)


@pytest.mark.parametrize(
    ("times", "expected"),
    [([], None), ([5], (5, 5, 5)), (range(1, 101), (50.5, 95, 100)), ([3, 1, 2], (2, 3, 3))],
)
def test_spread(times, expected):
    assert result.spread(times) == (expected and dict(zip(("median", "p95", "max"), expected, strict=True)))


def test_the_document_is_json_and_has_what_was_agreed():
    found = json.loads(
        json.dumps(document([event(again_ms=4.0, whole_ms=7.0)], [Broken(2.0, "P1", "twice")]))
    )
    assert (found["schema"], found["pair"], found["seed"], found["duration_s"]) == (1, "shop", 7, 12.3)
    assert found["machine"].keys() >= {"kernel", "python", "cpus", "model"}
    assert found["settings"] == {"interval_s": 4.0, "timeout_s": 12.0, "reserve": 2}
    assert found["events"] == [
        {
            "at_s": 1.5,
            "fault": "kill-a",
            "targets": ["watcher a"],
            "gap_ms": None,
            "detail": {},
            "again_ms": 4.0,
            "whole_ms": 7.0,
            "outcome": "recovered",
            "revived": False,
        }
    ]
    assert found["broken"] == [{"at_s": 2.0, "promise": "P1", "what": "twice", "title": "exactly once"}]
    assert found["verdict"] == "broken"


def test_every_fault_is_listed_and_one_that_cannot_be_had_says_why():
    faults = {one["name"]: one for one in document()["faults"]}
    assert faults.keys() == menu.BY_NAME.keys()
    assert faults["kill-a"] == {"name": "kill-a", "available": True, "why": None, "asked": True}
    assert faults["flip-bits"]["why"].startswith("only against a pair made for it")
    assert all(bool(one["why"]) != one["available"] for one in faults.values())


def test_figures_of_each_fault():
    events = [
        event(again_ms=2.0, whole_ms=4.0),
        event(again_ms=4.0, whole_ms=8.0),
        event("flip-bits", whole_ms=1.0),
        event("kill-watchers", outcome=result.EXTINCT, revived=True, gap_ms=0.5),
    ]
    found = result.summary(events)
    assert found["kill-a"]["again_ms"] == {"median": 3.0, "p95": 4.0, "max": 4.0}
    assert (found["kill-a"]["count"], found["kill-a"]["extinct"]) == (2, 0)
    assert found["flip-bits"]["again_ms"] is None
    assert found["kill-watchers"]["extinct"] == 1
    assert found["kill-watchers"]["gap_ms"] == {"median": 0.5, "p95": 0.5, "max": 0.5}


@pytest.mark.parametrize(
    ("events", "broken", "code"),
    [
        ([event()], [], chaos.KEPT),
        ([event()], [Broken(0, "P3", "not whole")], chaos.BROKE),
        ([], [Broken(0, "P8", "alive after down")], chaos.BROKE),
        ([], [], chaos.USAGE),
    ],
)
def test_exit_code(events, broken, code):
    assert chaos.verdict(document(events, broken)) == code


def test_what_people_read():
    stream = io.StringIO()
    found = document(
        [event(again_ms=2.0, whole_ms=4.0)],
        [Broken(3.25, "P4", "nobody killed web")],
        crashes=["OSError: boom"],
        ended_themselves=2,
    )
    Output(stream).show(chaos.view(found))
    text = stream.getvalue()
    assert "BROKEN P4 adoption, at 3.25 s: nobody killed web" in text
    assert "verdict: broken" in text
    assert "again: twinwatch chaos -p shop" in text
    assert "not done: flip-bits: only against a pair made for it" in text
    assert "freeze" not in text, "nobody asked for it"
    assert "watchers that crashed: 1; the last: OSError: boom" in text
    assert "ended by themselves: 2" in text


def test_every_promise_that_may_be_named_has_a_title():
    assert all(title for title in TITLES.values())
    assert set(TITLES) <= {f"P{number}" for number in range(1, 10)}
