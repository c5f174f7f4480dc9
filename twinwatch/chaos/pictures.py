"""Pictures of what was measured, each a function from a result document to SVG text.

`timeline` and `recovery` take the result of a chaos run (docs/chaos.md); `survival`, `extinction` and
`windows` the documents that scripts/survival-curve, extinction and measure-windows write. Nothing is computed
here that the documents do not say, but quantiles and intervals. Needs matplotlib: the extra `report`.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from twinwatch.chaos import canvas, measures
from twinwatch.chaos.canvas import BLUE, GREEN, ORANGE, RED, RULE, SERIES
from twinwatch.chaos.measures import quantile, span, steps, wilson

Document = Mapping[str, Any]

WIDTH = 7.6  # inches, of every picture: 547 points
_OUTCOMES = {"recovered": BLUE, "extinct": ORANGE, "broken": RED}
_NAME_CHARACTERS = 36  # of a curve, beside its end
_LABELS_MAX = 6  # rows of workers, before they share one
_HAIR: dict[str, Any] = {"color": RULE, "linewidth": 0.6, "alpha": 0.5}


# ---------------------------------------------------------------- timeline


def timeline(result: Document) -> str:
    """When what was hit, and how long until the pair was whole again: one row for each kind of target.

    A stroke stands where a fault was; its height is the time until whole again, on a logarithmic scale.
    """
    title = "Faults and recoveries"
    events = result["events"]
    if not events:
        return canvas.notice("No fault was injected.", title)
    rows = _rows_of(events)
    took = [event["whole_ms"] for event in events if event["whole_ms"]]
    floor, ceiling = _decades(took or [1.0])
    with canvas.house_style():
        height = 0.42 * len(rows) + 1.05
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0.17, 0.55 / height, 0.66, 1 - 0.95 / height))
        beside = axes.get_yaxis_transform()
        for place, (name, hits) in enumerate(reversed(rows.items())):
            _strokes(axes, place, hits, floor, ceiling)
            middle = sorted(event["whole_ms"] for event in hits if event["whole_ms"])
            note = f"{len(hits)} ×" + (f", {span(quantile(middle, 0.5) / 1e3)}" if middle else "")
            axes.text(1.227, place + 0.36, note, transform=beside, va="center", ha="right")
            shown = textwrap.shorten(name, 20, placeholder="…") if " " in name else name[:20]
            axes.text(-0.012, place + 0.36, shown, transform=beside, va="center", ha="right", fontsize=9)
            axes.axhline(place, **_HAIR)
        end = max(result["duration_s"], *(event["at_s"] for event in events))
        axes.set(
            xlim=(-0.005 * end, end * 1.005), ylim=(-0.08, len(rows)), xlabel="seconds since the run began"
        )
        axes.yaxis.set_major_locator(NullLocator())
        canvas.bare(axes, "bottom")
        head = 1 - 0.2 / height
        figure.text(0.985, head, "faults, median", ha="right", va="center", fontsize=8.5)
        scale = f"{span(floor / 1e3)} to {span(ceiling / 1e3)}"
        scale = f"height of a stroke: until whole again, {scale}, logarithmic"
        figure.text(0.17, head, scale, va="center", fontsize=8.5)
        _name_outcomes(figure, events)
        return canvas.to_svg(figure, title, _tell_outcomes(events))


def _rows_of(events: Iterable[Document]) -> dict[str, list[Document]]:
    """Kind of target -> its events; a fault of several kinds is in several rows."""
    rows: dict[str, list[Document]] = {}
    for event in events:
        for kind in {_kind(label) for label in event["targets"]} or {"the pair"}:
            rows.setdefault(kind, []).append(event)
    workers = [kind for kind in rows if kind not in _KINDS]
    if len(workers) > _LABELS_MAX:
        seen = {id(event): event for kind in workers for event in rows.pop(kind)}
        rows["workers"] = sorted(seen.values(), key=lambda event: float(event["at_s"]))
    order = {kind: place for place, kind in enumerate(_KINDS)}
    return dict(sorted(rows.items(), key=lambda row: (order.get(row[0], len(order)), row[0])))


_KINDS = ("watcher a", "watcher b", "reserves", "anchor", "the pair")
_ROWS = {"a": "watcher a", "b": "watcher b", "reserve": "reserves", "pair": "the pair"}


def _kind(label: str) -> str:
    """Instances of a worker are of one kind."""
    return _ROWS.get(label) or label.partition(":")[0]


def _strokes(axes: Axes, place: int, hits: Sequence[Document], floor: float, ceiling: float) -> None:
    decades = math.log10(ceiling / floor)
    for outcome, colour in _OUTCOMES.items():
        across: list[float] = []
        up: list[float] = []
        for event in hits:
            if event["outcome"] == outcome:
                whole_ms = event["whole_ms"] or ceiling  # never whole: as tall as strokes get
                share = math.log10(max(whole_ms, floor) / floor) / decades
                across += [event["at_s"], event["at_s"], math.nan]
                up += [place, place + 0.06 + 0.72 * min(1.0, share), math.nan]
        width = 1.6 if len(hits) < 150 else 0.9
        axes.plot(across, up, color=colour, linewidth=width, solid_capstyle="butt")


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Powers of ten that enclose the values, at least one apart."""
    low = math.floor(math.log10(max(min(values), 1e-9)))
    high = math.ceil(math.log10(max(*values, 1e-9)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _name_outcomes(figure: Figure, events: Iterable[Document]) -> None:
    """Say what the colours mean, where there is more than one."""
    present = [name for name in _OUTCOMES if any(event["outcome"] == name for event in events)]
    if present != ["recovered"]:
        for place, name in enumerate(present):
            below = 1 - (0.14 + 0.145 * place) / figure.get_figheight()
            figure.text(0.012, below, name, color=_OUTCOMES[name], fontsize=8.5, va="center")


def _tell_outcomes(events: Sequence[Document]) -> str:
    counts = {name: sum(event["outcome"] == name for event in events) for name in _OUTCOMES}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{len(events)} faults: {told}."


# ---------------------------------------------------------------- recovery


def recovery(result: Document) -> str:
    """How soon after each kind of fault what was hit ran again, and the pair was whole: distributions."""
    title = "Recovery times"
    rows = {
        fault: _timed(result["events"], fault)
        for fault in sorted({event["fault"] for event in result["events"]})
    }
    rows = {fault: times for fault, times in rows.items() if times["whole_ms"]}
    if not rows:
        return canvas.notice("Nothing recovered, so there is no time of recovery.", title)
    low, high = _decades([time for times in rows.values() for values in times.values() for time in values])
    with canvas.house_style():
        height = 0.5 * len(rows) + 1.0
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0.17, 0.52 / height, 0.59, 1 - 0.92 / height))
        for place, (fault, times) in enumerate(reversed(rows.items())):
            _distributions(axes, place, fault, times)
        axes.set(xlim=(low, high), ylim=(-0.05, len(rows)))
        canvas.log_axis(axes, "milliseconds after the fault")
        axes.grid(visible=True, axis="x")
        axes.yaxis.set_major_locator(NullLocator())
        canvas.bare(axes, "bottom")
        head = 1 - 0.2 / height
        figure.text(0.17, head, "share of faults, 0 to 100 % in each row", va="center", fontsize=8.5)
        figure.text(0.875, head, "runs again", color=BLUE, ha="right", va="center", fontsize=8.5)
        figure.text(0.985, head, "whole again", color=ORANGE, ha="right", va="center", fontsize=8.5)
        medians = {fault: measures.quantile(sorted(times["whole_ms"]), 0.5) for fault, times in rows.items()}
        told = ", ".join(f"{fault} {median:.3g} ms" for fault, median in medians.items())
        return canvas.to_svg(figure, title, f"Median time until the pair was whole again: {told}.")


