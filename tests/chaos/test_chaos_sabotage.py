"""The harness can fail: a pair that breaks a promise, or is made to, is found out and the promise is named."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from chaos_kit import PATIENT, begun, ended, quick, what_broke
from live_pair import LivePair, until

from twinwatch.chaos import census, worker
from twinwatch.core import record
from twinwatch.core.values import FIRST_WORKER_SLOT, NO_EXIT, Role
from twinwatch.linux.identity import ProcessGone


def put_slot(pair: LivePair, index: int, **changes: object) -> None:
    """Another record, sound and current, past every lock."""
    slot, at = pair.state.slot(index), record.slot_at(index)
    with open(pair.runtime / "state", "r+b", buffering=0) as file:
        version = record.next_version(int.from_bytes(os.pread(file.fileno(), 4, at), "little"))
        copy = record.pack_copy(version, record.pack_slot(replace(slot, **changes)))
        os.pwrite(file.fileno(), copy, at + record.COPY_AT[version & 1])
        os.pwrite(file.fileno(), record.pack_selector(version), at)


def test_a_generation_that_goes_back(pair: LivePair):
    pair.kill(pair.worker("one").identity)
    pair.wait_whole({"one": 2})
    run = begun(pair)
    put_slot(pair, FIRST_WORKER_SLOT, generation=1, exit=NO_EXIT)
    code, found, errors = ended(run)
    assert code == 1, errors
    assert "P1 one went back from generation 2 to 1" in what_broke(found)


def test_a_second_copy_of_a_worker(pair: LivePair):
    """Started by hand with all that the first has, its token included, but for the generation."""
    run = begun(pair)
    pid = pair.worker("one").identity.pid
    environ = dict(
        entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in entry
    )
    token = next(
        path
        for fd in os.listdir(f"/proc/{pid}/fd")
        if "/token/" in (path := os.readlink(f"/proc/{pid}/fd/{fd}"))
    )
    held = os.open(token, os.O_RDONLY)
    copy = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()"],
        env=environ | {"TWINWATCH_GENERATION": "7"},
        pass_fds=(held,),
    )
    os.close(held)
    try:
        code, found, errors = ended(run)
    finally:
        copy.kill()
        copy.wait()
    assert code == 1, errors
    assert "P1 double start: generations 1, 7 of one live at once" in what_broke(found)


def test_a_worker_that_starts_a_second_copy_of_itself(tmp_path):
    """The kernel itself says so: the copy cannot have the lock."""
    bad = tmp_path / "twice.py"
    good = Path(worker.__file__).read_text()
    again = (
        "    import subprocess\n    subprocess.Popen([sys.executable, *sys.orig_argv[1:]])\n    while True:"
    )
    bad.write_text(good.replace("    while True:", again))
    done, found = quick(
        tmp_path, "--fault", "kill-worker", "--strikes", "3", "--seed", "1", worker_program=str(bad)
    )
    assert done.returncode == 1
    assert "P1 double start: " in what_broke(found)
    assert [path.name for path in tmp_path.iterdir()] == ["twice.py"]


def test_watchers_that_never_return(pair: LivePair):
    """All guards are stopped before they are killed, so that none of them has time to revive another."""
    run = begun(pair, "--patience", "2s")
    while everyone := pair.everyone():
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for one in everyone:
                with suppress(ProcessGone):
                    pair.kill(one, number=number)
    code, found, errors = ended(run)
    assert code == 1, errors
    assert "P3 not whole again" in what_broke(found)
    assert found["events"][-1]["outcome"] == "broken" or found["missed"]


def test_a_watcher_that_nobody_killed(pair: LivePair):
    run = begun(pair)
    pair.kill(pair.role(Role.A).identity)
    code, found, errors = ended(run)
    assert code == 1, errors
    assert "P9 nobody killed watcher a" in what_broke(found)


def test_a_worker_that_somebody_killed(pair: LivePair):
    run = begun(pair)
    before = pair.worker("one").generation
    pair.kill(pair.worker("one").identity)
    pair.wait_whole({"one": before + 1})
    code, found, errors = ended(run)
    assert code == 1, errors
    assert "P4 nobody killed one" in what_broke(found)


def test_a_record_that_nobody_can_repair(pair: LivePair):
    run = begun(pair)
    with open(pair.runtime / "state", "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"\xa5" * record.RECORD_SIZE, record.slot_at(FIRST_WORKER_SLOT))
    code, found, errors = ended(run)
    assert code == 1, errors
    assert "P7 the record of slot 3 (selector and both copies) is damaged" in what_broke(found)


def test_a_stranger_that_somebody_signals(tmp_path: Path):
    command = [sys.executable, "-m", "twinwatch", "chaos", "--throw-away", "--fault", "kill-a", "--json"]
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    run = subprocess.Popen(
        [*command, "--duration", "10m", *PATIENT], env=environ, stdout=subprocess.PIPE, text=True
    )
    until(lambda: strangers(tmp_path), "strangers live")
    until(lambda: list(tmp_path.glob("*/lone-3.births")), "its workers run")
    os.kill(strangers(tmp_path)[0], signal.SIGHUP)
    code, found, _ = ended(run)
    assert code == 1
    assert "P6 a stranger, PID" in what_broke(found)
    assert f"got signals {int(signal.SIGHUP)}" in what_broke(found)


def strangers(directory: Path) -> list[int]:
    """Living ones that hear every signal: their notes are open."""
    mark = f"{directory}/".encode()
    found = [pid for pid in census.pids() if mark in census.proc(pid, "cmdline")]
    return [pid for pid in found if b"bystander.py" in census.proc(pid, "cmdline") and notes_of(pid)]


def notes_of(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return any("/heard." in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in census.descriptors(pid))
    return False


def test_a_worker_that_ends_by_itself_is_not_judged(pair: LivePair):
    run = begun(pair, "--strikes", "2")
    before = pair.worker("one").generation
    pair.kill(pair.worker("one").identity, number=signal.SIGTERM)
    pair.wait_whole({"one": before + 1})
    code, found, errors = ended(run)
    assert (code, found["workers_ended_themselves"]) == (0, 1), what_broke(found) + errors
