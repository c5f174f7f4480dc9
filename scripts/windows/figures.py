"""The windows by name, and what was measured of them: samples, tables, depth over time. Pure."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from windows.marks import Marks

ONE, BOTH, WORKER = "one", "both", "worker"
TITLES = {ONE: "one watcher killed", BOTH: "both watchers killed in one burst", WORKER: "a worker killed"}
SHOWN = {"median": 0.5, "5 %": 0.05, "95 %": 0.95, "99 %": 0.99, "worst": 1.0}
DEPTH_AT_US = (*range(0, 2000, 100), *range(2000, 10_000, 500), *range(10_000, 40_001, 2000))


@dataclass(frozen=True)
class Window:
    """Between two marks of a kind of kill."""

    id: str
    kind: str
    begins: str
    ends: str
    what: str


WINDOWS = (
    Window("W1a", ONE, "sent", "dead", "SIGKILL is sent, until the pidfd is readable"),
    Window("W1b", ONE, "dead", "awake", "the pidfd is readable, until its guard has returned from its wait"),
    Window("W2", ONE, "awake", "recorded", "the guard is awake, until the next generation is in the slot"),
    Window("W3", ONE, "recorded", "opened", "recorded, until its gate is open (R02, R07, R14)"),
    Window("W4", ONE, "through", "beat", "it is let through, until its first beat as a watcher"),
    Window("W5a", ONE, "recorded", "reserve", "recorded, until its first reserve waits behind its gate"),
    Window("W5b", ONE, "recorded", "listed", "recorded, until all its reserves are listed"),
    Window("W6", ONE, "piped", "dead", "a reserve's pipe ends, until the pidfd is readable (R10)"),
    Window("W7", ONE, "locked", "unlocked", "the state lock is held for a claim (R05, R06)"),
    Window("W8", WORKER, "awake", "told", "a worker's exit is seen, until it is recorded (R15)"),
    Window(
        "W9", WORKER, "dead", "executed", "a worker is dead, until its next generation executes its program"
    ),
    Window("W10a", BOTH, "sent", "recorded", "both killed, until the first slot is filled by a reserve"),
    Window("W10b", BOTH, "sent", "watching", "both killed, until the first new one watches"),
    Window(
        "W10c", BOTH, "sent", "reserve", "both killed, until the first new one has a reserve behind its gate"
    ),
    Window("W10d", BOTH, "sent", "whole", "both killed, until the pair is as deep as before"),
    Window("W11a", ONE, "sent", "recorded", "one killed, until its slot is filled"),
    Window("W11b", ONE, "sent", "watching", "one killed, until the new one watches"),
    Window("W11c", ONE, "sent", "reserve", "one killed, until the new one has a reserve behind its gate"),
    Window("W11d", ONE, "sent", "whole", "one killed, until the pair is as deep as before"),
)


def quantile(ordered: list[float], part: float) -> float:
    """The value that this part of the samples does not exceed; the smallest such sample."""
    rank = -(-len(ordered) * part // 1)
    return ordered[max(int(rank) - 1, 0)]


def samples(window: Window, marks: Iterable[Marks]) -> list[float]:
    """Microseconds, one for each kill that has both marks. Negative: they came the other way round."""
    both = (one for one in marks if window.begins in one and window.ends in one)
    return [(one[window.ends] - one[window.begins]) / 1000 for one in both]


def document(results: dict[str, list[Marks]]) -> list[dict[str, object]]:
    """As it stands in the JSON; windows that could not be seen are left out."""
    found = []
    for window in WINDOWS:
        if values := samples(window, results.get(window.kind, ())):
            entry = {"id": window.id, "what": window.what, "after": TITLES[window.kind], "unit": "us"}
            found.append({**entry, "samples": [round(value, 1) for value in values]})
    return found


def cells(values: list[float]) -> list[str]:
    ordered = sorted(values)
    return [figure(statistics.median(ordered))] + [
        figure(quantile(ordered, part)) for name, part in SHOWN.items() if name != "median"
    ]


def figure(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def text(entries: list[dict[str, object]]) -> str:
    """For a terminal."""
    head = f"{'µs':<5} {'n':>5}" + "".join(f" {name:>8}" for name in SHOWN) + "  what"
    lines = [head]
    for entry in entries:
        row = "".join(f" {cell:>8}" for cell in cells(entry["samples"]))
        lines.append(f"{entry['id']:<5} {len(entry['samples']):>5}{row}  {entry['what']}")
    return "\n".join(lines)


def markdown(entries: list[dict[str, object]]) -> str:
    """For the document."""
    head = [
        "| id | from, to, in µs | n | " + " | ".join(SHOWN) + " |",
        "|---|---|" + "---|" * (len(SHOWN) + 1),
    ]
    for entry in entries:
        row = [entry["id"], entry["what"], str(len(entry["samples"])), *cells(entry["samples"])]
        head.append(f"| {' | '.join(row)} |")
    return "\n".join(head)


# ---------------------------------------------------------------- depth


def at(steps: list[tuple[int, int]], time_us: int) -> int:
    return [count for since_ns, count in steps if since_ns <= time_us * 1000][-1]


def depths(curves: list[list[tuple[int, int]]]) -> list[dict[str, int]]:
    """At each time after the signal: guards left, in the median, in the worst twentieth, and at least."""
    found = []
    for time_us in DEPTH_AT_US if curves else ():
        counts = sorted(float(at(steps, time_us)) for steps in curves)
        figures = {"median": quantile(counts, 0.5), "p5": quantile(counts, 0.05), "least": counts[0]}
        found.append({"at_us": time_us, **{name: int(value) for name, value in figures.items()}})
    return found


def depth_markdown(after: dict[str, list[dict[str, int]]], shown_us: tuple[int, ...]) -> str:
    """The median and the worst, a column a time."""
    head = "| guards left after | | " + " | ".join(f"{time_us / 1000:g} ms" for time_us in shown_us) + " |"
    lines = [head, "|---|---|" + "---|" * len(shown_us)]
    for kind, points in after.items():
        by_time = {point["at_us"]: point for point in points}
        for name, label in (("median", "median"), ("least", "worst")):
            row = " | ".join(str(by_time[time_us][name]) for time_us in shown_us)
            lines.append(f"| {TITLES[kind]} | {label} | {row} |")
    return "\n".join(lines)
