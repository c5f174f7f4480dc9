"""`up`: from whatever is there to a whole pair. Doing it twice changes nothing."""

import errno
import fcntl
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from glob import glob

from twinwatch.config import snapshot
from twinwatch.config.load import load
from twinwatch.config.places import assign_places
from twinwatch.config.services import with_services
from twinwatch.control import access, registry, settle
from twinwatch.control.errors import NOT_ALLOWED, ControlError
from twinwatch.control.operator import exclusive
from twinwatch.control.status import status_of
from twinwatch.control.target import pair_name
from twinwatch.core.record import Damage, Header, Slot
from twinwatch.core.spec import PairSpec, WorkerSpec
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Desired, Exit, ExitKind, Phase, Role
from twinwatch.linux import cgroup, machine, process, statefile, wishes
from twinwatch.linux.birth import Newborn, Seat, respawn
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.daemon import detach
from twinwatch.linux.events import EventLog
from twinwatch.linux.gate import Child, Gate, Let, fork_gated
from twinwatch.linux.identity import is_alive
from twinwatch.linux.paths import ROOT_RUNTIME, RUNTIME_VARIABLE, Paths, locate, prepare
from twinwatch.linux.statefile import Read, StateFile
from twinwatch.watch import reserve

_SPARE_SLOTS = 16
_DROPPED = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "COLUMNS", "LINES"})


def up(
    config_path: str, environ: Mapping[str, str], *, timeout_s: float, progress: Callable[[str], None]
) -> dict[str, object]:
    """Start the pair, or what of it is missing; return its status when it is whole.

    Raises:
        ConfigError: the configuration is not valid; nothing was touched.
        ControlError: refused, or not whole in time.
        PathError: a directory cannot be used.
    """
    paths, spec = look_up(config_path, environ)
    with exclusive(paths, progress, timeout_s):
        state = make_ready(paths, spec)
        try:
            if not access.living_watchers(state):
                progress(f"starting pair {spec.name}")
                _begin(paths, state, spec)
            access.wake(state)
            settle.until_whole(paths, state, timeout_s, progress)
        finally:
            state.close()
    return status_of(paths)


def is_wished(config_path: str, environ: Mapping[str, str]) -> bool:
    """Whether nobody has said that the pair is to stay down."""
    return wishes.read(locate(pair_name(config_path, environ), environ)).pair is Desired.RUN


def look_up(config_path: str, environ: Mapping[str, str]) -> tuple[Paths, PairSpec]:
    """Where the pair of a configuration lives, and what it is; nothing is made yet.

    Raises:
        ConfigError, ControlError.
    """
    spec = load(config_path, environ)
    refuse_cgroups(spec, cgroup.parent())
    inherited = tuple((name, value) for name, value in spec.environment if name not in _DROPPED)
    paths = locate(spec.name, environ)
    _refuse_other_owner(paths, environ)
    return paths, replace(spec, environment=inherited)


def make_ready(paths: Paths, spec: PairSpec) -> StateFile:
    """Directories and a state file in which the pair is to run. Call it under the operator lock.

    Raises:
        ControlError, PathError.
    """
    prepare(paths)
    state = _state(paths, spec)
    try:
        access.change_header(state, desired=Desired.RUN)
        wishes.keep(paths, state)
    except BaseException:
        state.close()
        raise
    return state


def _begin(paths: Paths, state: StateFile, spec: PairSpec) -> None:
    """Have a living anchor give birth to the watchers, so that they are its init's; else do it here."""
    if access.wake_anchor(paths) and _is_taken_up(state):
        return
    if any(worker.cgroup for worker in spec.workers):
        cgroup.settle(spec.name)
    _seed(paths, state)


def _is_taken_up(state: StateFile) -> bool:
    """Whether a watcher comes to live; an anchor that stands still is not waited for."""
    deadline_ns = monotonic_ns() + state.lock.timeout_ns + SECOND_NS
    while not access.living_watchers(state) and monotonic_ns() < deadline_ns:
        process.pause(access.POLL_MS)
    return bool(access.living_watchers(state))


def refuse_cgroups(spec: PairSpec, above: str) -> None:
    """Say before anything is started that a limit cannot be had in the cgroup `above`."""
    for worker in spec.workers:
        if worker.cgroup is None:
            continue
        if not above:
            raise ControlError(
                f"worker {worker.name} asks for a cgroup: no cgroup v2 here may be written "
                "(`twinwatch doctor` says more); leave `cgroup` out, or have one delegated"
            )
        lacking = ", ".join(cgroup.missing(worker.cgroup, above))
        if lacking:
            raise ControlError(
                f"worker {worker.name} asks for cgroup limits: {above} has no controller for {lacking}"
            )


