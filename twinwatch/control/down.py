"""`down`: the off switch. Acknowledged only when nothing of the pair lives any more."""

import os
from collections.abc import Callable
from contextlib import suppress

from twinwatch.config import snapshot
from twinwatch.control import access, settle
from twinwatch.control.operator import exclusive
from twinwatch.control.status import status_of
from twinwatch.control.target import Target
from twinwatch.core.record import Damage, Heartbeat
from twinwatch.core.spec import PairSpec
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Desired, ExitKind, Identity, Phase, Role
from twinwatch.linux import cgroup, draft, process, remains, sole, wishes
from twinwatch.linux.birth import Seat
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.events import EventLog
from twinwatch.linux.identity import is_alive
from twinwatch.linux.lock import holder_at
from twinwatch.linux.loop import Loop
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile
from twinwatch.watch.guard import REPORT, WORKER, Guard
from twinwatch.watch.hooks import HOOK
from twinwatch.watch.pair import Pair

_OPERATOR_TIMEOUT_S = 60.0
_LOOK_AGAIN_NS = SECOND_NS // 5
_LOOK = "look"


def down(
    target: Target, *, timeout_s: float | None, progress: Callable[[str], None], temporary: bool = False
) -> dict[str, object]:
    """End every worker in reverse order, then both watchers and their reserves.

    Returns the status afterwards. A pair that is down already is left as it is. `temporary`: the wish that
    outlasts it stays, so that an anchor's next start, or the next boot, starts the pair again.

    Raises:
        ControlError: something does not end in time; it says what.
    """
    paths = target.paths
    if not (os.path.exists(paths.runtime) or os.path.exists(paths.state)):
        return status_of(paths)  # never heard of: nothing is made for it
    with exclusive(paths, progress, _OPERATOR_TIMEOUT_S if timeout_s is None else timeout_s):
        if not os.path.exists(f"{paths.runtime}/state"):
            if not _lives_unseen(paths):
                _remove(paths)
            return status_of(paths)
        with access.opened(paths) as state:
            wish = wishes.read(paths).pair if temporary else Desired.STOP
            access.change_header(state, desired=Desired.STOP)
            wishes.keep(paths, state, wish)
            access.wake(state)
            progress(f"stopping pair {paths.pair}")
            _end_workers(paths, state, timeout_s)
            _end_strays(paths, _spec(paths, state), timeout_s)
            _end_watchers(paths, state, timeout_s)
            wishes.keep(paths, state, wish)
        _remove(paths)
        EventLog(paths.events, paths.pair, "down").write("down")
    return status_of(paths)


def _end_workers(paths: Paths, state: StateFile, timeout_s: float | None) -> None:
    """Wait for the watchers to do it; do it here when no watcher lives, or none moves."""
    deadline_ns = None if timeout_s is None else monotonic_ns() + int(timeout_s * SECOND_NS)
    stand_in: _StandIn | None = None
    pulse = _Pulse(state, _spec(paths, state).watch.timeout_ns)
    try:
        while alive := living_workers(state):
            if deadline_ns is not None and monotonic_ns() > deadline_ns:
                settle.wait_for(lambda: False, 0, lambda: f"does not end: {', '.join(alive)}")
            if pulse.is_felt():
                process.pause(access.POLL_MS)
                continue
            if stand_in is None:
                stand_in = _StandIn(paths, state)
            stand_in.work()
    finally:
        if stand_in is not None:
            stand_in.close()


class _Pulse:
    """Whether a watcher lives and moves. Reserves stopped with it would convict nobody."""

    def __init__(self, state: StateFile, timeout_ns: int) -> None:
        self._state = state
        self._timeout_ns = timeout_ns
        self._beats: list[Heartbeat] = []
        self._still_ns = 0

    def is_felt(self) -> bool:
        """Ask every POLL_MS: what is counted is this process's own looks (P9)."""
        beats = [self._state.heartbeat(role) for role in WATCHER_ROLES]
        self._still_ns = self._still_ns + access.POLL_MS * MILLISECOND_NS if beats == self._beats else 0
        self._beats = beats
        return self._still_ns <= self._timeout_ns and bool(access.living_watchers(self._state))


