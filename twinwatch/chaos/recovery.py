"""What a pair still lacks after a blow, and how long it took: compared by what the blow may have done."""

import contextlib
import os
from collections.abc import Mapping

from twinwatch.chaos.fault import NEVER, Blow
from twinwatch.chaos.reader import WATCHERS, Look, runs, seen
from twinwatch.core.record import Heartbeat, Slot
from twinwatch.core.spec import PairSpec
from twinwatch.core.values import Phase

BEATS = 3  # ticks of both watchers after which what they had to do is done


def lack(now: Look, before: Look, blow: Blow, spec: PairSpec, *, is_own: bool) -> str:
    """What the pair still lacks; empty when it is whole again.

    Of a pair that is not `is_own` only what was struck must run: its other workers may end by themselves.
    """
    if now.damaged:
        return f"the record of {now.damaged[0]} is damaged"
    for name in WATCHERS.values():
        slot = now.slots[name]
        if not runs(slot):
            return f"{name} is {seen(slot)}"
        if not _has_grown(name, slot, before, blow):
            return f"{name} is still the one that was struck"
        if len(now.reserves[name]) < spec.watch.reserve:
            return f"{name} lacks reserves"
    for name, old in before.slots.items():
        slot = now.slots.get(name, Slot())
        must_run = old.phase is Phase.RUNNING and (is_own or name in blow.grown)
        if must_run and not (runs(slot) and _has_grown(name, slot, before, blow)):
            return f"worker {name} is {seen(slot)}"
    return ""


def _has_grown(name: str, slot: Slot, before: Look, blow: Blow) -> bool:
    """By as much as the blow must have caused."""
    least = min(blow.grown.get(name, NEVER))
    return name not in before.slots or slot.generation - before.slots[name].generation >= least


def are_reborn(now: Look, before: Look, blow: Blow) -> bool:
    """All that was killed has a successor that runs."""
    return bool(blow.killed) and all(
        name in now.slots
        and now.slots[name].generation > before.slots[name].generation
        and runs(now.slots[name])
        for name in blow.killed
    )


class Beats:
    """Whether both watchers have ticked, BEATS times each. A number that jumps is no tick that is counted."""

    def __init__(self) -> None:
        self._last: dict[str, Heartbeat] = {}
        self._count: dict[str, int] = dict.fromkeys(WATCHERS.values(), -1)  # the first look is none

    def have_ticked(self, beats: Mapping[str, Heartbeat]) -> bool:
        """Ask at each look."""
        for name, beat in beats.items():
            if self._last.get(name) != beat:
                self._last[name] = beat
                self._count[name] += 1
        return min(self._count.values()) >= BEATS


def size_of(path: str) -> int:
    """Of a file; 0 where there is none."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(path).st_size
    return 0


def crashes(path: str, since: int) -> list[str]:
    """Of each traceback that a log got since it was so long: the error, and where it was raised."""
    try:
        with open(path, "rb") as file:
            file.seek(since)
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found, where, is_inside = [], "", False
    for line in lines:
        if line.startswith("Traceback "):
            is_inside = True
        elif is_inside and line.startswith("  File "):
            where = line.strip()
        elif is_inside and line and not line.startswith((" ", "\t")):
            found.append(f"{line} ({where})")
            is_inside = False
    return found


def tail(path: str, size: int) -> list[str]:
    """The last lines of a log, of so many bytes."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, size_of(path) - size))
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
