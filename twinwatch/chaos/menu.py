"""The menu: every fault there is, and which of them can be had here and now."""

from collections.abc import Callable
from dataclasses import dataclass

from twinwatch.chaos.fault import Fault
from twinwatch.chaos.faults import (
    bits,
    clock,
    descriptors,
    directory,
    disk,
    forks,
    freeze,
    kills,
    memory,
    pids,
    stops,
)
from twinwatch.chaos.needs import Allowed

MENU: tuple[Fault, ...] = (
    *kills.FAULTS,
    *stops.FAULTS,
    *freeze.FAULTS,
    *memory.FAULTS,
    *forks.FAULTS,
    *disk.FAULTS,
    *descriptors.FAULTS,
    *directory.FAULTS,
    *bits.FAULTS,
    *clock.FAULTS,
    *pids.FAULTS,
)
BY_NAME = {fault.name: fault for fault in MENU}
SETS: dict[str, Callable[[Fault], bool]] = {
    "all": lambda _fault: True,
    "kills": lambda fault: fault.kind == "kills",
    "others": lambda fault: fault.kind == "others",
    "watchers": lambda fault: fault.name in {"kill-a", "kill-b", "kill-both"},
}


@dataclass(frozen=True, slots=True)
class Terms:
    """Of the run. `own`: against a throw-away pair. `workers`: they may be struck.

    `revive`: whoever finds the pair without a guard may start it again (an anchor is one, too).
    """

    own: bool
    workers: bool
    revive: bool
    allowed: Allowed


@dataclass(frozen=True, slots=True)
class Offer:
    """A fault and why it cannot be had; an empty `why`: it can."""

    fault: Fault
    why: str


def offer(fault: Fault, terms: Terms) -> Offer:
    """The first reason is told, what the caller can change before what the machine lacks."""
    if fault.own_only and not terms.own:
        return Offer(fault, "only against a pair made for it: --throw-away")
    if fault.workers and not terms.workers:
        return Offer(fault, "it strikes workers: --workers")
    if fault.ends_all and not terms.revive:
        return Offer(fault, "it may end every guard: only with an anchor, or with --revive")
    return Offer(fault, next(filter(None, (need(terms.allowed) for need in fault.needs)), ""))


def offers(terms: Terms) -> list[Offer]:
    """The whole menu."""
    return [offer(fault, terms) for fault in MENU]
