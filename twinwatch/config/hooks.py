"""`before_start` and `after_exit`: commands around a worker's life, run as the worker is."""

from functools import partial

from twinwatch.config.fields import DAY_NS, Fields, duration
from twinwatch.config.workplace import Workplace
from twinwatch.core.spec import Hook
from twinwatch.core.timing import MILLISECOND_NS


def read_hook(place: Workplace, fields: Fields, key: str) -> Hook | None:
    """The hook of this name; None: there is none."""
    return fields.section(key, partial(_hook, place), None, short="command")


def _hook(place: Workplace, fields: Fields) -> Hook:
    command = place.command(fields)
    return Hook(command, fields.get("timeout", duration(MILLISECOND_NS, DAY_NS), Hook(()).timeout_ns))
