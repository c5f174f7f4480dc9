"""The survival curve: how often a pair comes back, against the gap between two kills.

One watcher is killed, and after the gap the next ones. Did the pair become whole again, without help? Asked
of the naive pair that polls, of an event-driven pair without reserves, and of twinwatch under harder and
harder attacks; then of kills that take everything at one instant.

  polling-1s, polling-100ms   two processes that look after each other's PID now and then (scripts/baselines)
  event                       two processes that wait on each other's pidfd, and fork when it is readable
  watchers                    twinwatch: one watcher, then the other one
  watchers-again              one watcher, then whoever holds either role by then
  all-by-pid                  one watcher, then the other one and all reserves, in the order of their PIDs
  all-at-random               the same in random order
  pkill                       `pkill -9 -f`, and the gap after it has ended once more
  anchor                      as all-by-pid, under an anchor (which is not killed)

At one instant, each without an anchor and with one that is killed as well and started again by its init:
namespace (`kill(-1, SIGKILL)`), cgroup (`cgroup.kill`), pkill-once; and group (a process group).

Extinct is a pair of which no process is left that could act. Pairs take turns; while one is attacked the
others are whole and at rest. The gap is measured from just before the first kill to just before the second
one. The killer has real-time priority where it may: else those whom the first kill wakes up delay the
second one.
"""

import argparse
import contextlib
import os
import random
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from survival import atomic, blow, document, naive, ours
from survival.outcome import Point, Trial
from survival.throwaway import Trouble

from twinwatch.chaos.result import machine

ROOT = Path(__file__).resolve().parents[1]
DATA, PICTURE = ROOT / "docs/data/survival.json", ROOT / "docs/pictures/survival.svg"
PROSE = ROOT / "docs/race-analysis.md"
GAPS_MS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
COARSE_MS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)  # for a tool that itself takes milliseconds
KEPT, BROKE, USAGE = 0, 1, 2

Judge = Callable[[random.Random, int], Trial]
"""Makes one trial, with a source of chance and a gap in ns."""


class Grounds:
    """Where trials take place: one kind of pairs at a time, kept for the next curve that needs the same."""

    def __init__(self, folder: str, size: int) -> None:
        self._folder = folder
        self._size = size
        self._open: tuple[object, Any] = (None, None)
        self._stack = contextlib.ExitStack()

    def stage(self, period_s: float | None) -> naive.Stage:
        stage: naive.Stage = self._get(("stage", period_s), lambda _folder: naive.stage(period_s))
        return stage

    def fleet(self, *, anchored: bool) -> ours.Fleet:
        opened = partial(ours.fleet, size=self._size, anchored=anchored)
        fleet: ours.Fleet = self._get(("fleet", anchored), opened)
        return fleet

    def folder(self) -> str:
        return tempfile.mkdtemp(dir=self._folder)

    def wrong(self) -> list[str]:
        kept = self._open[1]
        return kept.take_wrong() if isinstance(kept, ours.Fleet) else []

    def close(self) -> None:
        self._open = (None, None)
        self._stack.close()

    def _get(self, key: object, opened: Callable[[str], AbstractContextManager[Any]]) -> Any:  # noqa: ANN401
        if self._open[0] != key:
            self.close()
            self._open = key, self._stack.enter_context(opened(self.folder()))
        return self._open[1]


@dataclass(frozen=True, slots=True)
class Curve:
    id: str
    title: str
    judge_at: Callable[[Grounds], Judge]
    gaps_ms: tuple[float, ...] = GAPS_MS


@dataclass(frozen=True, slots=True)
class Instant:
    id: str
    title: str
    run: Callable[[str, int], atomic.Outcomes]


def baseline(period_s: float | None, grounds: Grounds) -> Judge:
    return grounds.stage(period_s).trial


def real(attack: ours.Attack, grounds: Grounds, *, anchored: bool = False) -> Judge:
    return partial(grounds.fleet(anchored=anchored).trial, attack=attack)


CURVES = (
    Curve("polling-1s", "polling pair, every 1 s", partial(baseline, 1.0)),
    Curve("polling-100ms", "polling pair, every 100 ms", partial(baseline, 0.1)),
    Curve("event", "event-driven pair, no reserves", partial(baseline, None)),
    Curve("watchers", "twinwatch: the watchers", partial(real, ours.two_watchers)),
    Curve("watchers-again", "twinwatch: watchers, looked up again", partial(real, ours.watchers_looked_up)),
    Curve("all-by-pid", "twinwatch: all guards, by PID", partial(real, ours.all_by_pid)),
    Curve("all-at-random", "twinwatch: all guards, at random", partial(real, ours.all_at_random)),
    Curve("pkill", "twinwatch: pkill -9 -f, twice", partial(real, ours.pkill_twice), COARSE_MS),
    Curve("anchor", "twinwatch, anchored: all but the anchor", partial(real, ours.all_by_pid, anchored=True)),
)
INSTANTS = tuple(
    Instant(f"{name}{'-anchor' if anchored else ''}", f"{title}{after}", partial(run, anchored=anchored))
    for name, title, run, forms in (
        ("namespace", "kill(-1) in a PID namespace", atomic.in_namespace, (False, True)),
        ("cgroup", "cgroup.kill", atomic.in_cgroup, (False, True)),
        ("pkill-once", "pkill -9 -f, one pass", atomic.by_pkill, (False, True)),
        ("group", "a process group: one guard is in it", atomic.by_group, (False,)),
    )
    for anchored, after in ((False, ""), (True, ", anchored"))
    if anchored in forms
)
ALL: tuple[Curve | Instant, ...] = (*CURVES, *INSTANTS)
ORDER = [one.id for one in ALL]


