"""`state`: everything that the state file says, damage included."""

from contextlib import suppress
from dataclasses import asdict
from enum import IntEnum
from typing import Any

from twinwatch.control.access import open_state
from twinwatch.control.target import Target
from twinwatch.core.record import Damage
from twinwatch.core.values import FIRST_WORKER_SLOT, Phase, Role
from twinwatch.linux.statefile import StateFile

ROLES = (Role.A, Role.B, Role.ANCHOR)


def dump(target: Target) -> dict[str, Any]:
    """The state file as a document; `damage` lists what cannot be believed."""
    state = open_state(target.paths)
    try:
        return _document(state)
    finally:
        state.close()


def _document(state: StateFile) -> dict[str, Any]:
    damage: list[str] = []
    header: dict[str, Any] | None = None
    slots = FIRST_WORKER_SLOT
    try:
        header, slots = _plain(asdict(state.header())), state.header().slots
    except Damage as found:
        damage.append(f"header: {found.what}")
    return {
        "path": state.path,
        "sequence": state.sequence(),
        "header": header,
        "roles": {role.label: _slot(state, role.slot, damage) for role in ROLES},
        "heartbeats": {role.label: _plain(asdict(state.heartbeat(role))) for role in ROLES},
        "reserves": {role.label: _plain(asdict(state.reserves(role))) for role in ROLES},
        "slots": [_slot(state, index, damage) for index in range(FIRST_WORKER_SLOT, slots)],
        "changes": _tail(state),
        "damage": damage,
    }


def _slot(state: StateFile, index: int, damage: list[str]) -> dict[str, Any]:
    try:
        read = state.read(index)
    except Damage as found:
        damage.append(f"slot {index}: {found.what}")
        return {"index": index, "damage": found.what, "version": found.version}
    shown = {"index": index, "version": read.version}
    return (
        shown
        if read.slot.phase is Phase.FREE and not read.slot.generation
        else shown | _plain(asdict(read.slot))
    )


def _tail(state: StateFile) -> list[int]:
    """Slot indices of the newest changes, oldest first."""
    with suppress(OSError):  # any errno: it only informs
        return state.journal_tail(20)
    return []


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON values
    """Enums by name, bytes as hexadecimal."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, IntEnum):
        return value.name.lower()
    return value.hex() if isinstance(value, bytes) else value
