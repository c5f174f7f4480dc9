"""Has spin and gcc check one configuration of docs/model/pair.pml.

spin translates the model into a C program, gcc compiles it, and that program walks through the states.
A run that is not exhaustive says so: a time or memory limit, a depth that did not suffice, or bitstate.
"""

import enum
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).resolve().parents[2] / "docs/model/pair.pml"
DEPTH_MAX = 20_000
BITSTATE_LOG2 = 32  # bits of the table: 512 MiB


class Search(enum.Enum):
    """What is looked for: gcc's switches, and the checker's."""

    STATES = (("-DSAFETY",), ())  # broken assertions
    CYCLES = (("-DNP",), ("-l",))  # runs without an end
    RECOVERY = ((), ("-a",))  # runs that contradict the LTL formula
    BITSTATE = (("-DSAFETY", "-DBITSTATE"), (f"-w{BITSTATE_LOG2}",))  # broken assertions, in most states


@dataclass(frozen=True, slots=True)
class Run:
    """`finds`: the promise that must be found broken, "" if all must hold; `race`: id of a mutant's guard."""

    name: str
    switches: str = ""
    finds: str = ""
    race: str = ""
    search: Search = Search.STATES
    only_search: bool = False  # assertions are left out, so that a cycle is what is found
    limit_s: int = 100
    memory_mb: int = 1400
    seed: int = 0
    level: str = "-O1"  # of gcc

    @property
    def bounds(self) -> frozenset[str]:
        return frozenset(self.switches.split())


@dataclass(frozen=True, slots=True)
class Result:
    run: Run
    broken: str  # the promise, or "cycle"; "" if none was found broken
    is_exhaustive: bool
    why_not: str
    states: int
    depth: int
    seconds: float
    memory_mb: int

    @property
    def is_as_expected(self) -> bool:
        return self.broken == self.run.finds


def absent() -> str:
    """The program without which nothing can be checked; "" if both are there."""
    return next((name for name in ("spin", "gcc") if shutil.which(name) is None), "")


def check(run: Run, folder: Path) -> Result:
    """Check it in `folder`, which is empty.

    Raises:
        RuntimeError: the model does not compile, or the checker says something that is not understood.
    """
    build(run, folder)
    _, options = run.search.value
    command = ["./pan", f"-m{DEPTH_MAX}", *options]
    command += ["-A"] if run.only_search else []
    command += [f"-h{run.seed}"] if run.seed else []
    began = time.monotonic()
    text = run_bounded(command, folder, run.limit_s)
    return read(run, text, time.monotonic() - began)


def build(run: Run, folder: Path) -> None:
    shutil.copy(MODEL, folder)
    switches = [f"-D{switch}" for switch in run.switches.split()]
    switches += ["-DLTL"] if run.search is Search.RECOVERY else []
    call(["spin", *switches, "-a", MODEL.name], folder)
    flags, _ = run.search.value
    level = "-O2" if run.limit_s > 100 else "-O1"  # what runs for a second is not worth two of compiling
    call(
        ["gcc", level, "-w", "-DNOREDUCE", f"-DMEMLIM={run.memory_mb}", *flags, "-o", "pan", "pan.c"], folder
    )


def call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode or "error" in done.stdout.lower():
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def run_bounded(command: list[str], folder: Path, limit_s: int) -> str:
    """What it says; at its time limit it is interrupted, and says how far it came."""
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pan:
        try:
            return pan.communicate(timeout=limit_s)[0]
        except subprocess.TimeoutExpired:
            pan.send_signal(signal.SIGINT)
            return pan.communicate(timeout=60)[0] + "\nout of time\n"
        finally:
            if pan.poll() is None:
                pan.kill()


def read(run: Run, text: str, seconds: float) -> Result:
    """Of the checker's report."""
    stored = re.search(r"(\d+) states, stored", text)
    depth = re.search(r"depth reached (\d+)", text)
    memory = re.search(r"([\d.]+)\s+total actual memory usage", text)
    errors = re.search(r"errors: (\d+)", text)
    if not (stored and depth and memory and errors):
        raise RuntimeError(f"{run.name}: {text}")
    why_not = why_not_exhaustive(run, text)
    broken = what_is_broken(text) if int(errors[1]) else ""
    return Result(
        run,
        broken,
        not why_not and not broken,
        why_not,
        int(stored[1]),
        int(depth[1]),
        seconds,
        int(float(memory[1])),
    )


def what_is_broken(text: str) -> str:
    if found := re.search(r"assertion violated \(?(\w+)", text):
        return found[1]
    if re.search(r"pan:\d+: (acceptance|non-progress) cycle", text):
        return "cycle"
    return text


def why_not_exhaustive(run: Run, text: str) -> str:
    reasons = {
        "bitstate": run.search is Search.BITSTATE,
        "out of time": "out of time" in text,
        "too deep": "max search depth too small" in text,
        "out of memory": "MEMLIM" in text or "out of memory" in text,
    }
    return ", ".join(reason for reason, applies in reasons.items() if applies)
