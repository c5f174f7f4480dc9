"""What outlives the service: how far the event log was read, what is collected, what is on its way.

One file, replaced as a whole and durably: whatever is in it belongs to one moment. `None` from `read` means
that nothing was ever kept.
"""

import errno
import json
import os
from dataclasses import dataclass, field
from typing import Any

from twinwatch.core import grouping
from twinwatch.core.grouping import Window
from twinwatch.services.alerts import message

LAYOUT = 1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOENT)


class Unreadable(Exception):
    """There is a file, and it is not one of these."""


@dataclass(slots=True)
class Parcel:
    """A message on its way."""

    document: dict[str, Any]
    failures: int = 0
    due_ns: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """`targets` maps an alert's key to its window and its parcel."""

    positions: dict[str, int]
    asked: dict[str, int] = field(default_factory=dict)
    targets: dict[str, tuple[Window, Parcel | None]] = field(default_factory=dict)


def read(path: str) -> Ledger | None:
    """Raises Unreadable."""
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
        if kept["layout"] != LAYOUT:
            raise Unreadable(f"layout {kept['layout']}")
        targets = {key: _target(fields) for key, fields in kept["targets"].items()}
        return Ledger(_numbers(kept["positions"]), _numbers(kept["asked"]), targets)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from None


def _numbers(fields: dict[str, Any]) -> dict[str, int]:
    return {str(key): int(value) for key, value in fields.items()}


def _target(fields: dict[str, Any]) -> tuple[Window, Parcel | None]:
    kept = fields["parcel"]
    parcel = None if kept is None else Parcel(dict(kept["document"]), int(kept["failures"]))
    if parcel is not None:
        message.environment(parcel.document)  # it can be sent
    return grouping.from_fields(fields["window"]), parcel


def write(path: str, ledger: Ledger) -> bool:
    """False: the disk does not take it; try again later."""
    document = {
        "layout": LAYOUT,
        "positions": ledger.positions,
        "asked": ledger.asked,
        "targets": {key: _fields(*target) for key, target in ledger.targets.items()},
    }
    try:
        _replace(path, json.dumps(document))
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return False
    return True


def _fields(window: Window, parcel: Parcel | None) -> dict[str, Any]:
    kept = None if parcel is None else {"document": parcel.document, "failures": parcel.failures}
    return {"window": grouping.to_fields(window), "parcel": kept}


def _replace(path: str, text: str) -> None:
    draft = f"{path}.draft"
    with open(draft, "w", encoding="utf-8", opener=_private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
