"""The event log: complete, in order, one object a line, bounded."""

import itertools
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from worker_kit import LivePair, changes, kill_watchers, until, wait_guarded, wait_running

from twinwatch.core.values import WATCHER_ROLES, Phase
from twinwatch.linux import events as module
from twinwatch.linux.events import EventLog

KILLS = 50
PHASES = {phase.name.lower() for phase in Phase}
WRITERS, LINES = 2, 3000


def test_every_change_is_told_over_fifty_kills(pair: LivePair):
    pair.configure(pair.lone("w"))
    pair.up()
    for generation in range(1, KILLS + 1):
        slot = wait_running(pair, "w", generation=generation)[0]
        pair.kill(slot.identity)
    wait_running(pair, "w", generation=KILLS + 1)
    told = changes(pair, "w")
    until(lambda: changes(pair, "w")[-1]["new"] == "running", "the last one is told")
    told = sorted(changes(pair, "w"), key=lambda event: event["monotonic_ns"])  # two watchers write them
    for event in told:
        assert {
            "time",
            "monotonic_ns",
            "pair",
            "event",
            "slot",
            "old",
            "new",
            "reason",
            "generation",
            "by",
        } <= set(event)
        assert {event["old"], event["new"]} <= PHASES
        assert event["pair"] == "shop"
    born = [event["generation"] for event in told if event["new"] == "starting"]
    assert born == list(range(1, KILLS + 2)), "no birth is missing, none is told twice"
    ended = [event["generation"] for event in told if "exit" in event]
    assert ended == list(range(1, KILLS + 1)), "no end is missing, none is told twice"
    assert all(event["exit"]["signal"] == 9 for event in told if "exit" in event)
    chain = [(event["old"], event["new"]) for event in told]
    assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(chain)), chain


def test_generations_of_watchers_are_told_without_gaps(pair: LivePair):
    pair.configure(pair.lone("w"))
    pair.up()
    for turn in range(10):
        kill_watchers(pair, *([WATCHER_ROLES[turn % 3]] if turn % 3 < 2 else []))
    wait_guarded(pair)
    for role in WATCHER_ROLES:
        told = [event["generation"] for event in changes(pair, role.label) if event["new"] == "running"]
        assert told == list(range(1, pair.role(role).generation + 1)), role
    assert pair.worker("w").generation == 1


def ordered(line: str) -> str:
    return json.dumps(json.loads(line), sort_keys=True)


def test_one_object_a_line(pair: LivePair):
    pair.configure(pair.lone("w"))
    pair.up()
    kill_watchers(pair)
    pair.down()
    data = (pair.kept / "events.jsonl").read_bytes()
    assert data.endswith(b"\n")
    assert all(isinstance(json.loads(line), dict) for line in data.splitlines())
    printed = pair.call("events", "-p", pair.name, "--json").stdout.splitlines()
    assert sorted(map(ordered, printed)) == sorted(map(ordered, data.decode().splitlines())), "each, once"


def write_many(path: str, writer: int, max_bytes: int, start: "multiprocessing.synchronize.Event") -> None:
    module.MAX_BYTES = max_bytes
    log = EventLog(path, "shop", f"writer.{writer}")
    start.wait()
    for number in range(LINES):
        log.write("line", number=number)
    log.close()


def files(path: Path) -> list[Path]:
    """Oldest first."""
    older = sorted(path.parent.glob(f"{path.name}.[0-9]*"), reverse=True)
    return [*older, path] if path.exists() else older


def numbers(path: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for file in files(path):
        for line in file.read_bytes().splitlines():
            event = json.loads(line)
            found.setdefault(event["by"], []).append(event["number"])
    return found


def append_at_once(path: Path, max_bytes: int) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Event()
    writers = [
        context.Process(target=write_many, args=(str(path), n, max_bytes, start)) for n in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
        writer.close()


def test_two_writers_lose_no_line(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    append_at_once(path, 1 << 30)
    assert numbers(path) == {f"writer.{n}": list(range(LINES)) for n in range(WRITERS)}
    assert files(path) == [path]


def test_two_writers_lose_no_line_over_one_rotation(tmp_path: Path):
    """As much as fits into all files that are kept: everything is still there, in one of them."""
    path = tmp_path / "events.jsonl"
    append_at_once(path, WRITERS * LINES * 150 // 3)
    found = numbers(path)
    assert len(files(path)) >= 2, "it was rotated"
    assert {by: sorted(lines) for by, lines in found.items()} == {
        f"writer.{n}": list(range(LINES)) for n in range(WRITERS)
    }


def test_rotation_bounds_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, max_bytes = tmp_path / "events.jsonl", 20_000
    monkeypatch.setattr(module, "MAX_BYTES", max_bytes)
    log = EventLog(str(path), "shop", "writer.0")
    for number in range(LINES):
        log.write("line", number=number)
    log.close()
    kept = files(path)
    assert len(kept) == 1 + module.KEPT
    assert all(max_bytes < file.stat().st_size <= max_bytes + 200 for file in kept[:-1]), (
        "full, and one line more"
    )
    lines = numbers(path)["writer.0"]
    assert lines == list(range(lines[0], LINES)), "the newest, in order, without a gap"


def test_two_writers_keep_a_bounded_number_of_files(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    append_at_once(path, 20_000)
    assert len(files(path)) <= 1 + module.KEPT
    for by, lines in numbers(path).items():
        assert len(set(lines)) == len(lines), f"{by}: none twice"


def test_a_writer_goes_on_in_a_new_file_when_its_own_was_deleted(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path), "shop", "a.1")
    log.write("one", number=1)
    path.unlink()
    log.follow_path()
    log.write("two", number=2)
    log.close()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["two"]


@pytest.mark.parametrize("harm", ["folder", "full"])
def test_a_lost_folder_or_a_full_disk_costs_events_not_the_writer(tmp_path: Path, harm: str):
    folder = tmp_path / "state"
    folder.mkdir()
    path = folder / "events.jsonl"
    if harm == "full":
        log = EventLog(str(path), "shop", "a.1")
        log._fd = os.open("/dev/full", os.O_WRONLY)
    else:
        log = EventLog(str(path), "shop", "a.1")
        folder.rmdir()
    log.write("lost")
    log.close()
