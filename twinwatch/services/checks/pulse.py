"""How late this process itself is: who did not run cannot say that another one did not answer (P9).

A timer ticks, faster while a probe with a short timeout is on its way. How late a tick comes is how long the
loop stood still: it was frozen, got no CPU, or was busy.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from twinwatch.core.probing import AWAY_NS
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.linux.clock import monotonic_ns

TICK_NS = 100 * MILLISECOND_NS
TICK_MIN_NS = 5 * MILLISECOND_NS
_TICKS_IN_TIMEOUT = 4


@dataclass(eq=False, slots=True)
class Attempt:
    """A question that is on its way. `late_ns`: the longest stand-still since it was asked."""

    started_ns: int
    timeout_ns: int
    late_ns: int = 0


class Pulse:
    """`on_away` is called after this process was away for so long that it knows nothing any more."""

    def __init__(self, on_away: Callable[[], None]) -> None:
        self._on_away = on_away
        self._attempts: set[Attempt] = set()
        self._due_ns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def begin(self, timeout_ns: int) -> Attempt:
        self._look()
        attempt = Attempt(monotonic_ns(), timeout_ns)
        self._attempts.add(attempt)
        if self._due_ns - attempt.started_ns > self._period_ns():
            self._arm()
        return attempt

    def end(self, attempt: Attempt) -> int:
        """How late this process was in the meantime, at the worst."""
        self._look()
        self._attempts.discard(attempt)
        return attempt.late_ns

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_ns = monotonic_ns() + self._period_ns()
        self._timer = self._loop.call_at(self._due_ns / SECOND_NS, self._tick)

    def _period_ns(self) -> int:
        shortest_ns = min((attempt.timeout_ns for attempt in self._attempts), default=SECOND_NS)
        return min(TICK_NS, max(TICK_MIN_NS, shortest_ns // _TICKS_IN_TIMEOUT))

    def _look(self) -> None:
        now_ns = monotonic_ns()
        late_ns = now_ns - self._due_ns
        for attempt in self._attempts:
            attempt.late_ns = max(attempt.late_ns, min(late_ns, now_ns - attempt.started_ns))
        if late_ns > AWAY_NS:
            self._arm()  # so that it is said once
            self._on_away()

    def _tick(self) -> None:
        self._look()
        self._arm()
