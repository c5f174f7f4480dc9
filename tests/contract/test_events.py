"""The event log on the real kernel: whole lines from many writers, rotation, and what a full disk costs."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from scene import act, adopting_orphans

from twinwatch.linux import events
from twinwatch.linux.events import EventLog


@pytest.fixture
def log(tmp_path: Path):
    opened = EventLog(str(tmp_path / "events.jsonl"), "shop", "a.1")
    with adopting_orphans():
        yield opened
    opened.close()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_one_object_a_line(log, tmp_path):
    log.write("phase", slot="web", old="stopped", pid=None, reason="", generation=0)
    (entry,) = lines(tmp_path / "events.jsonl")
    assert {key: entry[key] for key in ("pair", "event", "slot", "old", "generation", "by")} == {
        "pair": "shop",
        "event": "phase",
        "slot": "web",
        "old": "stopped",
        "generation": 0,
        "by": "a.1",
    }
    assert "pid" not in entry
    assert "reason" not in entry
    assert entry["time"].endswith("Z")
    assert entry["monotonic_ns"] > 0


def test_text_cannot_break_a_line(log, tmp_path):
    log.write("crashed", reason="one\ntwo\u2028 “three”\0")
    (entry,) = lines(tmp_path / "events.jsonl")
    assert entry["reason"] == "one\ntwo\u2028 “three”\0"
    assert (tmp_path / "events.jsonl").read_bytes().count(b"\n") == 1


def write_many(path: str, count: int):
    def part(_say):
        own = EventLog(path, "shop", "x")
        for number in range(count):
            own.write("tick", writer=os.getpid(), number=number, padding="x" * 200)

    return part


def test_many_writers_and_rotation_lose_and_tear_nothing(log, tmp_path, monkeypatch):
    monkeypatch.setattr(events, "MAX_BYTES", 40_000)
    path = tmp_path / "events.jsonl"
    writers = [act(write_many(str(path), 100)) for _ in range(4)]
    assert [writer.status() for writer in writers] == [0] * 4
    found = [path, *(tmp_path / f"events.jsonl.{n}" for n in range(1, events.KEPT + 1))]
    entries = [entry for file in found if file.exists() for entry in lines(file)]
    numbers = {(entry["writer"], entry["number"]) for entry in entries}
    assert numbers == {(writer.pid, number) for writer in writers for number in range(100)}
    assert len(entries) == 400
    for writer in writers:
        writer.close()


def test_what_is_kept_is_bounded(log, tmp_path, monkeypatch):
    monkeypatch.setattr(events, "MAX_BYTES", 1000)
    for number in range(200):
        log.write("tick", number=number)
    names = sorted(path.name for path in tmp_path.iterdir())
    kept = [f"events.jsonl.{n}" for n in range(1, events.KEPT + 1)]
    assert set(names) - {"events.jsonl", "events.jsonl.lock"} == set(kept)
    assert all((tmp_path / name).stat().st_size < 1300 for name in kept)


def test_a_renamed_file_is_followed(log, tmp_path):
    path = tmp_path / "events.jsonl"
    log.write("one")
    os.rename(path, tmp_path / "away")
    log.follow_path()
    log.write("two")
    assert [entry["event"] for entry in lines(path)] == ["two"]


def test_a_lost_directory_is_made_again(tmp_path):
    folder = tmp_path / "lib"
    folder.mkdir()
    lost = EventLog(str(folder / "events.jsonl"), "shop", "a")
    lost.write("one")
    shutil.rmtree(folder)
    lost.follow_path()
    lost.write("two")
    assert [entry["event"] for entry in lines(folder / "events.jsonl")] == ["two"]
    lost.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE])
def test_a_full_disk_costs_events_and_nothing_else(log, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        log.write("lost")
    log.write("kept")


def test_a_symlink_is_not_followed(tmp_path):
    os.symlink(tmp_path / "target", tmp_path / "events.jsonl")
    with pytest.raises(OSError, match="symbolic"):
        EventLog(str(tmp_path / "events.jsonl"), "shop", "a").write("x")
    assert not (tmp_path / "target").exists()
