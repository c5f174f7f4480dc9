"""The internal worker that rotates logs is struck at each call that changes something: no line is lost or doubled.

The lines are written by the test, as a worker writes them: appended to the file itself. The operation begins when
the log is long enough, and is over when its backup is there, and the one before is compressed. A killed service is followed by the next
one; a stopped one is killed too, every other time, and else goes on, while the log has grown further.
"""

import os
import signal

import pytest
from every_step_pair import assert_only_recorded, file_names, strike_watching
from every_step_strike import Strike, all_steps, needs_ptrace
from live_pair import LivePair, until
from test_worker_logs import backups, joined
from worker_kit import SLEEP, entry, wait_running

from twinwatch.core.rotating import Record, Stage
from twinwatch.linux import rotation_record
from twinwatch.linux.identity import is_alive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_ptrace]

SERVICE, LOG = "_logs", "w.log"
BLOCK = 4096
KEEP = 3  # each rotation renames them all: with more, it would be a longer operation each time
BURST = 3  # deaths of the service in a row that cost no time


class Written:
    """What a worker has written: numbered lines, about `size` bytes at a time."""

    def __init__(self, pair: LivePair) -> None:
        self.path = pair.kept / "log" / LOG
        self.text = b""

    def more(self, size: int) -> None:
        first = self.text.count(b"\n")
        data = b"".join(b"%09d\n" % number for number in range(first, first + size // 10))
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        self.text += data


def record_of(pair: LivePair) -> Record | None:
    return rotation_record.load(rotation_record.path_of(str(pair.kept), str(pair.kept / "log" / LOG)))


def is_settled(pair: LivePair, sequence: int) -> bool:
    """A rotation was recorded after this one; all is rotated, and all but the newest backup is compressed."""
    record = record_of(pair)
    if record is None or record.sequence <= sequence or record.stage is not Stage.REST:
        return False
    try:
        found = backups(pair, LOG)
    except FileNotFoundError:
        return False  # it is just being renumbered
    is_packed = all(path.suffix == ".gz" for path in found[:-1])
    return is_packed and 0 < len(found) <= KEEP and live_size(pair) <= BLOCK


def live_size(pair: LivePair) -> int:
    """Bytes that are written and not yet rotated."""
    record = record_of(pair)
    return (pair.kept / "log" / LOG).stat().st_size - (record.hole if record else 0)


@pytest.mark.parametrize(("name", "every"), [("SIGKILL", 4), ("SIGSTOP", 7)])
def test_a_rotation(pair: LivePair, name: str, every: int) -> None:
    rotate = {"size": "4KiB", "keep": KEEP}
    pair.configure(entry("w", SLEEP, log={"rotate": rotate}), watch="{interval: 100ms, timeout: 20s}")
    pair.up()
    wait_running(pair, "w", SERVICE)
    written = Written(pair)
    until(written.path.exists, "the log is there")
    for _ in range(KEEP + 1):
        sequence = record.sequence if (record := record_of(pair)) else -1
        written.more(BLOCK + 1000)
        until(lambda sequence=sequence: is_settled(pair, sequence), "it was rotated")
    names = file_names(pair)

    def play(nth: int) -> Strike:
        (slot,) = wait_running(pair, SERVICE)
        sequence = record_of(pair).sequence
        strike = Strike(name, nth, [slot.identity], only_changes=True)
        strike_watching(pair, strike, lambda: written.more(BLOCK + 1000), lambda: is_settled(pair, sequence))
        written.more(100)
        if strike.struck and name == "SIGSTOP":
            pair.kill(slot.identity, number=signal.SIGKILL if nth % 2 else signal.SIGCONT)
        if strike.struck and not is_alive(slot.identity):
            wait_running(pair, SERVICE, generation=slot.generation + 1)
        until(lambda: is_settled(pair, sequence), f"the rotation comes to its end after {strike}")
        until(lambda: not file_names(pair) - names, f"{strike}: left {file_names(pair) - names}")
        kept = joined(pair, LOG)
        assert written.text.endswith(kept), f"{strike}: lines are lost or doubled"
        assert len(kept) >= KEEP * BLOCK, f"{strike}: a backup is lost"
        assert_only_recorded(pair, strike)
        if pair.worker(SERVICE).failures >= BURST:
            pair.call("restart", "-p", pair.name, SERVICE)
        return strike

    all_steps(play, f"a rotation, {name}", every, least=15)
