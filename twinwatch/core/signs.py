"""Whether a worker still gives signs of life, judged by the judge's own clock.

Intuition: a sign is anything that changes. The judge looks a few times in each allowed silence, notes when
it last saw a change, and adds up how long it saw none. A look that came late proves that the judge was not
running, so it adds nothing; one that came later than the whole silence begins the count anew (P9).
Nothing counts before the first sign: a worker that has not begun to beat is a matter of readiness.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace

from twinwatch.core import judge
from twinwatch.core.timing import MILLISECOND_NS

LOOKS = 8  # in each allowed silence of one miss
LOOK_MIN_NS = 25 * MILLISECOND_NS
LOOK_MAX_NS = 250 * MILLISECOND_NS


@dataclass(frozen=True, slots=True)
class Silence:
    """One kind of sign and what is known of it. `limit_ns`: so long may it not change."""

    what: str
    limit_ns: int
    has_begun: bool = False
    suspicion: judge.Suspicion = judge.Suspicion()  # noqa: RUF009 - a frozen value
    seen: Hashable = None

    @property
    def is_broken(self) -> bool:
        """Convicted: silent for too long, while the judge was there to hear it."""
        return self.has_begun and judge.is_hung(self.suspicion, self.limit_ns)

    @property
    def reason(self) -> str:
        return f"no {self.what} for {self.suspicion.still_ns / 1e9:.3g} s"


def period_ns(timeout_ns: int) -> int:
    """How often to look where `timeout_ns` without a sign is a miss."""
    return min(max(timeout_ns // LOOKS, LOOK_MIN_NS), LOOK_MAX_NS)


def look(before: Silence, sign: Hashable, *, has_begun: bool, now_ns: int, period_ns: int) -> Silence:
    """One look at the sign, which is whatever changes when the worker lives."""
    sequence = before.suspicion.sequence + (sign != before.seen)
    suspicion = judge.observe(
        before.suspicion, 0, sequence, now_ns=now_ns, interval_ns=period_ns, timeout_ns=before.limit_ns
    )
    if not has_begun:
        suspicion = replace(suspicion, still_ns=0)
    return replace(before, has_begun=has_begun, suspicion=suspicion, seen=sign)
