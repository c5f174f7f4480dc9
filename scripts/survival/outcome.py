"""What a trial yields, and what trials add up to."""

import statistics
from dataclasses import dataclass, field

PATIENCE_S = 10.0
"""A pair that is neither whole nor extinct after this long is *stuck*, and counts as not survived.

No verdict hangs on it otherwise: extinct is what has no process left that could act, and is seen at once. The
slowest way back that is by design is a reserve that finds its parent stopped: two timeouts of 2 s.
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """`gap_ns`: from the first kill to the second one, as it really was."""

    survived: bool
    gap_ns: int = 0
    is_stuck: bool = False


@dataclass(slots=True)
class Point:
    """All trials with one gap."""

    gap_ms: float
    trials: list[Trial] = field(default_factory=list)

    def as_document(self) -> dict[str, object]:
        gaps_ms = sorted(trial.gap_ns / 1e6 for trial in self.trials)
        p95 = gaps_ms[-(-95 * len(gaps_ms) // 100) - 1]
        return {
            "gap_ms": self.gap_ms,
            "trials": len(self.trials),
            "survived": sum(trial.survived for trial in self.trials),
            "stuck": sum(trial.is_stuck for trial in self.trials),
            "actual_gap_ms": {"median": round(statistics.median(gaps_ms), 3), "p95": round(p95, 3)},
        }
