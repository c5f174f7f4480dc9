"""Keeps out of a watcher's interpreter what it would load for nothing. To be used before all other imports.

`dataclasses` asks `inspect` for nothing but the signatures that it writes into docstrings, and since Python
3.12 for annotations. With all that it imports, `inspect` takes 1.4 MiB, and a tenth of the time in which a
watcher is there. `socket` needs `selectors`, and with it the mathematical library, for `sendfile` alone.
"""

import sys
from types import ModuleType


class _Later(ModuleType):
    """In the place of a module, which is loaded when something of it is asked for."""

    def __getattr__(self, name: str) -> object:
        return getattr(__import__(self.__name__), name)


class _Inspect(_Later):
    """No signatures, annotations as they stand."""

    @staticmethod
    def signature(*_: object, **__: object) -> str:
        return ""

    @staticmethod
    def get_annotations(of: type, **_: object) -> dict[str, object]:
        return dict(of.__dict__.get("__annotations__", {}))  # noqa: RUF063 - this is in its place


def load() -> None:
    """Have `dataclasses` and `socket` load without these; whoever imports them later gets them."""
    _load("dataclasses", _Inspect("inspect"))
    _load("socket", _Later("selectors"))


def _load(name: str, instead: ModuleType) -> None:
    if name in sys.modules or instead.__name__ in sys.modules:
        return
    sys.modules[instead.__name__] = instead
    try:
        __import__(name)
    finally:
        del sys.modules[instead.__name__]
