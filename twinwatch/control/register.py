"""`register`, `unregister`: a process that the pair did not start comes under its guard, or leaves it.

The slot and the configuration that names it come into force in one critical section: a watcher that knows
only the older configuration does not judge the record of a newer one (R23), and one that knows the new one
finds the process there and starts none beside it.
"""

import os
import pwd
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

from twinwatch.config import snapshot
from twinwatch.config.worker import check_name
from twinwatch.control import access, registry, settle, up
from twinwatch.control.errors import NOT_ALLOWED, NOT_INSTALLED, NOT_RUNNING, ControlError
from twinwatch.control.operator import exclusive
from twinwatch.control.target import Target
from twinwatch.core import fence
from twinwatch.core.fence import Claim
from twinwatch.core.record import Slot
from twinwatch.core.spec import Account, PairSpec, WorkerSpec
from twinwatch.core.values import NO_EXIT, NO_PROCESS, WATCHER_ROLES, Desired, Identity, Phase, Role
from twinwatch.linux import heartbeat, wishes
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.identity import ProcessGone, identify, is_alive, is_dead, open_pid
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile


@dataclass(frozen=True, slots=True)
class Registration:
    """What a process says of itself. `timeout_ns` without a beat is a miss, `misses` of them convict."""

    name: str
    pid: int
    command: tuple[str, ...]
    directory: str
    timeout_ns: int
    misses: int


def register(
    target: Target, asked: Registration, *, timeout_s: float, progress: Callable[[str], None]
) -> dict[str, object]:
    """Guard a living process as a worker; where its heartbeat goes.

    Doing it twice changes nothing.

    Raises:
        ControlError: no living pair, another's process, a name that is taken, a command that is not there.
    """
    paths = target.paths
    with exclusive(paths, progress, timeout_s), access.opened(paths) as state:
        _refuse(asked)
        if state.header().desired is Desired.STOP or not access.await_watchers(state):
            raise ControlError(f"pair {paths.pair} is down: `twinwatch up` first", NOT_RUNNING)
        identity, uid = _process(asked.pid)
        old = snapshot.read(paths.snapshots, state.header().config_generation)
        own = registry.worker(
            asked.name,
            asked.command,
            os.path.abspath(asked.directory),
            asked.timeout_ns,
            asked.misses,
            account=account_of(uid),
        )
        if _is_registered(state, old, own, identity):
            if not os.path.exists(paths.heartbeat(own.name, 0)):
                _make_heartbeat(paths, own, uid)
            return _answer(paths, own)
        _refuse_taken(state, old, own)
        _refuse_guarded(state, old, own, identity)
        _make_heartbeat(paths, own, uid)
        registered = registry.of(old) | {own.name: own}
        spec = up.publish(
            paths,
            state,
            old,
            old,
            record=lambda new: _record(state, new, own, identity),
            registered=registered,
        )
        registry.write(paths, registered)  # last: who is killed before it starts nothing beside the process
        wishes.keep(paths, state)
        _await_adoption(state, spec, timeout_s)
    return _answer(paths, own)


def unregister(
    target: Target, name: str, *, timeout_s: float, progress: Callable[[str], None]
) -> dict[str, object]:
    """Guard a registered worker no more. Its process is left as it is."""
    paths = target.paths
    with exclusive(paths, progress, timeout_s), access.opened(paths) as state:
        old = snapshot.read(paths.snapshots, state.header().config_generation)
        registered = registry.of(old)
        if registered.pop(name, None) is None:
            names = ", ".join(registered) or "none"
            raise ControlError(f"no registered worker {name}: there is {names}", NOT_INSTALLED)
        registry.write(paths, registered)
        spec = up.publish(
            paths, state, old, old, record=lambda new: _release(state, new, old, name), registered=registered
        )
        wishes.keep(paths, state)
        access.await_watchers(state)
        _await_adoption(state, spec, timeout_s)
    return {"worker": name, "pair": paths.pair}


def _answer(paths: Paths, own: WorkerSpec) -> dict[str, object]:
    return {"worker": own.name, "pair": paths.pair, "heartbeat": paths.heartbeat(own.name, 0)}


# ---------------------------------------------------------------- who may, and what


def _refuse(asked: Registration) -> None:
    try:
        check_name(asked.name)
    except ValueError as error:
        raise ControlError(str(error)) from None
    if not asked.command:
        raise ControlError("a command is needed that starts it again: put it behind --")
    if shutil.which(os.path.join(asked.directory, asked.command[0])) is None and not shutil.which(
        asked.command[0]
    ):
        raise ControlError(f"{asked.command[0]} is no program: name one that starts the worker again")
    if not os.path.isdir(asked.directory):
        raise ControlError(f"directory {asked.directory} does not exist")


