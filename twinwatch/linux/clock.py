"""The one place that reads a clock. Decisions get its values as arguments."""

import time

monotonic_ns = time.monotonic_ns
"""CLOCK_MONOTONIC in nanoseconds: it stands still while the machine is suspended."""

wall_ns = time.time_ns
"""Only for what must outlast a reboot, such as the age of a log; it may be set back."""


def wall_text(ago_ns: int = 0) -> str:
    """Now, or a moment ago, in UTC, ISO 8601 with milliseconds, for what people read."""
    seconds, fraction = divmod(time.time_ns() - ago_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction // 1_000_000:03d}Z"


def step_wall(by_ns: int) -> None:
    """Step the clock that people read (`twinwatch chaos`): nothing that guards may depend on it."""
    time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + by_ns)
