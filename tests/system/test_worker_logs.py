"""Logs of a living pair: rotated while the worker writes and everybody is killed, stamped, and followed."""

import gzip
import os
import re
import signal
from pathlib import Path

from worker_kit import (
    LivePair,
    background,
    entry,
    kill_watchers,
    program,
    status_field,
    until,
    wait_running,
)

from twinwatch.core.rotating import numbered
from twinwatch.linux import rotation

SERVICE = "_logs"
STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (.*)")


def backups(pair: LivePair, name: str) -> list[Path]:
    """The oldest first."""
    folder = pair.kept / "log"
    found = numbered(name, os.listdir(folder))
    return [folder / found[number][0] for number in sorted(found, reverse=True)]


def joined(pair: LivePair, name: str) -> bytes:
    """All backups, unpacked, and what of the file is no hole."""
    data = b""
    for path in backups(pair, name):
        data += gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    live = pair.kept / "log" / name
    with live.open("rb") as file:
        file.seek(rotation.first_data(file.fileno()))
        return data + file.read()


def newest(pair: LivePair, name: str) -> int:
    """The inode of the newest backup; 0 while there is none."""
    found = backups(pair, name)
    try:
        return found[-1].stat().st_ino if found else 0
    except FileNotFoundError:  # it is just being renumbered
        return newest(pair, name)


def wait_rotated(pair: LivePair, name: str) -> None:
    before = newest(pair, name)
    until(lambda: newest(pair, name) != before, "the log is rotated")


def kill_service(pair: LivePair) -> None:
    slot = wait_running(pair, SERVICE)[0]
    pair.kill(slot.identity)
    wait_running(pair, SERVICE, generation=slot.generation + 1)


def test_no_line_is_lost_or_doubled(pair: LivePair):
    """The service, both watchers, then the service again are killed; `logs -f` sees each line once."""
    rotate = {"size": "64KiB", "keep": 1000}
    pair.configure(entry("w", program("numbers_worker.py", pair.directory / "far"), log={"rotate": rotate}))
    pair.up()
    born = wait_running(pair, "w")[0]
    until((pair.kept / "log" / "w.log").exists, "it writes")
    with background(pair, "logs", "-p", pair.name, "-f", "-n", "100000000", "w") as follower:
        wait_rotated(pair, "w.log")
        kill_service(pair)
        wait_rotated(pair, "w.log")
        kill_watchers(pair)
        kill_service(pair)
        wait_rotated(pair, "w.log")
        assert pair.worker("w").identity == born.identity, "the worker was asked nothing"
        pair.call("stop", "-p", pair.name, "w")
        last = pair.call("logs", "-p", pair.name, "-n", "1", "w").stdout
        shown = []
        for line in follower.stdout:
            shown.append(line.rstrip("\n"))
            if line == last:
                break
        follower.send_signal(signal.SIGINT)
        follower.communicate()
    pair.down()
    written = joined(pair, "w.log").decode().splitlines()
    assert written == [str(number) for number in range(len(written))]
    assert shown == written
    done = pair.call("logs", "-p", pair.name, "-n", str(len(written)), "w")
    assert done.stdout.splitlines() == written


def test_by_age(pair: LivePair):
    script = "head -c 9000 /dev/zero | tr '\\0' x; exec sleep 100000"
    pair.configure(entry("w", ["sh", "-c", script], log={"rotate": {"age": "1s", "compress": False}}))
    pair.up()
    until(lambda: backups(pair, "w.log"), "the log is rotated")
    pair.down()  # a rotation that goes on is completed
    assert joined(pair, "w.log") == b"x" * 9000


def test_what_cannot_be_rotated_is_told_once(pair: LivePair):
    log = pair.directory / "far.log"
    log.write_bytes(b"x" * 9000)
    os.link(log, pair.directory / "double")
    pair.configure(
        entry("w", ["sleep", "100000"], log={"file": str(log), "rotate": {"size": "4KiB"}})
        + entry(
            "v", ["sh", "-c", "head -c 9000 /dev/zero; exec sleep 9999"], log={"rotate": {"size": "4KiB"}}
        )
    )
    pair.up()
    until(lambda: backups(pair, "v.log"), "the other log is rotated")
    told = [event for event in pair.events() if event["event"] == "rotate-failed"]
    assert [(event["slot"], event["path"]) for event in told] == [("w", str(log))]
    assert "another name" in str(told[0]["reason"])
    assert log.read_bytes() == b"x" * 9000


def test_timestamps(pair: LivePair):
    """Each line gets its time; the sink is told to end, and killed, and the worker does not notice."""
    pair.configure(entry("w", program("talker.py"), log={"timestamps": True}))
    pair.up()
    log = pair.kept / "log" / "w.log"
    born = wait_running(pair, "w")[0]
    for number in (signal.SIGTERM, signal.SIGKILL):
        slot = wait_running(pair, "_log.w")[0]
        until(lambda: log.exists() and log.read_bytes().endswith(b"\n"), "it is stamped")
        if number == signal.SIGKILL:  # not in the middle of a write
            pair.kill(slot.identity, number=signal.SIGSTOP)
            until(lambda pid=slot.identity.pid: status_field(pid, "State").startswith("T"), "it stands still")
        pair.kill(slot.identity, number=number)
        wait_running(pair, "_log.w", generation=slot.generation + 1)
        size = log.stat().st_size
        until(lambda size=size: log.stat().st_size > size, "it is stamped again")
    assert pair.worker("w").identity == born.identity
    pair.call("stop", "-p", pair.name, "w")
    pair.down()
    lines = log.read_text().splitlines()
    found = [STAMPED.fullmatch(line) for line in lines]
    assert all(found)
    numbers = [int(line[1]) for line in found]
    assert numbers == sorted(set(numbers)), "none is doubled; what a killed sink had in its hands may be lost"
    assert numbers[0] == 0
