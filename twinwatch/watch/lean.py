"""Keeps out of a watcher's interpreter what it would load for nothing. To be used before all other imports.

`dataclasses` asks `inspect` for nothing but the signatures that it writes into docstrings, and since Python
3.12 for annotations. With all that it imports, `inspect` takes 1.4 MiB, and a tenth of the time in which a
watcher is there.
"""

import sys
from types import ModuleType


class _Instead(ModuleType):
    """No signatures, annotations as they stand; whatever else is asked for, `inspect` itself gives."""

    @staticmethod
    def signature(*_: object, **__: object) -> str:
        return ""

    @staticmethod
    def get_annotations(of: type, **_: object) -> dict[str, object]:
        return dict(of.__dict__.get("__annotations__", {}))  # noqa: RUF063 - this is in its place

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