class _StandIn:
    """A guard without a role, for the time in which no watcher lives or moves."""

    def __init__(self, paths: Paths, state: StateFile) -> None:
        spec = _spec(paths, state)
        self._loop = Loop()
        seat = Seat(Role.GUEST, config_generation=state.header().config_generation)
        self._pair = Pair(paths, spec, state, seat, EventLog(paths.events, paths.pair, "down"))
        self._guard = Guard(self._pair, self._loop, None)
        self._guard.adopt(spec)

    def work(self) -> None:
        """One round, of bounded time."""
        self._guard.catch_up()
        self._guard.work()
        self._pair.flush()
        self._loop.set_deadline(_LOOK, monotonic_ns() + _LOOK_AGAIN_NS)
        for kind, index in self._loop.wait(block=not self._guard.has_work):
            if kind == WORKER:
                self._guard.pidfd_ready(index)
            elif kind == REPORT:
                self._guard.report_ready(index)
            elif kind == HOOK:
                self._guard.hook_ready(index)
        for due in self._loop.take_due(monotonic_ns()):
            if isinstance(due, int):
                self._guard.look_again(due)

    def close(self) -> None:
        self._guard.close()
        self._pair.events.close()
        self._loop.close()


def _spec(paths: Paths, state: StateFile) -> PairSpec:
    try:
        return snapshot.read(paths.snapshots, state.header().config_generation)
    except (snapshot.SnapshotError, FileNotFoundError):
        return PairSpec(paths.pair)


def living_workers(state: StateFile) -> list[str]:
    """Labels of worker slots that are not over yet, gated children and what escaped included."""
    labels = []
    for index in range(FIRST_WORKER_SLOT, state.header().slots):
        with suppress(Damage):
            slot = state.slot(index)
            escaped = slot.phase is Phase.FATAL and slot.exit.kind is ExitKind.ESCAPED
            if escaped or slot.phase in (Phase.STARTING, Phase.RUNNING, Phase.PAUSED, Phase.STOPPING):
                labels.append(slot.label)
    return labels


def _end_strays(paths: Paths, spec: PairSpec, timeout_s: float | None) -> None:
    """End what no record tells of any more, because its slot is damaged: it still has its token."""

    def held() -> list[str]:
        places = [(paths.token(name, instance), name) for _, name, instance in spec.places]
        return [name for token, name in places if remains.end_if_held(token)]

    settle.wait_for(lambda: not held(), timeout_s, lambda: f"does not end: {', '.join(held())}")


def _end_watchers(paths: Paths, state: StateFile, timeout_s: float | None) -> None:
    """They leave by themselves; one that stands still is ended.

    A reserve that no list names yet is found by the log that only watchers and reserves have open.
    """
    patience_ns = state.lock.timeout_ns
    began_ns = monotonic_ns()

    def is_done() -> bool:
        left = [identity for identity in _of_the_pair(state) if is_alive(identity)]
        if monotonic_ns() - began_ns > patience_ns:
            for identity in left:
                process.end(identity)
            remains.end_token_holders(paths.own_log, lambda: True)
        return not left and not remains.token_holders(paths.own_log)

    settle.wait_for(is_done, timeout_s, lambda: "a watcher or reserve does not end: see `twinwatch status`")


def _of_the_pair(state: StateFile) -> list[Identity]:
    identities: list[Identity] = []
    for role in WATCHER_ROLES:
        with suppress(Damage):
            identities.append(state.slot(role.slot).identity)
        identities += state.reserves(role).identities
    return identities


def _remove_contact(directory: str) -> None:
    """Heartbeat files and the notify socket, which nobody uses any more."""
    with suppress(OSError):  # any errno: a user of another pair put something else into it
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)


def _lives_unseen(paths: Paths) -> bool:
    """Whether a pair without a state file at its path is about to put it back (R12).

    Without one, a command was killed in the middle: `down` at its end, or `up` at its beginning.
    """
    has_watcher = holder_at(paths.alive_lock) != 0
    return has_watcher or (sole.holder(paths) != 0 and wishes.read(paths).pair is Desired.RUN)


def _remove(paths: Paths) -> None:
    """Nothing of the pair lives: its runtime directory goes, its wishes stay."""
    with suppress(FileNotFoundError):
        draft.sweep(f"{paths.runtime}/state")
        os.unlink(f"{paths.runtime}/state")
    with suppress(OSError):  # any errno: somebody put something else into it
        os.rmdir(paths.runtime)
    _remove_contact(paths.contact)
    with suppress(OSError):  # any errno: there is none, or something else is in it
        os.rmdir(cgroup.guards(paths.pair))
