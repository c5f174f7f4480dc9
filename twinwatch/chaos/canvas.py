"""The house's drawing style, and a figure as SVG text.

A picture has no background, and every colour in it is of middle brightness, so that one file can be read on
white and on near-black pages. Text stays text. The same data give the same bytes: no dates, no random ids.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

INK = "#747c86"
RULE = "#9aa1a9"
BLUE, ORANGE, GREEN, RED = "#3f86cc", "#cf7a2b", "#3c9a61", "#d64a55"
VIOLET, TEAL, PINK, OLIVE = "#8a70c6", "#2b9aa3", "#c4609f", "#95882f"
SERIES = (BLUE, ORANGE, GREEN, VIOLET, RED, TEAL, PINK, OLIVE)

FONTS = "system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif"
_FONT_LIST = re.compile(r"'DejaVu Sans'[^\";]*")
_SVG_TAG = re.compile(r"<svg\b[^>]*>")
_ID = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(url\(#|href="#)([^")]+)')

_STYLE: dict[Any, Any] = {  # matplotlib's types name every key, from some version on
    "svg.fonttype": "none",
    "svg.hashsalt": "twinwatch",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9.5,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": RULE,
    "grid.alpha": 0.28,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.solid_capstyle": "butt",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Everything that is drawn and saved within is in the house's style."""
    with mpl.rc_context(_STYLE):
        try:
            yield
        finally:
            _close_fonts()


def _close_fonts() -> None:
    """Close the font files that matplotlib has measured text with: it would keep them for good."""
    cached: Any = getattr(
        font_manager, "_get_font", None
    )  # no public name; where it is absent they stay open
    if hasattr(cached, "cache_clear"):
        cached.cache_clear()


def to_svg(figure: Figure, title: str, description: str) -> str:
    """SVG text of a figure, to be called within `house_style`; the description is its alternative text."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    text = _FONT_LIST.sub(FONTS, stream.getvalue())
    label = escape(f"{title}. {description}")
    head = f"\n <title>{escape(title)}</title>\n <desc>{escape(description)}</desc>"

    def named(tag: re.Match[str]) -> str:
        return f'{tag[0][:-1]} role="img" aria-label="{label}">{head}'

    return "\n".join(line.rstrip() for line in _SVG_TAG.sub(named, text, count=1).splitlines()) + "\n"


def inline(svg: str, prefix: str) -> str:
    """The `<svg>` element alone, for a page with several: each id begins with `prefix`."""
    element = svg[svg.index("<svg") :]
    element = _ID.sub(rf'id="{prefix}-\1"', element)
    return _REFERENCE.sub(rf"\1{prefix}-\2", element)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights for labels near the `wanted` ones, at least `gap` apart, within `low` and `high` if they fit.

    Labels keep their order; equal ones keep that of the arguments.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    places = [min(max(wanted[index], low), high) for index in order]
    for here in range(1, len(places)):
        places[here] = max(places[here], places[here - 1] + gap)
    ceiling = high
    for here in reversed(range(len(places))):
        places[here] = min(places[here], ceiling)
        ceiling = places[here] - gap
    found = [0.0] * len(wanted)
    for index, place in zip(order, places, strict=True):
        found[index] = place
    return found


def log_axis(axes: Axes, label: str, *, across: bool = True) -> None:
    """A logarithmic axis with plain numbers at the powers of ten."""
    axis = axes.xaxis if across else axes.yaxis
    (axes.set_xscale if across else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(base=10, numticks=30))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace(",", "\u2009")))
    axis.set_label_text(label)


def bare(axes: Axes, *kept: str) -> None:
    """Take away all spines but those named, and the marks of the vertical axis."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in kept)
    axes.tick_params(axis="y", length=0)


def notice(message: str, title: str) -> str:
    """A picture that says why there is nothing to see."""
    with house_style():
        figure = Figure(figsize=(7.4, 0.9))
        figure.text(0.5, 0.5, message, ha="center", va="center")
        return to_svg(figure, title, message)
