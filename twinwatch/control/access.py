"""A living pair's state file, opened by a command-line call."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from twinwatch.control.errors import NOT_RUNNING, ControlError
from twinwatch.core.record import Damage, Header, Slot
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import WATCHER_ROLES, Role
from twinwatch.linux import machine, process, sole
from twinwatch.linux.birth import Seat, compare_and_write
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import ProcessGone, is_alive, open_pid
from twinwatch.linux.lock import ELSEWHERE
from twinwatch.linux.loop import WAKE_SIGNAL
from twinwatch.linux.paths import Paths, check_owned
from twinwatch.linux.statefile import StateFile, StateMoved

GUEST = Seat(Role.GUEST)
POLL_MS = 20
_TAKEOVER_NS = 10 * SECOND_NS  # more than any takeover takes


@contextmanager
def opened(paths: Paths) -> Iterator[StateFile]:
    """The state file of a pair of this boot.

    Raises:
        ControlError: there is none, or it is another boot's, or its header cannot be believed.
    """
    state = open_state(paths)
    try:
        header = header_of(state)
        if machine.is_foreign(header):
            raise ControlError(
                f"pair {paths.pair} is not running: its state is of another boot; `twinwatch up` starts it",
                NOT_RUNNING,
            )
        yield state
    finally:
        state.close()


def open_state(paths: Paths) -> StateFile:
    try:
        check_owned(paths.runtime)
        return StateFile(paths.runtime, 2 * SECOND_NS)
    except FileNotFoundError:
        raise ControlError(
            f"pair {paths.pair} is not running: `twinwatch up CONFIG` starts it", NOT_RUNNING
        ) from None


def header_of(state: StateFile) -> Header:
    try:
        return state.header()
    except Damage as damage:
        raise ControlError(
            f"{state.path} is damaged ({damage.what}): a living watcher repairs it within its interval"
        ) from None


def living_watchers(state: StateFile) -> dict[Role, Slot]:
    slots = {role: state.slot(role.slot) for role in WATCHER_ROLES}
    return {role: slot for role, slot in slots.items() if is_alive(slot.identity)}


def await_watchers(state: StateFile) -> int:
    """Like `wake`; but while no watcher lives and a reserve does, its takeover is waited for."""
    deadline_ns = monotonic_ns() + _TAKEOVER_NS
    while not living_watchers(state) and _has_reserve(state) and monotonic_ns() < deadline_ns:
        process.pause(POLL_MS)
    return wake(state)


def wake(state: StateFile) -> int:
    """Have every living watcher look; how many there are."""
    living = living_watchers(state)
    for slot in living.values():
        process.end(slot.identity, WAKE_SIGNAL)
    return len(living)


def wake_anchor(paths: Paths) -> bool:
    """Have a living anchor look; whether there is one. It holds its lock when its PID is looked at again."""
    pid = sole.holder(paths)
    if pid in (0, ELSEWHERE):
        return False
    try:
        pidfd = open_pid(pid)
    except ProcessGone:
        return False
    try:
        return sole.holder(paths) == pid and process.send(pidfd, WAKE_SIGNAL)
    finally:
        os.close(pidfd)


def _has_reserve(state: StateFile) -> bool:
    return any(is_alive(identity) for role in WATCHER_ROLES for identity in state.reserves(role).identities)


def change(state: StateFile, index: int, to: Callable[[Slot], Slot]) -> tuple[Slot, Slot]:
    """Change one slot whatever else is changing it; (before, after)."""
    while True:
        read = state.read(index)
        wanted = to(read.slot)
        if wanted == read.slot:
            return read.slot, wanted
        try:
            if compare_and_write(state, GUEST, index, read, wanted):
                return read.slot, wanted
        except StateMoved:
            raise ControlError("the runtime directory has just been rebuilt: try again") from None


def change_header(state: StateFile, **fields: object) -> None:
    with state.lock:
        state.check_not_moved()
        state.write_header(replace(state.header(), **fields))  # type: ignore[arg-type]
