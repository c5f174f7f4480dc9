"""Who may give birth: the compare of the protocol, and the record that a won claim writes.

A claim carries what its maker saw. It is compared, in one critical section, with what is true: the
maker's own generation, the slot's generation, the configuration generation and both desired states.
Anything that moved means: lost, look again. Only a maker that saw the slot's process *dead* claims.
"""

from dataclasses import dataclass, replace

from twinwatch.core.record import Header, Slot
from twinwatch.core.spec import RESTART_LIMIT_MAX
from twinwatch.core.values import Desired, Ending, Health, HookState, Identity, Met, Phase, Role


@dataclass(frozen=True, slots=True)
class Claim:
    """`by` and `by_generation`: the maker's role. A guest (a command-line call) has no generation."""

    generation: int  # of the slot, as its maker saw it dead
    config_generation: int
    by: Role
    by_generation: int = 0


def objection(claim: Claim, header: Header, own: Slot | None, slot: Slot) -> str | None:
    """Why the claim is lost, or None when it is won. `own` is the maker's role slot, None for a guest."""
    if header.moved:
        return "the state file has moved"
    if header.desired is not Desired.RUN:
        return "the pair is to be down"
    if slot.desired is not Desired.RUN:
        return "the slot is not to run"
    if header.config_generation != claim.config_generation:  # R09
        return "the configuration has changed"
    if own is not None and own.generation != claim.by_generation:  # R08
        return "fenced: another process has this role"
    if slot.generation != claim.generation:  # R04
        return "the slot has a newer generation"
    return None


def born(
    slot: Slot,
    claim: Claim,
    child: Identity,
    *,
    now_ns: int,
    until_ns: int = 0,
    birth_hash: int = 0,
    is_restart: bool = False,
) -> Slot:
    """The record of generation n+1. `is_restart`: it counts for limits and spacing."""
    births = (*slot.births_ns, now_ns)[-RESTART_LIMIT_MAX:] if is_restart else slot.births_ns
    return replace(
        slot,
        generation=slot.generation + 1,
        phase=Phase.STARTING,
        owner=claim.by,
        owner_generation=claim.by_generation,
        config_generation=claim.config_generation,
        birth_hash=birth_hash,
        identity=child,
        born_ns=now_ns,
        until_ns=until_ns,
        ending=Ending.NONE,
        killed=False,
        ready=False,
        health=Health.UNKNOWN,
        signed_off=False,
        hook=HookState.NONE,
        met=Met.NOTHING,
        note="",
        restarts=slot.restarts + is_restart,
        births_ns=births,
    )
