"""What a dead generation left behind, before the next may be born: found, ended, or taken for its heir.

Three things tell of it: its process group, its token, its cgroup. After a crash all of it is ended. After an
orderly exit it may be what the worker was started for: then a PID file may name it as the worker from now on.
"""

from collections.abc import Callable

from twinwatch.core import exits, expand
from twinwatch.core.reconcile import LEAVING_NS, Rest
from twinwatch.core.record import Slot
from twinwatch.core.values import ExitKind
from twinwatch.linux import adoption, cgroup, draft, remains
from twinwatch.linux.token import is_held
from twinwatch.watch.pair import Pair
from twinwatch.watch.roster import Guarded


def token_of(pair: Pair, guarded: Guarded) -> str:
    """Path of the slot's token."""
    return pair.paths.token(guarded.slot.name, guarded.slot.instance)


def examine(pair: Pair, guarded: Guarded, now_ns: int, *, is_ending: bool) -> Rest | Slot:
    """What is left, its group ended; or the record of the generation with its heir.

    A registered process leads no group of its own and holds no token: it left nothing that can be told.
    """
    if guarded.is_registered:
        return Rest.EMPTY
    token = token_of(pair, guarded)
    _sweep(pair, guarded)
    names_heir = _names_heir(guarded) and not is_ending
    if names_heir:
        taken = _heir(guarded, token)
        if taken != guarded.slot:
            return taken
    is_fresh = now_ns < guarded.slot.exit.at_ns + LEAVING_NS
    # the main process may not have left the group yet
    spared = names_heir and is_fresh and is_held(token)
    left = spared or remains.end_group(guarded.slot.identity, guarded.pidfd, token)
    escaped = is_held(token) or _is_cgroup_populated(pair, guarded)
    if left or (escaped and is_fresh):
        return Rest.GROUP
    return Rest.ESCAPED if escaped else Rest.EMPTY


def _sweep(pair: Pair, guarded: Guarded) -> None:
    """A gated child that was killed while it made its heartbeat file."""
    slot = guarded.slot
    draft.remove(pair.paths.heartbeat(slot.name, slot.instance), slot.identity.pid)


def end_escaped(pair: Pair, guarded: Guarded, is_current: Callable[[], bool]) -> None:
    """KILL what left its group. `is_current` is asked before each signal: the slot has not moved on (R20)."""
    count = remains.end_token_holders(token_of(pair, guarded), is_current)  # R20
    slot = guarded.slot
    if guarded.spec is not None and is_current():
        cgroup.kill(pair.paths.pair, guarded.spec, slot.instance, slot.generation)
    pair.tell("escaped-ended", slot=slot.label, count=count)


def _is_cgroup_populated(pair: Pair, guarded: Guarded) -> bool:
    spec, slot = guarded.spec, guarded.slot
    return spec is not None and cgroup.is_populated(pair.paths.pair, spec, slot.instance, slot.generation)


def _names_heir(guarded: Guarded) -> bool:
    """A leader that ended in order may have named its successor in a PID file."""
    has_file = guarded.spec is not None and bool(guarded.spec.pid_file)
    return has_file and guarded.slot.exit.kind in (ExitKind.CLEAN, ExitKind.ESCAPED)


def _heir(guarded: Guarded, token: str) -> Slot:
    path = expand.expand(guarded.spec.pid_file, guarded.instance) if guarded.spec else ""
    identity = adoption.main_process(adoption.read_pid_file(path), token)
    return exits.handed_over(guarded.slot, identity) if identity else guarded.slot
