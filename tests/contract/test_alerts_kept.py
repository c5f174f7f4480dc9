"""What an alerts service knows across its death: how far the event log was read, and its ledger."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinwatch.core.grouping import Window, add
from twinwatch.linux import events, journal
from twinwatch.linux.events import EventLog
from twinwatch.linux.journal import Journal, Mark
from twinwatch.services.alerts import ledger, message, telling
from twinwatch.services.alerts.ledger import Ledger, Parcel


def read_all(reader: Journal) -> list[int]:
    found: list[int] = []
    while lines := reader.step():
        found += [json.loads(line)["number"] for line in lines]
    return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = EventLog(str(tmp_path / "events.jsonl"), "shop", "a.1")
    yield opened
    opened.close()


def write(log: EventLog, *numbers: int) -> None:
    for number in numbers:
        log.write("tick", number=number)


def test_each_line_once_across_rotation_and_death(log: EventLog, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(events, "MAX_BYTES", 1000)
    path = str(tmp_path / "events.jsonl")
    found: list[int] = []
    positions: dict[str, int] = {}
    for number in range(200):
        write(log, number)
        if number % 13 == 0:
            reader = Journal(path, positions)
            found += read_all(reader)
            positions = json.loads(json.dumps(reader.positions))
    found += read_all(Journal(path, positions))
    assert found == list(range(200))
    assert len(positions) <= journal.POSITIONS_MAX


def test_a_renamed_file_is_read_on(log: EventLog, tmp_path: Path):
    """Its writer has not noticed yet."""
    path = tmp_path / "events.jsonl"
    write(log, 0)
    reader = Journal(str(path), {})
    assert read_all(reader) == [0]
    path.rename(tmp_path / "events.jsonl.1")
    other = EventLog(str(path), "shop", "b.1")
    write(other, 1)
    write(log, 2)
    other.close()
    assert sorted(read_all(reader)) == [1, 2]
    assert read_all(reader) == []


def test_half_a_line_is_waited_for(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    reader = Journal(str(path), {})
    assert reader.step() == []
    with path.open("ab", buffering=0) as file:
        file.write(b'{"number":')
        assert reader.step() == []
        file.write(b'1}\n{"num')
        assert reader.step() == [b'{"number":1}']
        assert reader.step() == []
        file.write(b'ber":2}\n')
        assert reader.step() == [b'{"number":2}']


def test_an_endless_line_is_skipped(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(journal, "READ_MAX", 10_000)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 25_000 + b'\n{"number":1}\n')
    assert Journal(str(path), {}).step() == [b""]
    reader = Journal(str(path), {})
    lines = [line for _ in range(3) for line in reader.step()]
    assert lines[-1] == b'{"number":1}'
    assert reader.step() == []


@pytest.mark.parametrize(
    ("marks", "found"),
    [
        ({}, []),
        ({2: Mark.START}, [2, 3, 4]),
        ({1: Mark.START, 3: Mark.START}, [3, 4]),
        ({0: Mark.START}, [0, 1, 2, 3, 4]),
        ({1: Mark.LIFE, 2: Mark.LIFE, 3: Mark.START}, [1, 2, 3, 4]),
        ({0: Mark.LIFE, 2: Mark.ANEW, 3: Mark.START}, [2, 3, 4]),
        ({0: Mark.LIFE, 1: Mark.OVER, 3: Mark.START}, [3, 4]),
        ({0: Mark.LIFE, 1: Mark.OVER, 2: Mark.LIFE, 3: Mark.START}, [2, 3, 4]),
        ({3: Mark.LIFE}, []),
    ],
)
def test_it_begins_with_the_last_start(log: EventLog, tmp_path: Path, marks, found, monkeypatch):
    monkeypatch.setattr(events, "MAX_BYTES", 300)  # over several files
    write(log, *range(5))
    reader = Journal(str(tmp_path / "events.jsonl"), {})
    reader.begin(lambda line: marks.get(json.loads(line)["number"], Mark.NONE))
    assert read_all(reader) == found


@pytest.mark.parametrize(
    ("slot", "change", "mark"),
    [
        ("_alerts", ("stopped", "starting"), Mark.START),
        ("_alerts", ("stopping", "starting"), Mark.NONE),
        ("b", ("stopped", "starting"), Mark.LIFE),
        ("b", ("running", "starting"), Mark.NONE),
        ("a", ("running", "stopped"), Mark.OVER),
        ("web", ("stopped", "starting"), Mark.NONE),
    ],
)
def test_news_begin_with_the_life_of_the_pair_that_wants_them(slot, change, mark):
    """Another worker may be born, and die, before the service is."""
    event = {"event": "phase", "slot": slot, "old": change[0], "new": change[1]}
    assert telling._mark_of(json.dumps(event).encode()) is mark
    assert telling._mark_of(b'{"event":"configuration","generation":2}') is Mark.ANEW
    assert telling._mark_of(b'{"torn') is Mark.NONE


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path):
    path = str(tmp_path / "alerts.json")
    assert ledger.read(path) is None
    window = add(Window(5, hurried=True), "fatal", {"event": "phase", "slot": "web", "new": "fatal"})
    assert window.group is not None
    document = message.document("shop", "h", window.group)
    kept = Ledger({"x": 7}, {"web": 3}, {"k": (window, Parcel(document, 2)), "l": (Window(), None)})
    assert ledger.write(path, kept)
    assert ledger.read(path) == kept
    assert os.stat(path).st_mode & 0o777 == 0o600


UNSENDABLE = {
    "layout": 1,
    "positions": {},
    "asked": {},
    "targets": {
        "x": {
            "window": {"until_ns": 0, "hurried": False, "group": None},
            "parcel": {"document": {}, "failures": 0},
        }
    },
}


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "null", "{}", '{"layout": 99}', "[" * 100_000),
        '{"layout": 1, "positions": {}, "asked": {}, "targets": {"x": 1}}',
        '{"layout": 1, "positions": {"a": "x"}, "asked": {}, "targets": {}}',
        json.dumps(UNSENDABLE),
    ],
)
def test_what_is_no_ledger_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "alerts.json"
    path.write_text(text)
    with pytest.raises(ledger.Unreadable):
        ledger.read(str(path))
