"""`doctor --bench`: what was measured here, as a table, and what follows from it."""

from collections.abc import Iterator, Mapping
from typing import Any

from twinwatch.bench import run as bench
from twinwatch.chaos.measures import span
from twinwatch.chaos.run import Interrupted
from twinwatch.cli.human import NOTHING, size
from twinwatch.cli.output import Output, remark
from twinwatch.cli.table import Block, Cell, Table, Tone, line

COLD_RATIO = 3.0  # a rest that makes the same work so many times as long is told of
LATE_SHARE = 0.1  # of the watchers' timeout: a sleep that is later is told of

_MARKS = (
    ("kill_to_birth_ns", "successor recorded"),
    ("kill_to_running_ns", "successor runs"),
)
_WATCHER_MARKS = (
    ("kill_to_death_ns", "seen dead"),
    ("death_to_birth_ns", "place filled, since seen dead"),
    ("kill_to_birth_ns", "place filled"),
    ("kill_to_running_ns", "successor watches"),
)
_DEATHS = {
    "worker": ("one worker killed", _MARKS),
    "watcher": ("one watcher killed", _WATCHER_MARKS),
    "both_watchers": ("both watchers killed", _WATCHER_MARKS[2:]),
    "all_workers": (
        "all {workers} workers killed",
        tuple((mark, f"last {until}") for mark, until in _MARKS),
    ),
}

Found = Mapping[str, Any]


def run(rounds: int | None, output: Output, *, json: bool) -> int:
    """The command. Exit code 1: a worker was touched that should not have been."""
    try:
        found = bench.run(rounds or bench.ROUNDS, lambda text: remark(f"{text} …"))
    except Interrupted:
        raise KeyboardInterrupt from None
    if json:
        output.json({"schema": 1, "bench": found})
    else:
        output.show(blocks(found))
    return 1 if found["broken"] else 0


def blocks(found: Found) -> list[Block]:
    """What it was measured on, the times, the cost, and what follows."""
    where, pair = found["machine"], found["pair"]
    times = ("WHAT", "UNTIL", "TIMES", "MEDIAN", "MAX")
    return [
        line(
            f"Linux {where['kernel']}, Python {where['python']}, {where['cpus']} CPUs, "
            f"load before {where['load']}; a pair with {pair['workers']} workers"
        ),
        line(""),
        Table(times, (*_death_rows(found), *_floor_rows(found["floor"])), frozenset(times[2:])),
        line(""),
        Table(
            ("WHILE NOTHING HAPPENS", "ALL GUARDS"),
            tuple(_idle_rows(found["idle"])),
            frozenset({"ALL GUARDS"}),
        ),
        line(""),
        *_method(found),
        *_conclusions(found),
    ]


def _death_rows(found: Found) -> Iterator[tuple[Cell, ...]]:
    for name, (title, marks) in _DEATHS.items():
        death = found["deaths"][name]
        for number, (mark, until) in enumerate(marks):
            what = title.format(workers=found["pair"]["workers"]) if number == 0 else " "
            yield _row(what, until, death[mark], death["count"] if number == 0 else " ")


def _floor_rows(floor: Found) -> Iterator[tuple[Cell, ...]]:
    """The machine by itself."""
    rest, sleep = span(floor["rest_ns"] / 1e9), span(floor["sleep_ns"] / 1e9)
    for what, name in (("runs `true`", "spawn"), ("does a piece of work", "work")):
        yield _row(f"machine {what}", "done, straight after the same", floor[f"{name}_warm_ns"])
        yield _row(" ", f"done, after a rest of {rest}", floor[f"{name}_cold_ns"])
    yield _row(f"machine sleeps {sleep}", "awake, beyond that", floor["sleep_late_ns"])


def _row(what: str, until: str, times: Mapping[str, int], count: object = " ") -> tuple[Cell, ...]:
    return tuple(map(Cell, (what, until, str(count), _span(times["median"]), _span(times["max"]))))


def _span(nanoseconds: int) -> str:
    """A death may have been seen later than what came of it."""
    return f"-{span(-nanoseconds / 1e9)}" if nanoseconds < 0 else span(nanoseconds / 1e9)


def _idle_rows(idle: Found) -> Iterator[tuple[Cell, ...]]:
    cpu = idle["cpu_ns_per_s"]
    yield Cell("processes"), Cell(str(idle["processes"]))
    yield Cell("CPU time per second"), Cell(NOTHING if cpu is None else f"{cpu / 1e6:.2f} ms")
    yield Cell("wake-ups per second"), Cell(f"{idle['wakeups_per_s']:g}")
    yield Cell("memory (PSS)"), Cell(size(idle["pss_bytes"]))


def _method(found: Found) -> list[Block]:
    """What the figures are."""
    look, pause = (span(found["pair"][name] / 1e9) for name in ("look_ns", "pause_ns"))
    texts = (
        "Times are since the first signal was sent. A successor is recorded when the pair's own record says,",
        f"and runs (its program was executed) when that record was seen to say so, by a look every {look}.",
        f"Before each death the pair was whole for {pause}.",
    )
    return [line(text, Tone.FAINT) for text in texts]


def _conclusions(found: Found) -> Iterator[Block]:
    """Only what a measured fact supports."""
    yield from (line(f"BROKEN {what}", Tone.BAD) for what in found["broken"])
    if not found["broken"]:
        yield line("No worker was restarted or doubled but those that were killed.", Tone.GOOD)
    yield line(_compared(found["deaths"]["worker"], found["floor"]))
    yield from (line(text, Tone.DOUBTFUL) for text in doubts(found["floor"], found["pair"]["timeout_ns"]))


def _compared(worker: Found, floor: Found) -> str:
    """What is the pair's part of a restart, and what the machine's."""
    times = worker["kill_to_running_ns"]["median"] / max(1, floor["spawn_cold_ns"]["median"])
    return f"A restart takes {times:.1f} times what the machine takes to run `true` after a rest."


def doubts(floor: Found, timeout_ns: int) -> Iterator[str]:
    """What of this machine makes a pair slower than it could be. `timeout_ns`: of the watchers."""
    ratio = floor["work_cold_ns"]["median"] / max(1, floor["work_warm_ns"]["median"])
    if ratio >= COLD_RATIO:
        yield (
            f"After a rest the same work takes {ratio:.0f} times as long (usual on shared virtual machines: "
            "cold caches). A death comes after a rest, so a restart pays that too."
        )
    late = floor["sleep_late_ns"]["max"]
    if late >= LATE_SHARE * timeout_ns:
        yield (
            f"A sleep was {span(late / 1e9)} late: the processors are busy, or stand still at times. "
            "Recoveries are late by as much."
        )
