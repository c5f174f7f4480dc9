"""How soon a pair is back under each init when all of it was killed at once: the table of docs/anchors.md.

Boots each init as PID 1 of fresh namespaces (the machines of tests/anchors), with what `twinwatch anchor
install` lays down. A round kills everything but PID 1 with one kill(-1, SIGKILL); where the supervisor is an
ordinary process, everything but it and PID 1. Between two rounds the pair is left alone for PAUSE_MS.

Marks, in milliseconds after the kill was sent:
  first worker  a worker of the pair has executed its first instruction
  whole         anchor and watchers run, and every worker has begun
"""

import argparse
import functools
import gzip
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/anchors")]

from anchored_kit import WORKERS, Anchored, raised  # noqa: E402 - from where tests are
from init_kit import PID_ONES, Cron, Init, OpenrcInit, Runit, SuperviseDaemon, SystemdUser  # noqa: E402
from kernel_kit import Kernel, LackingError, remove_all, start, sweep, wait_done  # noqa: E402
from live_pair import until  # noqa: E402
from machine_kit import lacking, packages_folder  # noqa: E402

from twinwatch.linux import process  # noqa: E402

DOCUMENT = ROOT / "docs/anchors.md"
BEGIN, END = "<!-- measured by scripts/measure-anchors -->", "<!-- end of measured -->"
STAMPING = ROOT / "tests/anchors/stamping_worker.py"
PAUSE_MS = 1500  # longer than the pause that inits make after a short life
CALM_EVERY = 5  # rounds, after which an init with a limit is told to forget
CRON_ROUNDS_MAX = 5
MINUTE_S = 60
PATIENCE_S = 150.0
KERNEL = Kernel()
MORTAL: tuple[Init, ...] = (Runit(), OpenrcInit())
SPARED: tuple[Init, ...] = (SuperviseDaemon(), SystemdUser())
CRON = Cron()
TITLES = {
    "Systemd": "systemd, PID 1",
    "Sysvinit": "sysvinit, PID 1",
    "Busybox": "busybox init, PID 1",
    "Runsvdir": "runsvdir (runit), PID 1",
    "S6": "s6-svscan, PID 1",
    "Svscan": "svscan (daemontools), PID 1",
    "Cron": "cron, PID 1",
    "SuperviseDaemon": "supervise-daemon (OpenRC), killable",
    "SystemdUser": "systemd --user, killable",
    "Kernel": "the kernel (release agent, cgroup v1)",
    "Runit": "runit(8), PID 1",
    "OpenrcInit": "openrc-init, PID 1",
}
MORTAL_SAYS = {
    "Runit": "no: it powers off when its stage 2 dies",
    "OpenrcInit": "no: nobody starts supervise-daemon again",
    "SuperviseDaemon": "no: killed with the pair, it stays dead",
    "SystemdUser": "no: killed with the pair, it stays dead",
}


@dataclass
class Row:
    """Of one init. Nanoseconds, one a round."""

    init: Init
    first_ns: list[int] = field(default_factory=list)
    whole_ns: list[int] = field(default_factory=list)
    trouble: str = ""


class Stamped(Anchored):
    """Its workers say when they began."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What a whole pair has."""
        anchor = () if self.init is KERNEL else ("anchor",)
        return (*anchor, "a", "b", *WORKERS)

    def lone(self, name: str, mode: str = "serve", extra: str = "") -> str:
        text = super().lone(name, mode, extra)
        before = f'"{ROOT / "tests/system/lone_worker.py"}", '
        return text.replace(before, f'"{STAMPING}", "{self.stamps}", ')

    @property
    def stamps(self) -> Path:
        return self.directory / "stamps"

    def count_stamps(self) -> int:
        return self.stamps.read_bytes().count(b"\n") if self.stamps.exists() else 0

    def stamp_after(self, count: int) -> int:
        return min(map(int, self.stamps.read_text().split()[count:]))


# ---------------------------------------------------------------- one init


def is_whole(pair: Stamped, before: dict[str, int], births: dict[str, int]) -> bool:
    slots = pair.slots()
    running = all(
        label in slots and slots[label].generation > before[label] and slots[label].phase.name == "RUNNING"
        for label in pair.labels
    )
    return running and all(len(pair.births(name)) > births[name] for name in WORKERS)


def strike(pair: Stamped, row: Row, kill: Callable[[], int]) -> None:
    """One round."""
    before, births, stamps = pair.generations(), pair.birth_counts(), pair.count_stamps()
    killed_ns = kill()
    until(lambda: is_whole(pair, before, births), "the pair is whole", PATIENCE_S)
    row.whole_ns.append(time.monotonic_ns() - killed_ns)
    row.first_ns.append(pair.stamp_after(stamps) - killed_ns)
    if pair.birth_counts() != raised(births, *WORKERS):
        sys.exit(f"measure-anchors: {row.init}: a worker was started twice")


def pause(pair: Stamped) -> None:
    process.pause(random.randrange(MINUTE_S * 1000) if pair.init is CRON else PAUSE_MS)