def _process(pid: int) -> tuple[Identity, int]:
    """Identity and user of the process to be guarded."""
    gone = ControlError(f"there is no process {pid}", NOT_RUNNING)
    try:
        pidfd = open_pid(pid)
    except ProcessGone:
        raise gone from None
    try:
        identity, uid = identify(pid, pidfd), _user_of(pid)
        if uid is None or is_dead(pidfd):  # alive to the end: what was read by its PID was its own
            raise gone
    finally:
        os.close(pidfd)
    if pid == 1:
        raise ControlError("PID 1 cannot be guarded: nothing ends it", NOT_ALLOWED)
    if os.geteuid() not in (0, uid):
        raise ControlError(f"process {pid} belongs to UID {uid}, not to you", NOT_ALLOWED)
    return identity, uid


def _user_of(pid: int) -> int | None:
    """Its effective user; None: it is gone. Who owns its folder in `/proc` may be root all the same."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next((int(line.split()[2]) for line in file if line.startswith("Uid:")), None)
    except (FileNotFoundError, ProcessLookupError):
        return None


def account_of(uid: int) -> Account | None:
    """Whom its command runs as: what a user's process says must not be run as root. None: as the pair."""
    if uid == os.geteuid():
        return None
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        message = f"UID {uid} has no account on this machine: its command could not be run as that user"
        raise ControlError(message, NOT_ALLOWED) from None
    groups = tuple(sorted(set(os.getgrouplist(user.pw_name, user.pw_gid))))
    return Account(uid, user.pw_gid, groups, user.pw_name, user.pw_dir, user.pw_shell)


def _place(spec: PairSpec, name: str) -> int | None:
    return next((index for index, other, _ in spec.places if other == name), None)


def _is_registered(state: StateFile, old: PairSpec, own: WorkerSpec, identity: Identity) -> bool:
    index = _place(old, own.name)
    return own in old.workers and index is not None and state.slot(index).identity == identity


def _refuse_taken(state: StateFile, old: PairSpec, own: WorkerSpec) -> None:
    for worker in old.workers:
        if worker.name == own.name and not worker.registered:
            raise ControlError(f"{own.name} is a worker of {old.source}: choose another name")
    index = _place(old, own.name)
    if index is None:
        return
    slot = state.slot(index)
    if slot.phase not in NO_PROCESS and is_alive(slot.identity):
        raise ControlError(f"{own.name} runs as PID {slot.identity.pid}: `twinwatch stop {own.name}` first")


def _refuse_guarded(state: StateFile, old: PairSpec, own: WorkerSpec, identity: Identity) -> None:
    """One process in two slots would be ended for one and started again for the other."""
    indices = (*(role.slot for role in WATCHER_ROLES), *(index for index, _, _ in old.places))
    for slot in map(state.slot, indices):
        if slot.identity == identity and slot.phase not in NO_PROCESS and slot.name != own.name:
            raise ControlError(f"process {identity.pid} is guarded already, as {slot.label}")


def _make_heartbeat(paths: Paths, own: WorkerSpec, uid: int) -> None:
    path = paths.heartbeat(own.name, 0)
    if not heartbeat.make(path, uid):
        raise ControlError(f"cannot make {path}: see that its directory is there and has room")


# ---------------------------------------------------------------- under the lock


def _record(state: StateFile, spec: PairSpec, own: WorkerSpec, identity: Identity) -> None:
    index = _place(spec, own.name)
    if index is None:
        raise ControlError(f"{own.name} got no place")
    read = state.read(index)
    slot = read.slot
    if slot.phase not in NO_PROCESS:
        raise ControlError(f"{own.name} was started a moment ago: try again")
    slot = replace(slot, name=own.name, instance=0, desired=Desired.RUN, failures=0)
    slot = replace(slot, exit=replace(slot.exit, generation=slot.generation))
    claim = Claim(slot.generation, spec.generation, Role.GUEST)
    born = fence.born(slot, claim, identity, now_ns=monotonic_ns(), birth_hash=own.birth_hash)
    state.write(index, replace(born, phase=Phase.RUNNING, ready=True), read.version)


def _release(state: StateFile, spec: PairSpec, old: PairSpec, name: str) -> None:
    """Free its place, and not for the older configuration, which would fill it again."""
    index = _place(old, name)
    if index is not None:
        read = state.read(index)
        exit_ = replace(NO_EXIT, generation=read.slot.generation)
        freed = Slot(generation=exit_.generation, config_generation=spec.generation, exit=exit_)
        state.write(index, freed, read.version)


def _await_adoption(state: StateFile, spec: PairSpec, timeout_s: float) -> None:
    def behind() -> list[str]:
        living = access.living_watchers(state)
        return [
            role.label
            for role in WATCHER_ROLES
            if role in living and state.heartbeat(role).config_generation != spec.generation
        ]

    access.await_watchers(state)
    settle.wait_for(
        lambda: not behind(), timeout_s, lambda: f"not taken over in time by {', '.join(behind())}"
    )
