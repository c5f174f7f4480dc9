"""Keeps out of a watcher's interpreter what it would load for nothing. To be used before all other imports.

`dataclasses` asks `inspect` for nothing but the signatures that it writes into docstrings. With all that it
imports, `inspect` takes 1.4 MiB, and a tenth of the time in which a watcher is there.
"""

import sys
from types import ModuleType


class _Instead(ModuleType):
    """No signatures; whatever else is asked for, `inspect` itself gives."""

    @staticmethod
    def signature(*_: object, **__: object) -> str:
        return ""

    def __getattr__(self, name: str) -> object:
        import inspect

        return getattr(inspect, name)


def load_dataclasses() -> None:
    """Have `dataclasses` load without `inspect`; whoever imports that later gets it."""
    if "inspect" in sys.modules or "dataclasses" in sys.modules:
        return
    sys.modules["inspect"] = _Instead("inspect")
    try:
        import dataclasses  # noqa: F401
    finally:
        del sys.modules["inspect"]
