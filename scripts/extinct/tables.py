"""The result document as Markdown tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from measured import described

from twinwatch.chaos.measures import span

Document = Mapping[str, Any]
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_YEAR_S = 31_557_600.0


def all_of(document: Document) -> Iterator[str]:
    """What was measured, the expected times, simulation against solution, and real pairs if there are any."""
    yield repairs(document)
    yield expected(document)
    yield checks(document)
    if document["real"]:
        yield reality(document)


def brief(document: Document) -> Iterator[str]:
    """For a page: the same, with one sentence for all simulated points."""
    yield repairs(document)
    yield expected(document)
    points = [point for variant in document["variants"] for point in variant["simulated"]]
    inside = sum(point["low_s"] <= point["exact_s"] <= point["high_s"] for point in points)
    runs = points[0]["runs"] if points else 0
    yield (
        f"Simulated at {len(points)} points, {runs} runs each: the solution lies within the 95 % interval of "
        f"the simulated mean at {inside} of them."
    )
    if document["real"]:
        yield reality(document)


def repairs(document: Document) -> str:
    means = document["durations_s"]
    told = ", ".join(f"{name} {span(means[name])}" for name in ("claim", "start", "fork", "bear"))
    count = len(document["repairs"]["claim"]) if "repairs" in document else 0
    source = f"means of {count} kills, the twin claims {document['twin_share']:.0%}" if count else "assumed"
    return f"{described(document['machine'])}. {told} ({source})."


def expected(document: Document) -> str:
    """Mean time to extinction by how often each process is killed."""
    rows = []
    for variant in document["variants"]:
        times = [_long(seconds) for _, seconds in variant["told"]]
        rows.append((variant["title"], str(variant["kills"]), variant["short"], *times))
    return _table(
        ("guards", "kills needed", "for rare kills", *(name for name, _ in document["variants"][0]["told"])),
        rows,
    )


def _long(seconds: float) -> str:
    """A time; years beyond a thousand as a power of ten."""
    if seconds < 1000 * _YEAR_S:
        return span(seconds)
    digits, _, power = f"{seconds / _YEAR_S:.0e}".partition("e")
    times = "" if digits == "1" else f"{digits} · "
    return f"{times}10{str(int(power)).translate(RAISED)} years"


def checks(document: Document) -> str:
    rows = [
        (title, f"{point['rate_hz']:g} /s", span(point["exact_s"]), _interval(point), str(point["runs"]))
        for title, points in ((variant["title"], variant["simulated"]) for variant in document["variants"])
        for point in points
    ]
    return _table(("guards", "kills of each", "solved", "simulated (95 %)", "runs"), rows)


def _interval(point: Mapping[str, float]) -> str:
    return f"{span(point['mean_s'])} ({span(point['low_s'])} to {span(point['high_s'])})"


def reality(document: Document) -> str:
    rows = [
        (
            str(point["reserve"]),
            f"{point['rate_hz']:.3g} /s",
            str(point["runs"]),
            _interval(point),
            span(point["exact_s"]),
            _interval(point["measured"]),
            f"{point['kills']:.0f}",
            f"{point['births']:.0f} ({point['births_most']})",
        )
        for point in document["real"]
    ]
    columns = (
        "reserve",
        "kills of each",
        "pairs",
        "real (95 %)",
        "solved",
        "simulated, repairs as measured (95 %)",
    )
    return _table((*columns, "kills", "births (most)"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