def _timed(events: Iterable[Document], fault: str) -> dict[str, list[float]]:
    mine = [event for event in events if event["fault"] == fault]
    return {key: [event[key] for event in mine if event[key] is not None] for key in ("again_ms", "whole_ms")}


def _distributions(axes: Axes, place: int, fault: str, times: Mapping[str, list[float]]) -> None:
    """One row: two empirical distributions, the fault's name before and the medians behind them."""
    beside = axes.get_yaxis_transform()
    axes.text(
        -0.012,
        place + 0.40,
        f"{fault}\n{len(times['whole_ms'])} ×",
        transform=beside,
        va="center",
        ha="right",
    )
    for key, colour, column in (("whole_ms", ORANGE, 1.381), ("again_ms", BLUE, 1.195)):
        if not times[key]:
            continue
        values, shares = steps(times[key])
        across = [values[0], *values]
        up = [place + 0.78 * share for share in (0.0, *shares)]
        broad = 3.2 if key == "whole_ms" else 1.3  # both are seen where they are the same
        axes.plot(across, up, color=colour, linewidth=broad, drawstyle="steps-post")
        middle = span(quantile(values, 0.5) / 1e3)
        axes.text(column, place + 0.40, middle, color=colour, transform=beside, va="center", ha="right")
    axes.axhline(place, **_HAIR)


