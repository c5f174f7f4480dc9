"""Waiting for a pair to become what it was told to be. Only commands wait; watchers never do."""

from collections.abc import Callable

from twinwatch.config import snapshot
from twinwatch.control.access import POLL_MS
from twinwatch.control.errors import ControlError
from twinwatch.core.record import Damage
from twinwatch.core.settled import is_settled
from twinwatch.core.spec import PairSpec
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import WATCHER_ROLES, Phase
from twinwatch.linux import process
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import is_alive
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile


def wait_for(is_done: Callable[[], bool], timeout_s: float | None, complaint: Callable[[], str]) -> None:
    """Look every few milliseconds. Raises ControlError with the complaint when time is over."""
    deadline_ns = None if timeout_s is None else monotonic_ns() + int(timeout_s * SECOND_NS)
    while not is_done():
        if deadline_ns is not None and monotonic_ns() > deadline_ns:
            raise ControlError(complaint())
        process.pause(POLL_MS)


def until_whole(paths: Paths, state: StateFile, timeout_s: float, progress: Callable[[str], None]) -> None:
    """Both watchers watch, and every worker is where it should be (or gave up)."""
    spec = snapshot.read(paths.snapshots, state.header().config_generation)
    progress("waiting until the pair is whole")
    wait_for(
        lambda: not missing(state, spec), timeout_s, lambda: "not whole in time: " + missing(state, spec)
    )


def missing(state: StateFile, spec: PairSpec) -> str:
    """What a whole pair still lacks; empty when it lacks nothing."""
    for role in WATCHER_ROLES:
        slot = state.slot(role.slot)
        if slot.phase is not Phase.RUNNING or not is_alive(slot.identity):
            return f"watcher {role.label} is {slot.phase.name.lower()}"
        if state.heartbeat(role).config_generation != spec.generation:
            return f"watcher {role.label} has not taken the configuration over"
        reserves = state.reserves(role)
        if reserves.generation != slot.generation or len(reserves.identities) < spec.watch.reserve:
            return f"watcher {role.label} has not all its reserves"
    for index, name, instance in spec.places:
        try:
            slot = state.slot(index)
        except Damage:
            continue
        if not is_settled(slot, name, instance, spec):
            unready = slot.phase is Phase.RUNNING and not slot.ready
            return f"{slot.label or name} is " + ("not ready" if unready else slot.phase.name.lower())
    return ""
