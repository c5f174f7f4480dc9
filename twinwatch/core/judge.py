"""Whether the twin stands still, or the judge was late.

Intuition: count the judge's own heartbeats, not seconds. At each of its ticks it looks whether the
twin's sequence has moved. A tick that came late proves that the judge itself was not running, so it
says nothing about the twin: it adds nothing, and no verdict is spoken until two ticks in a row were
on time again (P9). A tick that came early adds the time since the last one. A judge that was away for
longer than the whole timeout was most likely suspended together with everybody else: it begins to count
anew. So what is counted is how long the twin has stood still *while the judge was there to see it*.
"""

from dataclasses import dataclass, replace

_ON_TIME_TICKS = 2


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What the judge knows. `sequence` is the twin's, when it was last seen to move."""

    generation: int = 0
    sequence: int = -1
    still_ns: int = 0
    on_time: int = 0
    last_tick_ns: int = 0


def observe(
    before: Suspicion,
    generation: int,
    sequence: int,
    *,
    now_ns: int,
    interval_ns: int,
    timeout_ns: int,
    beat_ns: int | None = None,
) -> Suspicion:
    """One tick of the judge. Away for longer than the timeout, it begins anew.

    `beat_ns`: when the twin says that it last beat. It is believed for as far back as an interval.
    """
    away_ns = now_ns - before.last_tick_ns
    late = away_ns > interval_ns + interval_ns // 2
    on_time = 0 if late else before.on_time + 1
    if (generation, sequence) != (before.generation, before.sequence):
        since_ns = 0 if late or beat_ns is None else now_ns - beat_ns
        return Suspicion(generation, sequence, min(max(since_ns, 0), interval_ns), on_time, now_ns)
    still_ns = before.still_ns if late else before.still_ns + min(away_ns, interval_ns)
    if away_ns > timeout_ns:
        still_ns = 0
    return replace(before, still_ns=still_ns, on_time=on_time, last_tick_ns=now_ns)


def of_another(before: Suspicion) -> Suspicion:
    """What a judge knows of a twin that has just come: of itself, whether it is on time."""
    return Suspicion(on_time=before.on_time, last_tick_ns=before.last_tick_ns)


def is_hung(suspicion: Suspicion, timeout_ns: int) -> bool:
    return suspicion.still_ns >= timeout_ns and suspicion.on_time >= _ON_TIME_TICKS