# ---------------------------------------------------------------- survival


def survival(document: Document) -> str:
    """Share of trials after which the pair came back, against the gap between two kills; atomic kills below.

    Bands and bars are Wilson's 95 % interval. The gap is the measured one, where the document has it.
    """
    title = "Does the pair come back?"
    curves = [curve for curve in document["curves"] if curve["points"]]
    atomic = list(document.get("atomic", ()))
    if not curves and not atomic:
        return canvas.notice("No trial, so no curve.", title)
    upper, lower = (3.5 if curves else 0.0), (0.24 * len(atomic) + 0.75 if atomic else 0.0)
    height = upper + lower
    with canvas.house_style():
        figure = Figure(figsize=(WIDTH, height))
        if curves:
            box = (0.075, (lower + 0.5) / height, 0.565, (upper - 0.75) / height)
            _survival_curves(figure.add_axes(box), curves)
        if atomic:
            box = (0.50, 0.46 / height, 0.14 + 0.20, (lower - 0.75) / height)
            _atomic_rows(figure, figure.add_axes(box), atomic, (lower - 0.14) / height)
        return canvas.to_svg(figure, title, _tell_survival(curves, atomic))


def _gap_ms(point: Document) -> float:
    actual = point.get("actual_gap_ms")
    return float(actual["median"] if actual else point["gap_ms"])


def _survival_curves(axes: Axes, curves: Sequence[Document]) -> None:
    ends: list[float] = []
    right = max(_gap_ms(point) for curve in curves for point in curve["points"])
    for colour, curve in zip(_endless(SERIES), curves, strict=False):
        points = sorted(curve["points"], key=_gap_ms)
        gaps = [_gap_ms(point) for point in points]
        bands = [wilson(point["survived"], point["trials"]) for point in points]
        shares = [point["survived"] / point["trials"] for point in points]
        lows, highs = zip(*bands, strict=True)
        axes.fill_between(gaps, lows, highs, color=colour, alpha=0.16, linewidth=0)
        axes.plot(gaps, shares, color=colour, linewidth=1.5, marker="o", markersize=2.6 if gaps[1:] else 4)
        if not gaps[1:]:
            axes.plot(gaps * 2, bands[0], color=colour, linewidth=3, alpha=0.16)
        ends.append(shares[-1])
    names = [textwrap.fill(curve["title"], _NAME_CHARACTERS) for curve in curves]
    lines = max(name.count("\n") + 1 for name in names)
    places = canvas.spread(ends, 0.02 + 0.052 * lines, 0.0, 1.0)
    for colour, name, end, place in zip(_endless(SERIES), names, ends, places, strict=False):
        across = [right * 1.012, right * 1.045]
        axes.plot(across, [end, place], color=colour, linewidth=0.7, clip_on=False)
        axes.text(right * 1.055, place, name, color=colour, va="center", fontsize=9)
    axes.set(xlim=(0, right), ylim=(-0.015, 1.015), xlabel="milliseconds between the first kill and the next")
    axes.set_title("share of trials after which the pair came back")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol="\u2009%"))
    axes.grid(visible=True, axis="y")
    canvas.bare(axes, "bottom")


def _atomic_rows(figure: Figure, axes: Axes, rows: Sequence[Document], head: float) -> None:
    for place, row in enumerate(reversed(rows)):
        low, high = wilson(row["survived"], row["trials"])
        share = row["survived"] / row["trials"] if row["trials"] else 0.0
        colour = GREEN if share > 0.5 else RED
        axes.plot([low, high], [place, place], color=colour, linewidth=3.2, alpha=0.3)
        axes.plot([share], [place], color=colour, marker="o", markersize=5, clip_on=False)
        beside = axes.get_yaxis_transform()
        axes.text(-0.03, place, row["title"], transform=beside, va="center", ha="right", fontsize=9)
        count = f"{row['survived']} of {row['trials']}"
        axes.text(1.03, place, count, transform=beside, va="center", color=colour, fontsize=9)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(rows) - 0.4))
    axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol="\u2009%"))
    axes.yaxis.set_major_locator(NullLocator())
    axes.grid(visible=True, axis="x")
    canvas.bare(axes)
    axes.tick_params(axis="x", length=0)
    figure.text(0.012, head, "everything at once, by one call", va="center")