def _refuse_other_owner(paths: Paths, environ: Mapping[str, str]) -> None:
    """The same name twice, by root and by a user, would be two pairs of one configuration."""
    others = [f"{base}/{paths.pair}" for base in (ROOT_RUNTIME, *glob("/run/user/*/twinwatch"))]
    others += glob(f"/tmp/twinwatch-*/{paths.pair}")  # noqa: S108 - looked at, not used
    if environ.get(RUNTIME_VARIABLE):
        return
    for other in others:
        with suppress(FileNotFoundError, PermissionError):
            owner = os.stat(other, follow_symlinks=False).st_uid
            if owner != os.geteuid() and os.path.isdir(other):
                raise ControlError(
                    f"pair {paths.pair} belongs to UID {owner} ({other}): choose another name, "
                    f"or have its owner run `twinwatch down -p {paths.pair}`",
                    NOT_ALLOWED,
                )


# ---------------------------------------------------------------- the state file


def _state(paths: Paths, spec: PairSpec) -> StateFile:
    """The pair's state file with `spec` published: the one that is there, or a new one."""
    try:
        state = StateFile(paths.runtime, spec.watch.patience_ns)
    except FileNotFoundError:
        return _create(paths, spec)
    try:
        header = state.header()
    except Damage as damage:
        state.close()
        return _replace_damaged(paths, spec, damage)
    if machine.is_foreign(header):
        state.close()
        os.unlink(state.path)
        return _create(paths, spec)
    try:
        _refuse_other_source(header, spec)
        if header.desired is Desired.STOP:
            return _create_after_down(paths, spec, state)
        _publish_if_changed(paths, spec, state)
    except BaseException:
        state.close()
        raise
    return state


def _refuse_other_source(header: Header, spec: PairSpec) -> None:
    if header.source != spec.source:
        raise ControlError(
            f"pair {spec.name} runs from {header.source}, not from {spec.source}: "
            f"choose another name, or run `twinwatch down -p {spec.name}` first"
        )


def _create_after_down(paths: Paths, spec: PairSpec, state: StateFile) -> StateFile:
    if _anything_alive(state):
        raise ControlError(f"pair {spec.name} is going down: run `twinwatch down -p {spec.name}` to its end")
    wishes.keep(paths, state)
    state.close()
    os.unlink(state.path)
    return _create(paths, spec)


def _anything_alive(state: StateFile) -> bool:
    indices = (*(role.slot for role in WATCHER_ROLES), *range(FIRST_WORKER_SLOT, state.header().slots))
    for index in indices:
        with suppress(Damage):
            slot = state.slot(index)
            if not slot.is_over and is_alive(slot.identity):
                return True
    return False


def _replace_damaged(paths: Paths, spec: PairSpec, damage: Damage) -> StateFile:
    """Nobody who could repair it lives: set it aside. Tokens keep living workers from a double."""
    _refuse_while_alive(paths)
    aside = f"{paths.state}/state.damaged.{monotonic_ns()}"
    with open(f"{paths.runtime}/{statefile.STATE_NAME}", "rb") as file, open(aside, "wb") as copy:
        copy.write(file.read())
    os.unlink(f"{paths.runtime}/{statefile.STATE_NAME}")
    EventLog(paths.events, paths.pair, "up").write("state-replaced", reason=damage.what, kept=aside)
    return _create(paths, spec)


