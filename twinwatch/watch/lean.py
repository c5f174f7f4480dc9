"""Keeps out of a watcher's interpreter what it would load for nothing. To be used before all other imports.

`dataclasses` asks `inspect` for nothing but the signatures that it writes into docstrings, and since Python
3.12 for annotations. With all that it imports, `inspect` takes 1.4 MiB, and a tenth of the time in which a
watcher is there. `socket` needs `selectors`, and with it the mathematical library, for `sendfile` alone.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


class _Inspect(ModuleType):
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


class _Selectors(ModuleType):
    """`selectors` itself, when something of it is asked for."""

    def __getattr__(self, name: str) -> object:
        import selectors

        return getattr(selectors, name)


def load() -> None:
    """Have `dataclasses` and `socket` load without these; whoever imports them later gets them."""
    if not {"dataclasses", "inspect"} & sys.modules.keys():
        with _instead(_Inspect("inspect")):
            import dataclasses  # noqa: F401
    if not {"socket", "selectors"} & sys.modules.keys():
        with _instead(_Selectors("selectors")):
            import socket  # noqa: F401


@contextmanager
def _instead(module: ModuleType) -> Iterator[None]:
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        del sys.modules[module.__name__]