def _tell_survival(curves: Sequence[Document], atomic: Sequence[Document]) -> str:
    told = []
    for curve in curves:
        points = sorted(curve["points"], key=_gap_ms)
        first, last = (100 * point["survived"] / point["trials"] for point in (points[0], points[-1]))
        told.append(
            f"{curve['title']}: {first:.0f} % at {_gap_ms(points[0]):.2g} ms, {last:.0f} % at the widest gap"
        )
    told += [f"{row['title']}: {row['survived']} of {row['trials']}" for row in atomic]
    return "; ".join(told) + "."


def _endless(colours: Sequence[str]) -> Iterable[str]:
    while True:
        yield from colours


# ---------------------------------------------------------------- extinction

_TIMES = (1e-3, 1.0, 60.0, 3600.0, 86_400.0, 31_557_600.0)
_TIME_NAMES = ("1 ms", "1 s", "1 min", "1 h", "1 day", "1 year")
_YEAR_S = 31_557_600.0
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def extinction(document: Document) -> str:
    """Expected time until nobody of a pair lives, against the rate at which each process is killed.

    Lines are the exact solution of the model, circles its simulation, squares real pairs.
    """
    title = "Expected time to extinction under independent kills"
    variants = [variant for variant in document["variants"] if variant["line"]]
    if not variants:
        return canvas.notice("No variant was computed.", title)
    checked = [
        point["rate_hz"] for v in variants for key in ("simulated", "real") for point in v.get(key, ())
    ]
    with canvas.house_style():
        height = 6.9 if checked else 3.7
        figure = Figure(figsize=(WIDTH, height))
        low_hz = min(rate for variant in variants for rate, _ in variant["line"])
        _extinction_panel(figure, (height - 3.35) / height, 3.05 / height, variants, low_hz)
        figure.text(0.985, 1 - 0.16 / height, "mean time until nobody is left", ha="right", va="center")
        if checked:
            _extinction_panel(figure, 0.5 / height, 2.5 / height, variants, min(checked), marked=True)
            marks = f"the lower end, checked:   {_marks_told(variants)}"
            figure.text(0.285, 3.12 / height, marks, fontsize=8.5, va="center")
        told = [f"{v['title']}: {span(v['line'][0][1])} at {_rate(v['line'][0][0])}" for v in variants]
        return canvas.to_svg(figure, title, "; ".join(told) + ".")


def _extinction_panel(
    figure: Figure,
    bottom: float,
    height: float,
    variants: Sequence[Document],
    low_hz: float,
    *,
    marked: bool = False,
) -> None:
    """All lines from `low_hz` on; and, where asked for, what was simulated and what real pairs did."""
    axes = figure.add_axes((0.285, bottom, 0.58, height))
    starts: list[float] = []
    for colour, variant in zip(_endless(SERIES), variants, strict=False):
        first_hz = max((rate for rate, _ in variant["line"] if rate <= low_hz), default=0.0)
        line = [(rate, time) for rate, time in variant["line"] if rate >= first_hz]
        axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.5)
        starts.append(line[0][1])
        if marked:
            _means(axes, variant.get("simulated", ()), colour, "o", "none")
            _means(axes, variant.get("real", ()), colour, "s", colour)
    axes.set(xscale="log", yscale="log")
    if bottom * figure.get_figheight() < 1:
        axes.set_xlabel("kills of each process, in the mean")
    _time_axis(axes)
    _rate_axis(axes, line[0][0], max(rate for variant in variants for rate, _ in variant["line"]))
    _name_lines(axes, variants, starts)
    axes.grid(visible=True)
    canvas.bare(axes, "bottom")


def _means(axes: Axes, points: Iterable[Document], colour: str, marker: str, face: str) -> None:
    for point in points:
        span_y = [max(point["low_s"], 1e-9), point["high_s"]]
        axes.plot([point["rate_hz"]] * 2, span_y, color=colour, linewidth=1)
        axes.plot(
            [point["rate_hz"]],
            [point["mean_s"]],
            marker=marker,
            markersize=5,
            color=colour,
            markerfacecolor=face,
        )


def _rate(rate_hz: float) -> str:
    names = ((1.0, "s"), (1 / 60, "min"), (1 / 3600, "h"), (1 / 86_400, "day"), (1 / _YEAR_S, "year"))
    size, unit = next((entry for entry in names if rate_hz >= entry[0] * 0.999), names[-1])
    return f"{rate_hz / size:.3g} / {unit}"


def _time_axis(axes: Axes) -> None:
    low, high = axes.get_ylim()
    years = [_YEAR_S * 10.0**power for power in range(3, 60, 3)]
    marks = [mark for mark in (*_TIMES, *years) if low <= mark <= high]
    names = dict(zip(_TIMES, _TIME_NAMES, strict=True))

    def name(value: float, _: int) -> str:
        power = round(math.log10(value / _YEAR_S)) if value >= _YEAR_S else 0
        return names.get(value) or f"10{str(power).translate(_RAISED)} years"

    axes.yaxis.set_major_locator(FixedLocator(marks))
    axes.yaxis.set_major_formatter(FuncFormatter(name))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.tick_right()


