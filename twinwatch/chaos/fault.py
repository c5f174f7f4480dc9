"""What a fault is, what it is told to do, and what it says that it did."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinwatch.chaos.needs import Need
    from twinwatch.chaos.reader import Look
    from twinwatch.chaos.scene import Scene

ONCE = range(1, 2)
NEVER = range(1)
AT_MOST_ONCE = range(2)
OFTEN = range(1, 10)  # a scan meets newborn ones as well
ANY = range(10)


class Missed(Exception):
    """There was nothing to strike: another one was faster."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One entry of a plan. All is drawn whether its fault needs it or not, so that plans are alike.

    `pause_s` comes before it. `gap_s`: between the two signals of `kill-both`. `watchers`: both, in the
    order of the strike; `worker`: a label, or empty. `span`: 0 to 1, how long something is held. `seed`:
    of whatever else the fault has to choose.
    """

    number: int
    fault: str
    pause_s: float
    gap_s: float
    watchers: tuple[str, str]
    worker: str
    span: float
    seed: int

    def chance(self) -> random.Random:
        """For further choices, the same for the same plan."""
        return random.Random(self.seed)


@dataclass(slots=True)
class Blow:
    """What was done. Times are seconds of CLOCK_MONOTONIC.

    `began`: the first signal. `released`: when what was held was let go, if anything was held. `killed`:
    labels whose again-time is asked for; `again_at`: when the fault has seen them back itself.
    `grown`: by how many generations each label may have grown; one that is not named must not have.
    `settles`: judged only when both watchers have ticked. `may_end_all`: every guard was struck.
    `verdict`: called at the end; promises that it saw broken.
    """

    targets: tuple[str, ...]
    began: float
    grown: Mapping[str, range] = field(default_factory=dict)
    killed: tuple[str, ...] = ()
    again_at: float | None = None
    released: float | None = None
    gap_ms: float | None = None
    detail: dict[str, object] = field(default_factory=dict)
    settles: bool = False
    may_end_all: bool = False
    verdict: Callable[[], list[tuple[str, str]]] = list


Strikes = Callable[["Scene", Strike, "Look"], Blow]


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry of the menu.

    `needs` are asked of the machine. `own_only`: only a pair made for it is treated so. `ends_all`: it may
    leave no guard, so somebody must be allowed to start the pair again. `workers`: it strikes workers.
    """

    name: str
    what: str
    strike: Strikes
    needs: tuple["Need", ...] = ()
    own_only: bool = True
    ends_all: bool = False
    workers: bool = False
    kind: str = "others"
