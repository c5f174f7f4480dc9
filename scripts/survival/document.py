"""What a run leaves: one JSON document, into which each run puts its own part, and a table for people.

    {"schema": 1, "machine": {...}, "killer": "real-time" | "ordinary", "seed": N, "command": "...",
     "curves": [{"id", "title", "points": [POINT, ...]}],
     "atomic": [{"id", "title", "trials", "survived", "stuck"}],
     "lacking": [{"id", "why"}]}

POINT is {"gap_ms", "trials", "survived", "stuck", "actual_gap_ms": {"median", "p95"}}.
"""

import json
import os
from pathlib import Path
from typing import Any

from twinwatch.chaos.measures import wilson

SCHEMA = 1
BEGIN, END = "<!-- survival -->", "<!-- /survival -->"
SHOWN_MS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0)

Document = dict[str, Any]


class NoPlace(Exception):
    """The document for people has no place for the table."""


def merged(path: Path, about: Document, order: list[str]) -> Document:
    """What is there, of this machine; else a new one. `about`: machine, seed and command of this run."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if old.get("schema") != SCHEMA or _bare(old["machine"]) != _bare(about["machine"]):
        old = {}
    kept = {part: [row for row in old.get(part, []) if row["id"] in order] for part in PARTS}
    return {"schema": SCHEMA, **about, **kept}


PARTS = ("curves", "atomic", "lacking")


def _bare(machine: Document) -> Document:
    """Without what differs from run to run."""
    return {name: value for name, value in machine.items() if name != "load"}


def put(document: Document, part: str, row: Document, order: list[str]) -> None:
    """Into one part, in the place of what the same experiment said before."""
    for other in PARTS:
        document[other] = [one for one in document[other] if one["id"] != row["id"]]
    document[part] = sorted([*document[part], row], key=lambda one: order.index(one["id"]))


def save(path: Path, document: Document) -> None:
    """At no moment is half of it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


# ---------------------------------------------------------------- for people


def percent(survived: int, trials: int) -> str:
    if survived in (0, trials):
        return "0" if survived == 0 else "100"
    share = 100 * survived / trials
    return f"{share:.1f}" if share < 10 or share > 90 else f"{share:.0f}"


def table(document: Document) -> str:
    """Markdown: the curves at some gaps, what is killed at one instant, and the machine."""
    lines: list[str] = []
    curves = document["curves"]
    if curves:
        there = {point["gap_ms"] for curve in curves for point in curve["points"]}
        gaps = [gap for gap in SHOWN_MS if gap in there] or sorted(there)
        lines += ["Came back, % of trials, by the milliseconds between the first kill and the next:", ""]
        lines += [f"| killed | {' | '.join(f'{gap:g}' for gap in gaps)} |", "|---|" + "---|" * len(gaps)]
        lines += [_row(curve, gaps) for curve in curves]
    if document["atomic"]:
        lines += ["", "| killed at one instant | trials | came back |", "|---|---|---|"]
        lines += [f"| {row['title']} | {row['trials']} | {row['survived']} |" for row in document["atomic"]]
    lines += ["", *_notes(document)]
    return "\n".join(lines)


def _row(curve: Document, gaps: list[float]) -> str:
    points = {point["gap_ms"]: point for point in curve["points"]}
    cells = [percent(points[gap]["survived"], points[gap]["trials"]) if gap in points else "" for gap in gaps]
    return f"| {curve['title']} | {' | '.join(cells)} |"


def _notes(document: Document) -> list[str]:
    machine = document["machine"]
    points = [point for curve in document["curves"] for point in curve["points"]]
    said = (
        f"Linux {machine['kernel']}, CPython {machine['python']}, {machine['cpus']} processors "
        f"({machine['model']}), load {machine['load']} when it began; seed {document['seed']}; "
        f"a killer of {document['killer']} priority."
    )
    notes = [said]
    if points:
        fewest = min(point["trials"] for point in points)
        sure = 100 * wilson(fewest, fewest)[0]
        notes += [
            f"At least {fewest} a point: all of {fewest} is more than {sure:.1f} %, with 95 % confidence."
        ]
    if stuck := sum(row["stuck"] for row in (*points, *document["atomic"])):
        notes += [f"{stuck} trials ended in a pair neither whole nor extinct; they count as not survived."]
    return notes + [
        f"Not tried: {row['id']}; this machine lacks {row['why']}." for row in document["lacking"]
    ]


def write_table(path: Path, text: str) -> None:
    """Between the marks of a document.

    Raises:
        NoPlace: it has none; nothing was written.
    """
    document = path.read_text(encoding="utf-8")
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoPlace(f"{path} has no place between {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
