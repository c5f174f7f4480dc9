"""Wishes about single workers: written into their slots, carried out by the watchers.

`stop` is acknowledged only when the slot's process is dead (P8): nothing can be born into a slot whose
desired state says stop, so the process that it names is the last one.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

from twinwatch.config import snapshot
from twinwatch.control import access, settle
from twinwatch.control.errors import NOT_INSTALLED, NOT_RUNNING, ControlError
from twinwatch.control.target import Target
from twinwatch.core.kinship import has_given_up
from twinwatch.core.record import Damage, Slot
from twinwatch.core.values import FIRST_WORKER_SLOT, Desired, Ending, ExitKind, Phase
from twinwatch.linux import process, wishes
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, open_process
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile

ALL = "all"
INTERNAL = "_"  # internal workers have names that begin so; `all` means the user's
_NO_PROCESS = frozenset({Phase.STOPPED, Phase.FREE, Phase.FATAL, Phase.BACKOFF})


class How(TypedDict, total=False):
    """`wait` for the wish to come true, for at most `timeout_s`; `progress` gets lines to show."""

    wait: bool
    timeout_s: float
    progress: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Wish:
    """`to` makes the slot that is wished; `is_met` tells when it has come true."""

    to: Callable[[Slot], Slot]
    is_met: Callable[[Slot, Slot], bool]
    done: str
    revives: bool = False  # what gave up with it gets a fresh chance as well


def start(target: Target, names: list[str], **how: Unpack[How]) -> list[str]:
    """Have workers run; one that gave up gets a fresh chance, and all that gave up with its group."""
    return _carry_out(target, names, _Wish(_to_start, _is_running, "runs", revives=True), **how)


def stop(target: Target, names: list[str], **how: Unpack[How]) -> list[str]:
    """Have workers end and stay so, across reboots."""
    wish = _Wish(lambda slot: replace(slot, desired=Desired.STOP), _is_stopped, "is stopped")
    return _carry_out(target, names, wish, **how)


def restart(target: Target, names: list[str], **how: Unpack[How]) -> list[str]:
    """End the present generation, whatever the restart policy says, and start the next."""
    return _carry_out(target, names, _Wish(_to_restart, _is_running, "runs again", revives=True), **how)


def pause(target: Target, names: list[str], **how: Unpack[How]) -> list[str]:
    """Stop guarding without stopping: a paused worker that dies stays dead until it is resumed."""
    wish = _Wish(lambda slot: replace(slot, desired=Desired.PAUSE), _is_paused, "is not guarded")
    return _carry_out(target, names, wish, **how)


def resume(target: Target, names: list[str], **how: Unpack[How]) -> list[str]:
    wish = _Wish(lambda slot: replace(slot, desired=Desired.RUN), _is_guarded, "is guarded")
    return _carry_out(target, names, wish, **how)


def _to_start(slot: Slot) -> Slot:
    wanted = replace(slot, desired=Desired.RUN)
    if slot.phase is Phase.FATAL or (slot.phase is Phase.STOPPED and slot.exit.kind is not ExitKind.NONE):
        return _again(wanted)
    if slot.phase is Phase.BACKOFF:
        return replace(wanted, until_ns=0)
    return wanted


def _to_restart(slot: Slot) -> Slot:
    if slot.phase in _NO_PROCESS:
        return _to_start(replace(slot, end_generation=slot.generation))
    return replace(slot, desired=Desired.RUN, end_generation=slot.generation)


def _again(slot: Slot) -> Slot:
    """What it left is looked at once more, then it is born, with a clean record of failures."""
    return replace(
        slot,
        phase=Phase.STOPPING if slot.generation else slot.phase,
        end_generation=slot.generation,
        ending=Ending.RESTART,
        failures=0,
        births_ns=(),
    )


def _is_running(before: Slot, now: Slot) -> bool:
    if now.generation <= now.end_generation:
        return False
    if now.phase in (Phase.RUNNING, Phase.FATAL):
        return True
    return now.phase is Phase.STOPPED and now.generation > before.generation


def _is_stopped(_before: Slot, now: Slot) -> bool:
    """One that gave up is not: what escaped of it may live, until a watcher has looked and says `stopped`."""
    return now.phase in (Phase.STOPPED, Phase.FREE)


def _is_guarded(_before: Slot, now: Slot) -> bool:
    """Whether one that died unguarded is started again is a matter of its policy."""
    return now.phase is not Phase.PAUSED


def _is_paused(_before: Slot, now: Slot) -> bool:
    return now.phase in (Phase.PAUSED, Phase.STOPPED, Phase.FATAL)


def _carry_out(
    target: Target,
    names: list[str],
    wish: _Wish,
    *,
    wait: bool = True,
    timeout_s: float = 60.0,
    progress: Callable[[str], None] = lambda _text: None,
) -> list[str]:
    with access.opened(target.paths) as state:
        indices = find(state, names)
        if state.header().desired is Desired.STOP:
            raise ControlError(f"pair {target.paths.pair} is going down", NOT_RUNNING)
        if wish.revives:
            indices = revive_groups(target.paths, state, indices)
        before = {index: access.change(state, index, wish.to)[0] for index in indices}
        wishes.keep(target.paths, state)
        living = access.await_watchers(state)
        if not living:
            raise ControlError(
                "written down, but both watchers are dead: `twinwatch up` brings them back", NOT_RUNNING
            )
        if living == 1:
            progress("one watcher is dead; the other one acts")
        if not wait:
            return [f"{slot.label}: told" for slot in before.values()]
        return _wait(state, before, wish, timeout_s)


def _wait(state: StateFile, before: dict[int, Slot], wish: _Wish, timeout_s: float) -> list[str]:
    def unmet() -> list[str]:
        return [before[i].label for i in before if not wish.is_met(before[i], state.slot(i))]

    settle.wait_for(lambda: not unmet(), timeout_s, lambda: f"not in time: {', '.join(unmet())}")
    lines = []
    for index in before:
        slot = state.slot(index)
        gave_up = slot.phase is Phase.FATAL
        lines.append(f"{slot.label}: " + ("gave up: see `twinwatch events`" if gave_up else wish.done))
    return lines


def revive_groups(paths: Paths, state: StateFile, indices: list[int]) -> list[int]:
    """These slots, and those of their groups that gave up with their group.

    None of them counts as given up any more before the first is told to start: or it would end again.
    """
    try:
        spec = snapshot.read(paths.snapshots, state.header().config_generation)
    except snapshot.SnapshotError:
        return indices  # a living watcher puts it back
    names = {name for index, name, _ in spec.places if index in indices}
    kin = {name for group in spec.groups if names & set(group.workers) for name in group.workers}
    found = dict.fromkeys(indices)
    for index, name, _ in spec.places:
        with suppress(Damage):
            if name in kin and has_given_up(state.slot(index)):
                access.change(state, index, _not_given_up)
                found[index] = None
    return list(found)


def _not_given_up(slot: Slot) -> Slot:
    return replace(slot, exit=replace(slot.exit, ending=Ending.RESTART)) if has_given_up(slot) else slot


def find(state: StateFile, names: list[str]) -> list[int]:
    """Slot indices of NAME (all its instances), NAME:INSTANCE, or `all`.

    Raises:
        ControlError: no such worker; it names those that there are.
    """
    known: dict[int, Slot] = {}
    for index in range(FIRST_WORKER_SLOT, state.header().slots):
        try:
            slot = state.slot(index)
        except Damage:
            continue
        if slot.phase is not Phase.FREE:
            known[index] = slot
    if names == [ALL]:
        return [index for index, slot in known.items() if not slot.name.startswith(INTERNAL)]
    found: dict[int, None] = {}
    for name in names:
        matching = [index for index, slot in known.items() if _matches(slot, name)]
        if not matching:
            workers = ", ".join(dict.fromkeys(slot.name for slot in known.values())) or "none"
            raise ControlError(f"no worker {name}: there is {workers}", NOT_INSTALLED)
        found.update(dict.fromkeys(matching))
    return list(found)


def _matches(slot: Slot, name: str) -> bool:
    return name in (slot.name, slot.label, f"{slot.name}:{slot.instance}")


def send_signal(target: Target, names: list[str], number: int, *, group: bool) -> list[str]:
    """Send a signal to workers whose identity was checked, or to the groups that they lead."""
    with access.opened(target.paths) as state:
        return [_send(state.slot(index), number, group=group) for index in find(state, names)]


def _send(slot: Slot, number: int, *, group: bool) -> str:
    try:
        pidfd = open_process(slot.identity)
    except ProcessGone:
        raise ControlError(f"{slot.label} does not run", NOT_RUNNING) from None
    except IdentityUnknown:
        raise ControlError(f"{slot.label}: cannot tell whether PID {slot.identity.pid} is still it") from None
    try:
        sent = process.send_group(pidfd, number) if group else process.send(pidfd, number)
    finally:
        os.close(pidfd)
    if sent is None:
        raise ControlError("this kernel cannot signal a group safely (Linux 6.9 can): leave out --group")
    if not sent:
        raise ControlError(f"{slot.label} does not run", NOT_RUNNING)
    return f"{slot.label}: signal {number} sent to " + ("its group" if group else f"PID {slot.identity.pid}")
