"""Numbers, times and exits as people read them."""

import signal
from collections.abc import Mapping
from typing import Any

NOTHING = "-"  # what stands for an absent value, so that columns stay countable

_SPANS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def span(seconds: float | None) -> str:
    """`3d4h`, `12m5s`, `45s`, `0.3s`: the two largest units."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f}s"
    left, parts = int(seconds), []
    for unit, length in _SPANS:
        value, left = divmod(left, length)
        parts.append(f"{value}{unit}" if value else "")
    first = next(at for at, part in enumerate(parts) if part)
    return "".join(parts[first : first + 2])


def size(count: int | None) -> str:
    """`512B`, `1.5KiB`, `64MiB`."""
    if count is None:
        return NOTHING
    value, unit = float(count), 0
    while value >= 1023.95 and unit < len(_SIZES) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f}{_SIZES[unit]}" if unit == 0 or value >= 99.95 else f"{value:.1f}{_SIZES[unit]}"


def percent(value: float | None) -> str:
    """`0.3%`."""
    return NOTHING if value is None else f"{value:.1f}%"


def ending(end: Mapping[str, Any] | None) -> str:
    """An exit of `status --json`: `exit 1`, `SIGSEGV, core dumped (hung)`."""
    if not end:
        return NOTHING
    words = _cause(end)
    if end.get("core"):
        words += ", core dumped"
    if end.get("reason"):
        words += f" ({clean(str(end['reason']))})"
    return words


def _cause(end: Mapping[str, Any]) -> str:
    if end.get("signal"):
        return signal_name(int(end["signal"]))
    if end.get("code") is not None:
        return f"exit {end['code']}"
    return str(end.get("kind", "unknown")).replace("-", " ")


def signal_name(number: int) -> str:
    """`SIGTERM`."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between the two that have names
        return f"signal {number}"


def clean(text: str) -> str:
    """One line without control characters: what a program said must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )
