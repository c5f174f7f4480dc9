"""How long a pair is less than whole after a kill: figures for docs/race-analysis.md.

Starts a throw-away pair with one worker, kills watchers with SIGKILL, and reads the state file and
`/proc` every LOOK_US until each mark is reached: a reader that never slept would take a processor from the
pair that it measures.

Marks, in microseconds after the signal was sent:
  slot filled    the next generation is recorded (by the twin; or by a reserve, where both were killed)
  watching       the next holder says that it watches
  reserve        the next holder has forked its first reserve: from here on one more kill is survived again
"""

import argparse
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

from twinwatch.core.values import WATCHER_ROLES, Identity, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.identity import is_alive, open_process
from twinwatch.linux.statefile import StateFile

CONFIG = """
pair: windows
watch: {interval: 200ms, timeout: 2s, reserve: 2}
workers:
  idle: {command: [sleep, infinity]}
"""
MARKS = ("slot filled", "watching", "reserve")
PACE_MS = 150  # between two rounds: the births of a role stay within its burst
PATIENCE_S = 20
LOOK_US = 20  # and the system's own slack of some 50


@dataclass
class Round:
    """Nanoseconds after the kill, by mark."""

    at_ns: dict[str, int] = field(default_factory=dict)

    def note(self, mark: str, since_ns: int) -> None:
        self.at_ns.setdefault(mark, time.monotonic_ns() - since_ns)


def has_child(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb", buffering=0) as file:
            return bool(file.read(16))
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_whole(state: StateFile) -> bool:
    for role in WATCHER_ROLES:
        slot, reserves = state.slot(role.slot), state.reserves(role)
        listed = reserves.identities if reserves.generation == slot.generation else ()
        if slot.phase is not Phase.RUNNING or sum(map(is_alive, listed)) < 2:
            return False
    return True


def wait_whole(state: StateFile) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_whole(state):
        if time.monotonic() > deadline:
            sys.exit("measure-windows: the pair does not become whole")
        process.pause(5)
    process.pause(PACE_MS)


def kill(identities: list[Identity]) -> int:
    """Signal all in one burst; when the first was sent."""
    pidfds = [open_process(identity) for identity in identities]
    began_ns = time.monotonic_ns()
    for pidfd in pidfds:
        process.send(pidfd, signal.SIGKILL)
    for pidfd in pidfds:
        os.close(pidfd)
    return began_ns


def measure(state: StateFile, killed: tuple[Role, ...]) -> Round:
    """Kill the holders of these roles; the marks of the first of them that is filled again."""
    old = {role: state.slot(role.slot) for role in killed}
    seen, began_ns = Round(), kill([slot.identity for slot in old.values()])
    deadline_ns = began_ns + PATIENCE_S * 10**9
    role = killed[0]
    while len(seen.at_ns) < len(MARKS):
        if time.monotonic_ns() > deadline_ns:
            sys.exit(f"measure-windows: waited in vain: {seen.at_ns}")
        if not seen.at_ns:
            role = next((r for r in killed if state.slot(r.slot).generation > old[r].generation), role)
        slot = state.slot(role.slot)
        if slot.generation == old[role].generation:
            time.sleep(LOOK_US / 1e6)
            continue
        seen.note("slot filled", began_ns)
        if slot.phase is Phase.RUNNING:
            seen.note("watching", began_ns)
        if has_child(slot.identity.pid):
            seen.note("reserve", began_ns)
        time.sleep(LOOK_US / 1e6)
    return seen


def line(mark: str, values_ns: list[int]) -> str:
    ordered = sorted(values_ns)
    quantiles = statistics.quantiles(ordered, n=20, method="inclusive") if len(ordered) > 1 else ordered * 19
    figures = (statistics.median(ordered), quantiles[0], quantiles[-1], ordered[-1])
    return f"  {mark:<17} " + " ".join(f"{ns / 1000:>9.0f}" for ns in figures)


def report(title: str, rounds: list[Round]) -> str:
    columns = f"{'us after':<17} {'median':>9} {'5 %':>9} {'95 %':>9} {'worst':>9}"
    head = f"{title}, {len(rounds)} kills\n  {columns}\n"
    spans = {mark: [seen.at_ns[mark] for seen in rounds] for mark in MARKS}
    spans["reserve - filled"] = [seen.at_ns["reserve"] - seen.at_ns["slot filled"] for seen in rounds]
    return head + "\n".join(line(mark, values) for mark, values in spans.items())


def run(twinwatch: list[str], environ: dict[str, str]) -> None:
    done = subprocess.run(twinwatch, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"measure-windows: {' '.join(twinwatch)}: {done.stdout}{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="measure-windows", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", "--kills", type=int, default=100, help="of each kind (default: 100)")
    kills = parser.parse_args().kills
    with tempfile.TemporaryDirectory(prefix="twinwatch-windows.") as folder:
        config = f"{folder}/windows.yaml"
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
        environ = os.environ | {
            "TWINWATCH_RUNTIME_DIR": f"{folder}/run",
            "TWINWATCH_STATE_DIR": f"{folder}/lib",
        }
        twinwatch = [sys.executable, "-m", "twinwatch"]
        run([*twinwatch, "up", config], environ)
        try:
            state = StateFile(f"{folder}/run/windows", 10**9)
            results: dict[str, list[Round]] = {"one watcher killed": [], "both watchers killed": []}
            for number in range(kills):
                wait_whole(state)
                results["one watcher killed"].append(measure(state, (WATCHER_ROLES[number % 2],)))
                wait_whole(state)
                results["both watchers killed"].append(measure(state, WATCHER_ROLES))
            state.close()
        finally:
            run([*twinwatch, "down", "-p", "windows"], environ)
    release, version = platform.release().split("-")[0], platform.python_version()
    print(f"Linux {release}, CPython {version}, {os.cpu_count()} processors")
    for title, rounds in results.items():
        print(report(title, rounds))


if __name__ == "__main__":
    main()