def _rate_axis(axes: Axes, left: float, right: float) -> None:
    marks = (1 / 86_400, 1 / 3600, 1 / 60, 1.0, 10.0, 100.0, 1000.0)
    axes.set_xlim(left, right * 1.1)
    axes.xaxis.set_major_locator(
        FixedLocator([mark for mark in marks if left * 0.99 <= mark <= right * 1.01])
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _rate(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def _name_lines(axes: Axes, variants: Sequence[Document], starts: Sequence[float]) -> None:
    """Each line's name before its left end, where lines are far apart: spread, with a leader."""
    low, high = (math.log10(limit) for limit in axes.get_ylim())
    ends = [(math.log10(start) - low) / (high - low) for start in starts]
    places = canvas.spread(ends, 0.08, 0.0, 1.0)
    for colour, variant, end, place in zip(_endless(SERIES), variants, ends, places, strict=False):
        leader: dict[str, Any] = {"color": colour, "linewidth": 0.7, "clip_on": False}
        axes.plot([-0.035, -0.006], [place, end], transform=axes.transAxes, **leader)
        beside: dict[str, Any] = {"va": "center", "ha": "right", "transform": axes.transAxes}
        axes.text(-0.045, place, variant["title"], color=colour, fontsize=9, **beside)


def _marks_told(variants: Sequence[Document]) -> str:
    told = "lines solved"
    if any(variant.get("simulated") for variant in variants):
        told += "   ○ simulated"
    if any(variant.get("real") for variant in variants):
        told += "   ■ real pairs"
    return told


# ---------------------------------------------------------------- windows


def windows(document: Document) -> str:
    """How long each window is open: all samples, middle 90 %, median, one row a window; microseconds."""
    title = "The windows, measured"
    rows = [window for window in document["windows"] if window["samples"]]
    if not rows:
        return canvas.notice("No window was measured.", title)
    positive = [max(sample, 0.1) for window in rows for sample in window["samples"]]
    with canvas.house_style():
        height = 0.5 * len(rows) + 0.85
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0.03, 0.52 / height, 0.79, 1 - 0.82 / height))
        axes.set(xlim=_decades(positive), ylim=(-0.35, len(rows) - 0.3))
        canvas.log_axis(axes, "microseconds")
        for place, window in enumerate(reversed(rows)):
            _window(axes, place, window)
        axes.yaxis.set_major_locator(NullLocator())
        axes.grid(visible=True, axis="x")
        canvas.bare(axes, "bottom")
        head = 1 - 0.14 / height
        figure.text(0.985, head, "median   95 %", ha="right", va="center", fontsize=8.5)
        told = [f"{w['id']} {_micros(quantile(sorted(w['samples']), 0.5))} µs" for w in rows]
        return canvas.to_svg(figure, title, f"Medians: {', '.join(told)}.")


def _window(axes: Axes, place: int, window: Document) -> None:
    ordered = sorted(max(sample, 0.1) for sample in window["samples"])
    low, middle, high = (quantile(ordered, share) for share in (0.05, 0.5, 0.95))
    ticks = [quantile(ordered, index / 199) for index in range(200)] if len(ordered) > 200 else ordered
    across = [value for tick in ticks for value in (tick, tick, math.nan)]
    up = [value for _ in ticks for value in (place - 0.12, place + 0.12, math.nan)]
    axes.plot(across, up, color=BLUE, linewidth=0.7, alpha=0.45)
    axes.plot([ordered[0], ordered[-1]], [place, place], color=BLUE, linewidth=0.8)
    axes.plot([low, high], [place, place], color=BLUE, linewidth=3.4)
    axes.plot([middle], [place], color=ORANGE, marker="o", markersize=5.5, zorder=5)
    beside = axes.get_yaxis_transform()
    axes.text(
        0.0, place + 0.36, f"{window['id']}  {window['what']}", transform=beside, va="center", fontsize=9
    )
    axes.text(1.105, place, _micros(middle), color=ORANGE, transform=beside, va="center", ha="right")
    axes.text(1.195, place, _micros(high), color=BLUE, transform=beside, va="center", ha="right")


def _micros(amount: float) -> str:
    return f"{amount:.3g}" if amount < 1000 else f"{amount:,.0f}".replace(",", "\u2009")
