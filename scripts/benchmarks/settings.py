"""How much is measured."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Settings:
    """`peers`: empty: all. `budget_s`: no more kills of one guard in one round after that.

    Guards that need a second and more for a restart have fewer rounds: `slow_rounds`, and one of C.
    """

    name: str
    peers: tuple[str, ...]
    rounds: int  # of A
    slow_rounds: int
    kills: int  # of A, in a round
    again_rounds: int  # of B
    again: int  # of B, in a round
    budget_s: float
    crowds: tuple[int, ...]
    crowd_rounds: int
    idle_counts: tuple[int, ...]
    idle_settle_s: float
    idle_s: float
    sizes: tuple[int, ...]
    size_kills: int
    deaths: int  # of F
    beat_samples: int
    judged: int
    judged_s: float


FULL = Settings(
    name="full",
    peers=(),
    rounds=5,
    slow_rounds=2,
    kills=20,
    again_rounds=3,
    again=5,
    budget_s=15.0,
    crowds=(100, 1000, 5000),
    crowd_rounds=3,
    idle_counts=(100, 1000),
    idle_settle_s=10.0,
    idle_s=60.0,
    sizes=(10, 100, 1000, 5000),
    size_kills=30,
    deaths=100,
    beat_samples=500,
    judged=1000,
    judged_s=30.0,
)
MIDDLE = replace(
    FULL,
    name="middle",
    rounds=2,
    slow_rounds=1,
    kills=10,
    again_rounds=1,
    budget_s=10.0,
    crowds=(100, 1000),
    crowd_rounds=1,
    idle_counts=(100,),
    idle_s=60.0,
    sizes=(10, 100, 1000),
    size_kills=10,
    deaths=20,
    judged=200,
    judged_s=10.0,
)
SHORT = replace(
    MIDDLE,
    name="short",
    peers=("c-one", "c-many", "twinwatch"),
    rounds=1,
    kills=6,
    again=3,
    crowds=(30,),
    idle_counts=(10,),
    idle_settle_s=1.0,
    idle_s=2.0,
    sizes=(10, 50),
    size_kills=5,
    deaths=4,
    beat_samples=50,
    judged=20,
    judged_s=1.0,
)
LARGE = replace(
    MIDDLE,
    name="large",
    peers=("c-many", "twinwatch"),
    crowds=(5000,),
    idle_counts=(1000,),
    idle_s=60.0,
    sizes=(5000,),
    size_kills=30,
)
FORMS = {form.name: form for form in (FULL, MIDDLE, SHORT, LARGE)}
