"""What answers in a row mean, when to ask next, when a limit is passed, and when a file has changed.

A prober that was late itself is no judge (P9): a bad answer of a round in which it was, does not count, and
after it was away all rows begin anew. Unknown is never bad: what cannot be measured or seen changes nothing.
"""

from dataclasses import dataclass

from twinwatch.core.checks import Probe, ProbeKind
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

AWAY_NS = SECOND_NS
QUICK_NS = 250 * MILLISECOND_NS  # how often to ask, at most, until the first time that a worker is ready
SPREAD_MAX_NS = SECOND_NS
NAME_SHOWN_MAX = 56  # characters: what a note says has to have room after it
WHY_SHOWN_MAX = 80

_SPREAD_STEP, _SPREAD_WHOLE = 618_034, 1_000_000  # the golden ratio: neighbours are far apart


# ---------------------------------------------------------------- probes


@dataclass(frozen=True, slots=True)
class Row:
    """The latest answers that were alike. `is_met`: enough good ones, and since then not enough bad ones."""

    bad: int = 0
    good: int = 0
    is_met: bool = False


NO_ROW = Row()


def after_good(row: Row, probe: Probe) -> Row:
    good = min(row.good + 1, probe.successes)
    return Row(0, good, row.is_met or good >= probe.successes)


def after_bad(row: Row, probe: Probe) -> Row:
    bad = row.bad + 1
    return Row(bad, 0, row.is_met and bad < probe.failures)


def anew(row: Row) -> Row:
    """What is left of a row after the prober was away."""
    return Row(is_met=row.is_met)


def is_convicting(row: Row, probe: Probe) -> bool:
    return row.bad >= probe.failures


def is_excused(late_ns: int, timeout_ns: int) -> bool:
    """Whether a bad answer may be the fault of a prober that was late by so much."""
    return late_ns > timeout_ns // 2


def first_ns(probe: Probe, born_ns: int, now_ns: int, index: int) -> int:
    """When to ask for the first time. Slots are spread, so that not all are asked at one moment."""
    window_ns = min(probe.interval_ns, SPREAD_MAX_NS) // 2
    share = index * _SPREAD_STEP % _SPREAD_WHOLE
    return max(born_ns + probe.delay_ns, now_ns) + window_ns * share // _SPREAD_WHOLE


def next_ns(probe: Probe, started_ns: int, now_ns: int, *, quick: bool) -> int:
    """When to ask again after an answer: measured from the start of the last one, and never before now."""
    interval_ns = min(probe.interval_ns, QUICK_NS) if quick else probe.interval_ns
    return max(started_ns + interval_ns, now_ns)


def name_of(probe: Probe) -> str:
    """A probe in a few words, without what may be secret in a URL."""
    if probe.kind is ProbeKind.EXEC:
        shown = probe.command[0].rpartition("/")[2]
    elif probe.kind is ProbeKind.TCP:
        shown = probe.target or probe.socket
    else:
        shown = probe.target.partition("?")[0].partition("#")[0]
    if len(shown) > NAME_SHOWN_MAX:
        shown = f"{shown[: NAME_SHOWN_MAX - 1]}…"
    return f"{probe.kind} {shown}"


def verdict(probe: Probe, row: Row, why: str) -> str:
    times = f"{row.bad} failures in a row: " if row.bad > 1 else ""
    return f"{name_of(probe)}: {times}{why}"


def within(timeout_ns: int) -> str:
    return f"no answer within {seconds(timeout_ns)}"


def seconds(time_ns: int) -> str:
    return f"{time_ns / SECOND_NS:g} s"


def one_line(said: str) -> str:
    """What a stranger said, fit for a note: one line, no control characters, not long."""
    line = " ".join("".join(char if char.isprintable() else " " for char in said).split())
    return line if len(line) <= WHY_SHOWN_MAX else f"{line[: WHY_SHOWN_MAX - 1]}…"


# ---------------------------------------------------------------- limits


@dataclass(frozen=True, slots=True)
class Strikes:
    """Looks in a row at which a worker used more than it may. `told`: what follows has followed."""

    count: int = 0
    told: bool = False


NO_STRIKES = Strikes()


def after_look(strikes: Strikes, value: float | None, limit: float) -> Strikes:
    """`value` is None where it cannot be known."""
    if value is None:
        return strikes
    if value <= limit:
        return NO_STRIKES
    return Strikes(strikes.count + 1, strikes.told)


def is_too_much(strikes: Strikes, allowed: int) -> bool:
    return strikes.count >= allowed and not strikes.told


def excess(what: str, value: float, limit: float, times: int) -> str:
    """`memory 612MiB over 500MiB, 3 times in a row`."""
    often = f", {times} times in a row" if times > 1 else ""
    return f"{what} {amount(what, value)} over {amount(what, limit)}{often}"


def amount(what: str, value: float) -> str:
    if what == "memory":
        return _size(value)
    return f"{value:.4g}%" if what == "cpu" else f"{value:.0f}"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g}{unit}"
        count /= 1024
    return f"{count:.4g}TiB"


# ---------------------------------------------------------------- watched files

Fingerprint = tuple[int, int, int] | None  # time of change, size and inode; None: absent


@dataclass(frozen=True, slots=True)
class Seen:
    """One file: as it was when the generation was first seen, and at the last look."""

    base: Fingerprint
    last: Fingerprint


def has_changed(seen: Seen, now: Fingerprint) -> bool:
    """Whether it is another one now, and was the same one at the last look: it may still be written then.

    Absence is waited out: a file that comes back as it was has not changed.
    """
    return now is not None and now != seen.base and now == seen.last