def _refuse_while_alive(paths: Paths) -> None:
    """A living pair without a state file at its path is about to put it back (R12)."""
    fd = os.open(paths.alive_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # R12
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise ControlError(
            f"pair {paths.pair} lives, but its runtime directory {paths.runtime} was lost: "
            f"its watchers rebuild it within their interval; try again"
        ) from None
    finally:
        os.close(fd)


def _create(paths: Paths, spec: PairSpec) -> StateFile:
    _refuse_while_alive(paths)
    previous = _newest_generation(paths)
    spec = complete(spec, paths, registry.read(paths))
    spec = replace(spec, generation=previous + 1, places=assign_places(spec.workers, ()))
    snapshot.write(paths.snapshots, spec)
    kept = wishes.read(paths)
    inode, init = machine.namespace()
    header = Header(
        pair=spec.name,
        pair_id=os.urandom(16),
        boot_id=machine.boot_id(),
        namespace_inode=inode,
        namespace_init=init,
        owner_uid=os.geteuid(),
        source=spec.source,
        source_device=spec.source_device,
        source_inode=spec.source_inode,
        config_generation=spec.generation,
        desired=Desired.RUN,
        slots=_slots(spec),
    )
    slots = {role.slot: Slot(role.label, phase=Phase.STOPPED, desired=Desired.RUN) for role in WATCHER_ROLES}
    for index, name, instance in spec.places:
        slots[index] = Slot(name, instance, Phase.STOPPED, Desired.RUN)
    slots = {index: wishes.restored(slot, kept) for index, slot in slots.items()}
    for role in WATCHER_ROLES:
        slots[role.slot] = replace(slots[role.slot], desired=Desired.RUN)
    if Role.ANCHOR.label in kept.slots:  # its generations only grow, like all others
        slots[Role.ANCHOR.slot] = wishes.restored(Slot(Role.ANCHOR.label, phase=Phase.STOPPED), kept)
    try:
        statefile.create(paths.runtime, header, slots)
    except ValueError as error:
        raise ControlError(str(error)) from None
    return StateFile(paths.runtime, spec.watch.patience_ns)


def complete(spec: PairSpec, paths: Paths, registered: dict[str, WorkerSpec]) -> PairSpec:
    """The configuration with what is not in its file: registered workers, and internal ones."""
    return with_services(registry.with_registered(spec, registered.values()), paths)


def _slots(spec: PairSpec) -> int:
    return max((place[0] for place in spec.places), default=FIRST_WORKER_SLOT) + 1 + _SPARE_SLOTS


def _newest_generation(paths: Paths) -> int:
    numbers = [name.split(".")[1] for name in os.listdir(paths.snapshots) if name.count(".") == 2]
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def _publish_if_changed(paths: Paths, spec: PairSpec, state: StateFile) -> None:
    """A living pair is never changed by `up`; one that lost both watchers takes the new file."""
    old = snapshot.read(paths.snapshots, state.header().config_generation)
    if old.digest == spec.digest:
        return
    if access.living_watchers(state):
        raise ControlError(
            f"{spec.source} was changed since pair {spec.name} took it over: `twinwatch reload` publishes it"
        )
    publish(paths, state, spec, old)


def publish(
    paths: Paths,
    state: StateFile,
    spec: PairSpec,
    old: PairSpec,
    *,
    record: Callable[[PairSpec], None] = lambda _spec: None,
    registered: dict[str, WorkerSpec] | None = None,
) -> PairSpec:
    """Put a configuration in force: snapshot first, then one change of the header.

    `record` is called in the same critical section, for slots that have to change with it. `registered`: by
    name; None: those of the old one.
    """
    spec = complete(spec, paths, registry.of(old) if registered is None else registered)
    spec = replace(spec, generation=old.generation + 1, places=assign_places(spec.workers, old.places))
    snapshot.write(paths.snapshots, spec)
    slots = max(_slots(spec), state.header().slots)
    state.extend(slots)
    with state.lock:
        state.check_not_moved()
        record(spec)
        header = replace(
            state.header(),
            config_generation=spec.generation,
            slots=slots,
            source_device=spec.source_device,
            source_inode=spec.source_inode,
        )
        state.write_header(header)
    return spec


# ---------------------------------------------------------------- the first watcher


def _seed(paths: Paths, state: StateFile) -> None:
    """Give birth to `a` by the one primitive; it will give birth to `b`.

    A reserve that takes over at this moment is as good: the compare lets one of them win.
    """
    role = Role.A
    own = os.pidfd_open(os.getpid())
    child = fork_gated(own)
    if isinstance(child, Gate):
        try:
            _execute_watcher(child, paths)
        finally:
            os._exit(reserve.LEFT_AT_GATE)
    os.close(own)
    read = state.read(role.slot)
    base = read.slot
    if not base.is_over:
        base = replace(base, exit=Exit(ExitKind.UNKNOWN, base.generation, at_ns=monotonic_ns()))
    seat = Seat(Role.GUEST, config_generation=state.header().config_generation)
    born = _bear(state, seat, child, Newborn(Let.ROLE, role.slot, read, base))
    if isinstance(born, str) and child.gate >= 0:
        os.close(child.gate)
        child.gate = -1
    child.close()


def _bear(state: StateFile, seat: Seat, child: Child, newborn: Newborn) -> Read | str:
    if is_alive(newborn.seen.slot.identity) and not newborn.seen.slot.is_over:
        return "it lives"
    return respawn(state, seat, child, newborn)


def _execute_watcher(gate: Gate, paths: Paths) -> None:
    """In the gated child: wait for the order, then become a watcher in a clean interpreter."""
    readable, _ = gate.wait(-1)
    order = gate.take_order() if readable else None
    if order is None or order.let is not Let.ROLE:
        return
    detach(paths.own_log)
    cgroup.join_guards(paths.pair)
    boot = os.path.join(os.path.dirname(os.path.abspath(reserve.__file__)), "boot.py")
    arguments = [
        paths.runtime_base,
        paths.state_base,
        paths.pair,
        Role(order.slot + 1).label,
        str(order.generation),
    ]
    os.execv(sys.executable, [sys.executable, "-I", "-S", boot, *arguments])
