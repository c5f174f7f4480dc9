"""Which end of a worker is followed by another start, and what is known of how it ended."""

import itertools
import resource
import signal
import subprocess

import pytest
from worker_kit import TIRELESS, LivePair, changes, entry, shown, wait_change, wait_phase

from twinwatch.core.values import ExitKind, Phase

POLICIES = ("always", "on-failure", "never")
# what the first generation does, what is shown of it, and whether it is a success
ENDS = {
    "zero": ("exit 0", {"kind": "clean", "code": 0, "signal": None}, True),
    "three": ("exit 3", {"kind": "error", "code": 3, "signal": None}, False),
    "five": ("exit 5", {"kind": "clean", "code": 5, "signal": None}, True),  # among success_codes
    "kill": ("kill -KILL $$", {"kind": "signal", "code": None, "signal": 9}, False),
    "hup": ("kill -HUP $$", {"kind": "signal", "code": None, "signal": 1}, False),
}


def is_again(policy: str, success: bool) -> bool:
    return policy == "always" or (policy == "on-failure" and not success)


def job(pair: LivePair, name: str, end: str, policy: str) -> str:
    """It says that it was born; the first generation ends, a second one stays."""
    births = pair.births_of(name)
    script = f'echo "$$ $TWINWATCH_GENERATION" >>"{births}"\n[ $TWINWATCH_GENERATION = 1 ] || exec sleep 100000\n{end}'
    restart = {"policy": policy, "success_codes": [0, 5], **TIRELESS}
    return entry(name, ["sh", "-c", script], restart=restart)


def test_every_policy_with_every_end(pair: LivePair):
    cases = {f"{end}-{policy}": (end, policy) for end, policy in itertools.product(ENDS, POLICIES)}
    pair.configure("".join(job(pair, name, ENDS[end][0], policy) for name, (end, policy) in cases.items()))
    pair.up()
    again = {name for name, (end, policy) in cases.items() if is_again(policy, ENDS[end][2])}
    for name in cases:
        if name in again:
            wait_phase(pair, name, Phase.RUNNING, generation=2)
        else:
            wait_phase(pair, name, Phase.STOPPED, generation=1)
    status = pair.call("status", "-p", pair.name, "--json", check=False)
    assert status.returncode == 0, "a job that has ended, and may have, is no trouble"
    for name, (end, _) in cases.items():
        expected = ENDS[end][1] | {"core": False, "reason": None}
        worker = shown(pair, name)
        assert worker["last_exit"] == expected, name
        assert worker["restarts"] == (name in again), name
        assert worker["generation"] == len(pair.births(name)) == (2 if name in again else 1), name
        told = [event["exit"] for event in changes(pair, name) if "exit" in event]
        assert told == [expected], f"{name}: the event says the same, once"


def test_what_ended_for_good_is_not_run_again_by_new_watchers(pair: LivePair):
    """Killed watchers, killed reserves: the record says that it is over."""
    from worker_kit import kill_guards, kill_watchers

    pair.configure(
        job(pair, "never", "exit 3", "never")
        + job(pair, "clean", "exit 0", "on-failure")
        + entry("other", ["sleep", "100000"])
    )
    pair.up()
    before = pair.generations()
    for _ in range(3):
        kill_watchers(pair)
    kill_guards(pair)
    pair.up()
    for name in ("never", "clean"):
        assert len(pair.births(name)) == 1
        assert pair.worker(name).phase is Phase.STOPPED
    now = pair.generations()
    assert {name: now[name] for name in ("never", "clean", "other")} == {
        name: before[name] for name in ("never", "clean", "other")
    }


def can_dump_core(directory: str) -> bool:
    def unlimited() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    try:
        probe = ["python3", "-c", "import os; pid = os.fork() or os.abort(); print(os.waitpid(pid, 0)[1])"]
        done = subprocess.run(probe, cwd=directory, preexec_fn=unlimited, capture_output=True, check=True)
    except (subprocess.SubprocessError, ValueError):
        return False
    return bool(int(done.stdout) & 0x80)


def test_core_dump_is_told_apart(pair: LivePair):
    directory = pair.directory / "cores"
    directory.mkdir()
    if not can_dump_core(str(directory)):
        pytest.skip("kernel lacks core dumps here (limit or core_pattern)")
    keys = {"restart": "never", "directory": str(directory)}
    pair.configure(
        entry("dumps", ["sh", "-c", "kill -ABRT $$"], rlimits={"core": "unlimited"}, **keys)
        + entry("bare", ["sh", "-c", "kill -ABRT $$"], rlimits={"core": 0}, **keys)
    )
    pair.up()
    for name, core in (("dumps", True), ("bare", False)):
        slot = wait_phase(pair, name, Phase.STOPPED, generation=1)
        assert (slot.exit.kind, slot.exit.signal, slot.exit.core) == (ExitKind.SIGNAL, signal.SIGABRT, core)
        expected = {"kind": "signal", "code": None, "signal": 6, "core": core, "reason": None}
        assert shown(pair, name)["last_exit"] == expected
        assert wait_change(pair, name, "stopping")["exit"] == expected
