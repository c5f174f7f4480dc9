"""How fast a twin may be born again: at once for a generous burst, then spaced, never given up.

The births are in the role's slot, so the spacing outlives the respawner.
"""

from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

BURST = 50
WITHIN_NS = 10 * SECOND_NS
SPACE_NS = 500 * MILLISECOND_NS


def not_before_ns(births_ns: tuple[int, ...], now_ns: int) -> int:
    """The earliest time of the next birth; `births_ns` in ascending order."""
    recent = [birth_ns for birth_ns in births_ns if birth_ns > now_ns - WITHIN_NS]
    if len(recent) < BURST:
        return now_ns
    return max(now_ns, recent[-1] + SPACE_NS)