class Run:
    """One run: what it has measured so far is in the file after each curve."""

    def __init__(self, args: argparse.Namespace, grounds: Grounds) -> None:
        self.args = args
        self.grounds = grounds
        self.broken: list[str] = []
        about = {
            "machine": machine() | {"load": round(os.getloadavg()[0], 1)},
            "killer": "real-time" if blow.is_realtime() else "ordinary",
            "seed": args.seed,
            "command": shlex.join(["scripts/survival-curve", *args.words]),
        }
        self.document = document.merged(args.data, about, ORDER)

    def all(self) -> None:
        for one in ALL:
            if self.args.only and one.id not in self.args.only:
                continue
            part, row = self.curve(one) if isinstance(one, Curve) else self.instant(one)
            document.put(self.document, part, row, ORDER)
            document.save(self.args.data, self.document)

    def curve(self, curve: Curve) -> tuple[str, document.Document]:
        judge, points = curve.judge_at(self.grounds), []
        for gap_ms in self.args.gaps or curve.gaps_ms:
            rng = random.Random(f"{self.args.seed} {curve.id} {gap_ms}")
            point = Point(gap_ms, [judge(rng, int(gap_ms * 1e6)) for _ in range(self.args.trials)])
            points.append(point.as_document())
            say(f"{curve.id} {gap_ms:g} ms: {points[-1]['survived']} of {points[-1]['trials']}")
        self.note(curve.id, self.grounds.wrong())
        return "curves", {"id": curve.id, "title": curve.title, "points": points}

    def instant(self, instant: Instant) -> tuple[str, document.Document]:
        self.grounds.close()
        try:
            trials, wrong = instant.run(self.grounds.folder(), self.args.atomic_trials)
        except atomic.Lacking as lacking:
            say(f"{instant.id}: left out, this machine lacks {lacking}")
            return "lacking", {"id": instant.id, "why": str(lacking)}
        self.note(instant.id, wrong)
        survived, stuck = sum(trial.survived for trial in trials), sum(trial.is_stuck for trial in trials)
        say(f"{instant.id}: {survived} of {len(trials)}")
        row = {"id": instant.id, "title": instant.title, "trials": len(trials), "survived": survived}
        return "atomic", row | {"stuck": stuck}

    def note(self, name: str, wrong: Sequence[str]) -> None:
        self.broken += [f"{name}: {what}" for what in wrong]


def say(text: str) -> None:
    print(f"survival-curve: {text}", file=sys.stderr, flush=True)


def gap(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError("a gap is 0 to 1000 ms")
    return value


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/survival-curve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit status: 0 measured, 1 a promise broke (a worker was doubled, restarted or lost), "
        "2 usage, or it could not be measured. Ctrl-C ends it: what was measured of whole curves is kept.",
    )
    parser.add_argument("--trials", type=int, default=200, metavar="N", help="at each gap (200)")
    parser.add_argument(
        "--atomic-trials", type=int, default=50, metavar="N", help="of each kill at one instant (50)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of who is killed, and when (1)")
    parser.add_argument(
        "--only", action="append", choices=ORDER, metavar="ID", help="this alone; may be repeated"
    )
    parser.add_argument("--gaps", type=gap, nargs="+", metavar="MS", help="other gaps than 0 to 10 ms")
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA,
        metavar="FILE",
        help="where results are put (docs/data/survival.json)",
    )
    parser.add_argument(
        "--picture", type=Path, default=PICTURE, metavar="FILE", help="(docs/pictures/survival.svg)"
    )
    parser.add_argument("--no-picture", action="store_true", help="draw none")
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/race-analysis.md, between its marks"
    )
    args = parser.parse_args(words)
    if args.trials < 1 or args.atomic_trials < 1:
        parser.error("at least one trial")
    args.words = words
    return args


def draw(path: Path, found: dict[str, Any]) -> None:
    try:
        from twinwatch.chaos import pictures
    except ModuleNotFoundError as missing:
        say(f"no picture: {missing.name} is not installed (pip install 'twinwatch[report]')")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(pictures.survival(found), encoding="utf-8")


def on_signal(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(words: list[str]) -> int:
    args = parse(words)
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGHUP, on_signal)
    with tempfile.TemporaryDirectory(prefix="twinwatch-survival.") as folder:
        grounds = Grounds(os.path.realpath(folder), min(ours.FLEET, args.trials))
        run = Run(args, grounds)
        try:
            with contextlib.closing(grounds):
                run.all()
        except Trouble as trouble:
            say(str(trouble))
            return USAGE
        except KeyboardInterrupt:
            say("interrupted")
            return USAGE
    if not args.no_picture:
        draw(args.picture, run.document)
    text = document.table(run.document)
    print(text)
    if args.write:
        try:
            document.write_table(PROSE, text)
        except document.NoPlace as missing:
            say(str(missing))
            return USAGE
    for what in run.broken:
        say(f"BROKEN {what}")
    return BROKE if run.broken else KEPT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
