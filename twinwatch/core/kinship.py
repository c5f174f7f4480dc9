"""Groups of workers, as a supervisor of OTP has them: who ends with whom, and when the group gives up.

Prior art: Erlang's `supervisor` (one_for_one, rest_for_one, one_for_all; intensity and period). A member
that died drags others along: they are ended, then all start again in the order of the group. Nothing is
held in memory: who has to end follows from the records, so a guard can go on where another was killed.

Invariants: only what was born before the death is dragged, so doing it twice changes nothing. While some have
to end that have not, none of the group is born: it would neither end with them nor start after them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from twinwatch.core import restart
from twinwatch.core.reconcile import Kin
from twinwatch.core.record import Slot
from twinwatch.core.spec import Group, Strategy
from twinwatch.core.values import NO_PROCESS, Desired, Ending, Phase

_FAILED = frozenset({Ending.NONE, Ending.UNREADY, Ending.UNHEALTHY})


@dataclass(frozen=True, slots=True)
class Member:
    """One instance of a worker of the group; `rank` is its worker's place in the group."""

    index: int
    rank: int
    slot: Slot

    @property
    def is_there(self) -> bool:
        """It has a process whose end is not recorded."""
        return self.slot.phase not in NO_PROCESS and not self.slot.is_over


def kin_of(group: Group, own: Member, others: Sequence[Member], now_ns: int) -> Kin:
    """What the others of a group mean to one of its members."""
    gave_up = any(has_given_up(member.slot) for member in others)
    if not own.slot.is_over:
        return Kin(gave_up=gave_up)
    return Kin(
        to_drag=_to_drag(group.strategy, own, others),
        ending=_are_ending(others) or _is_half_done(group.strategy, others),
        exceeded=_exceeded(group, (own, *others), now_ns),
        gave_up=gave_up,
    )


def has_given_up(slot: Slot) -> bool:
    """It is fatal because of its group."""
    return slot.phase is Phase.FATAL and slot.exit.ending is Ending.GROUP


def _are_ending(others: Sequence[Member]) -> bool:
    return any(member.is_there and member.slot.ending is Ending.GROUP for member in others)


def _is_half_done(strategy: Strategy, others: Sequence[Member]) -> bool:
    """A death has others to drag that were not told yet: who is born meanwhile would not end with them.

    It may wait for a hook, or for what it left; or its guard was killed before all were told.
    """
    dead = [m for m in others if m.slot.phase is Phase.STOPPING and m.slot.is_over]
    return any(_to_drag(strategy, m, [o for o in others if o is not m]) for m in dead)


def _to_drag(strategy: Strategy, own: Member, others: Sequence[Member]) -> tuple[int, ...]:
    if strategy is Strategy.ONE_FOR_ONE or not _drags(own.slot):
        return ()
    died_ns = own.slot.exit.at_ns
    return tuple(
        member.index
        for member in others
        if member.is_there
        and member.slot.desired is Desired.RUN
        and member.slot.born_ns < died_ns
        and member.slot.generation > member.slot.end_generation
        and (strategy is Strategy.ONE_FOR_ALL or member.rank > own.rank)
    )


def _drags(slot: Slot) -> bool:
    """It died, and nobody had ordered that.

    A birth that came to nothing drags nobody: whoever killed a watcher would end healthy workers.
    """
    if slot.desired is not Desired.RUN or slot.generation <= slot.end_generation:
        return False
    return slot.exit.ending in _FAILED and not restart.never_ran(slot.exit)


def _exceeded(group: Group, members: Sequence[Member], now_ns: int) -> str:
    if group.limit is None:
        return ""
    since_ns = now_ns - group.limit.within_ns
    births = sum(birth_ns > since_ns for member in members for birth_ns in member.slot.births_ns)
    if births < group.limit.restarts:
        return ""
    within = group.limit.within_ns / 1e9
    return f"more than {group.limit.restarts} restarts of group {group.name} within {within:g} s"