def begin(pair: Stamped) -> None:
    pair.configure_lone()
    if pair.init is KERNEL:
        sweep()
    pair.boot()
    if pair.init is KERNEL:
        start(pair)
    nothing = dict.fromkeys(pair.labels, 0)
    until(lambda: is_whole(pair, nothing, nothing), "the pair is whole", PATIENCE_S)


def measure(init: Init, rounds: int, folder: Path) -> Row:
    row, pair = Row(init), Stamped(folder, init)
    try:
        begin(pair)
        spare = functools.partial(pair.kill_at_once, pair.all_of_it)
        for number in range(1, rounds + 1):
            pause(pair)
            strike(pair, row, spare if init in SPARED else pair.machine.nuke)
            if init is KERNEL:
                wait_done(pair)
            if number % CALM_EVERY == 0:
                init.calm(pair.machine)
        pair.assert_never_double()
    except (AssertionError, LackingError) as error:
        row.trouble = str(error).splitlines()[0]
    finally:
        if init is KERNEL:
            remove_all(pair)
        else:
            pair.end()
    return row


# ---------------------------------------------------------------- the table


def version_of(init: Init) -> str:
    """Of the unpacked package, or of the installed one."""
    if init is KERNEL:
        return platform.release().split("-")[0]
    package = init.packages[0] if init.packages else "systemd"
    log = packages_folder() / package / f"usr/share/doc/{package}/changelog.Debian.gz"
    if log.exists():
        with gzip.open(log, "rt", encoding="utf-8") as file:
            return file.readline().partition("(")[2].partition(")")[0]
    query = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout or "?"


def figures(values_ns: list[int]) -> str:
    if not values_ns:
        return "–"
    return f"{statistics.median(values_ns) / 1e6:.0f} / {max(values_ns) / 1e6:.0f}"


def line(row: Row) -> str:
    name = repr(row.init)
    survives = MORTAL_SAYS.get(name, "yes")
    cells = (TITLES[name], version_of(row.init), survives, str(len(row.whole_ns)), figures(row.first_ns))
    return f"| {' | '.join((*cells, figures(row.whole_ns), row.trouble or row.init.pause))} |"


def table(rows: list[Row]) -> str:
    release, version = platform.release().split("-")[0], platform.python_version()
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    head = (
        "All of the pair was killed at one instant, again and again: anchor, watchers, reserves, workers.\n"
        "Median and worst of the milliseconds until the first worker had begun anew, and until all was\n"
        "whole; no worker was ever started twice. *Survives*: whether the pair comes back when\n"
        "`kill(-1, SIGKILL)` hits all but PID 1; where it does not, the supervisor was spared for this.\n"
    )
    titles = "| init | version | survives | kills | first worker, ms | whole, ms | it pauses |"
    machine = (
        f"Linux {release}, {system}, CPython {version}, {os.cpu_count()} processors; "
        "each init in namespaces of its own."
    )
    rule = "|---|---|---|---|---|---|---|"
    return "\n".join((head, titles, rule, *map(line, rows), "", machine))


def put(text: str) -> None:
    """Between the marks of the document."""
    document = DOCUMENT.read_text(encoding="utf-8")
    before, mark, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        sys.exit(f"measure-anchors: {DOCUMENT} has no place between {BEGIN} and {END}")
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def run(rounds: int, wanted: set[str]) -> list[Row]:
    """What is there of `wanted` (empty: all). One measures cron beside the others: it mostly waits."""
    rows: dict[str, Row] = {}
    inits = [init for init in (*PID_ONES, CRON, KERNEL, *SPARED) if not wanted or init.name in wanted]
    with tempfile.TemporaryDirectory(prefix="twinwatch-anchors.") as folder:

        def one(init: Init, times: int) -> None:
            own = Path(folder, repr(init))
            own.mkdir()
            rows[repr(init)] = measure(init, times, own)
            print(f"measured {init}: {len(rows[repr(init)].whole_ns)} kills", file=sys.stderr)

        present = [init for init in inits if is_measurable(init)]
        beside = threading.Thread(target=one, args=(CRON, min(rounds, CRON_ROUNDS_MAX)))
        if CRON in present:
            beside.start()
        for init in present:
            if init is not CRON:
                one(init, rounds)
        if CRON in present:
            beside.join()
    return [rows[repr(init)] for init in present] + [Row(init) for init in MORTAL if not wanted]


def is_measurable(init: Init) -> bool:
    lack = lacking(needs_cgroup=init.needs_cgroup) if init.is_here() else "it: see tests/anchors/fetch_inits"
    if lack:
        print(f"left out {init}: this machine lacks {lack}", file=sys.stderr)
    return not lack


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="measure-anchors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-n", "--kills", type=int, default=20, help="of each init (default: 20; of cron 5 at most)"
    )
    parser.add_argument("--init", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument(
        "--write", action="store_true", help=f"put the table into {DOCUMENT.relative_to(ROOT)}"
    )
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("measure-anchors: only root can make the machines")
    text = table(run(args.kills, set(args.init)))
    print(text)
    if args.write:
        put(text)


if __name__ == "__main__":
    main()
