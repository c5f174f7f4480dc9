"""Small scenes of the protocol, each a race of its own, played by the real code in every order."""

from dataclasses import replace

from virtual.explorer import Bound, Scene, Stage
from virtual.process import Process
from virtual.world import FIRST, WEB

from twinwatch.control import access
from twinwatch.core import fence, record
from twinwatch.core.record import Damage
from twinwatch.core.values import NO_EXIT, Desired, ExitKind, Identity, Phase, Role
from twinwatch.linux.birth import Newborn, Seat, respawn
from twinwatch.linux.gate import Child, Gate, Let, fork_gated
from twinwatch.linux.identity import identify_self
from twinwatch.linux.lock import StateLock
from twinwatch.linux.statefile import StateFile
from twinwatch.watch import frame, reserve
from twinwatch.watch.reserve import BehindGate, Duty


def gated(stage: Stage, role: Role) -> Child:
    """A gated child of the calling process, which is taken for a holder of `role`."""
    own = stage.sandbox.os.pidfd_open(stage.sandbox.os.getpid())

    def fork() -> Child:
        born = fork_gated(own)
        if isinstance(born, Gate):
            raise BehindGate(born, Duty(stage.world.paths, stage.world.spec, role, 1))
        return born

    def live() -> BehindGate:
        try:
            fork()
        except BehindGate as behind:
            return behind.with_traceback(None)
        raise AssertionError

    return stage.sandbox._forking(lambda: frame.begin(live), fork)


def hold(stage: Stage, role: Role, identity: Identity) -> None:
    """Record the calling process as the first holder of `role`."""
    state = stage.world.open()
    read = state.read(role.slot)
    slot = replace(read.slot, phase=Phase.RUNNING, generation=1, identity=identity, exit=NO_EXIT)
    with state.lock:
        state.write(role.slot, slot, read.version)
    state.close()


def bear_worker(stage: Stage, state, seat: Seat, child: Child):
    read = state.read(FIRST)
    return respawn(
        state, seat, child, Newborn(Let.WORKER, FIRST, read, read.slot, until_ns=1 << 62, birth_hash=1)
    )


def actor(stage: Stage, role: Role, act, *, children: int = 1) -> Process:
    """A process that holds `role`, has gated children, and then acts, together with all others."""

    def body() -> None:
        hold(stage, role, identify_self())
        born = [gated(stage, role) for _ in range(children)]
        state = stage.world.open()
        read = state.read(FIRST)
        stage.wait_for_start()
        stage.said[role.label] = act(state, Seat(role, 1, 1), born, read)
        stage.kernel.point("done")
        stage.rest()

    return stage.kernel.spawn(body, f"holder-{role.label}", is_pair=True)


def programs(stage: Stage) -> list[Process]:
    return [one for one in stage.kernel.running if one.program is not None]


def holder(stage: Stage, role: Role) -> Process | None:
    return stage.world.process_of(stage.world.slots()[role.slot])


# ---------------------------------------------------------------- one worker, two claimers


def _claims(stage: Stage):
    def act(state, seat, born, read):
        newborn = Newborn(Let.WORKER, FIRST, read, read.slot, until_ns=1 << 62, birth_hash=1)
        return respawn(state, seat, born[0], newborn)

    return act


def _two_claim(stage: Stage) -> None:
    stage.mortal = {actor(stage, role, _claims(stage)) for role in (Role.A, Role.B)}


def _one_runs(stage: Stage) -> str:
    running = programs(stage)
    named = stage.world.process_of(stage.world.slots()[FIRST])
    if len(running) > 1:
        return "two programs run"
    if running and named is not running[0]:
        return "a program runs that no slot names"
    killed = any(one.is_exiting for one in stage.mortal)
    return f"= {len(running)} runs" if running or killed else "nobody runs it"


# ---------------------------------------------------------------- one role, its twin and its reserve


def _role_is_free(stage: Stage) -> None:
    """`a` dies; its reserve and its twin, who has a child for it, both want the role."""

    def wait_and_die(_state, _seat, _born, _read) -> None:
        stage.kernel.leave(stage.kernel.current, 0)

    def claim(state, seat, born, _read):
        stage.kernel.wait(lambda: first.is_zombie, None)
        seen = state.read(Role.A.slot)
        end = replace(NO_EXIT, kind=ExitKind.CLEAN, generation=seen.slot.generation)
        if seen.slot.generation > 1:
            return "somebody was faster"
        return respawn(
            state, seat, born[0], Newborn(Let.ROLE, Role.A.slot, seen, replace(seen.slot, exit=end))
        )

    first = actor(stage, Role.A, wait_and_die)
    stage.mortal = {actor(stage, Role.B, claim)}


def _role_is_held(stage: Stage) -> str:
    held = holder(stage, Role.A)
    slot = stage.world.slots()[Role.A.slot]
    if held is None:
        return f"nobody has the role: {slot.phase.name} {slot.generation}"
    taken = "by its twin's child" if slot.owner is Role.B else "by a reserve"
    return f"= {taken}"


# ---------------------------------------------------------------- record to gate, and the parent is killed


def _born_and_killed(stage: Stage) -> None:
    def act(state, seat, born, read):
        return bear_worker(stage, state, seat, born[0])

    stage.mortal = {actor(stage, Role.A, act)}


def _is_in_one_place(stage: Stage) -> str:
    slots = stage.world.slots()
    worker, role = (stage.world.process_of(slots[index]) for index in (FIRST, Role.A.slot))
    if worker is not None and worker is role:
        return "one process is the worker and the watcher"
    if worker is not None and worker.program is None:
        return "the worker's slot names a process that never runs it"
    return f"= worker {'runs' if worker else 'is free'}, role {'held' if role else 'free'}"


# ---------------------------------------------------------------- a stop while a birth is under way


def _stopped_while_born(stage: Stage) -> None:
    actor(stage, Role.A, lambda state, seat, born, _read: bear_worker(stage, state, seat, born[0]))

    def stop() -> None:
        state = stage.world.open()
        stage.wait_for_start()
        access.change(state, FIRST, lambda slot: replace(slot, desired=Desired.STOP))
        stage.rest()

    stage.kernel.spawn(stop, "stop", is_pair=True)


def _stop_is_kept(stage: Stage) -> str:
    slot = stage.world.slots()[FIRST]
    if slot.desired is not Desired.STOP:
        return "the stop is lost"
    return f"= {len(programs(stage))} began before the stop"


# ---------------------------------------------------------------- two menders and a command


def _two_mend(stage: Stage) -> None:
    known = stage.world.open().read(FIRST)
    at = record.slot_at(FIRST) + record.COPY_AT[known.version & 1]
    stage.seen.node().data[at + 40] ^= 1

    def mend() -> None:
        state = stage.world.open()
        stage.wait_for_start()
        try:
            state.read(FIRST)
        except Damage:
            state.mend(FIRST, known)
        stage.rest()

    def stop() -> None:
        state = stage.world.open()
        stage.wait_for_start()
        try:
            access.change(state, FIRST, lambda slot: replace(slot, desired=Desired.STOP))
        except Damage:
            stage.rest()
        stage.said["stop"] = "done"
        stage.rest()

    for name in ("mender", "second"):
        stage.kernel.spawn(mend, name, is_pair=True)
    stage.kernel.spawn(stop, "stop", is_pair=True)


def _what_was_said_stays(stage: Stage) -> str:
    slot = stage.world.slots().get(FIRST)
    if slot is None:
        return "it is still damaged"
    if stage.said.get("stop") and slot.desired is not Desired.STOP:
        return "an acknowledged stop is undone"
    return f"= stop {stage.said.get('stop', 'refused')}"


# ---------------------------------------------------------------- one counter, three who add to it


def _three_count(stage: Stage) -> None:
    """Each adds 1 to a slot, by compare and write; any of them may be killed, also with the lock held."""

    def count() -> None:
        state = stage.world.open()
        stage.wait_for_start()
        access.change(state, FIRST, lambda slot: replace(slot, restarts=slot.restarts + 1))
        stage.said[stage.kernel.current.comm] = "done"
        stage.rest()

    stage.mortal = {stage.kernel.spawn(count, name, is_pair=True) for name in ("one", "two", "three")}


def _none_is_lost(stage: Stage) -> str:
    counted, done = stage.world.slots()[FIRST].restarts, len(stage.said)
    dead = sum(one.is_exiting for one in stage.mortal)
    if done + dead < len(stage.mortal):
        return "somebody waits for the dead"
    if not done <= counted <= done + dead:
        return f"{done} were done, {counted} are there"
    return f"= {done} done"


SCENES = (
    Scene("two claim one worker", (WEB,), _two_claim, _one_runs, (Bound(2), Bound(0, 1)), Bound(2, 1)),
    Scene(
        "twin and reserve want one role",
        (WEB,),
        _role_is_free,
        _role_is_held,
        (Bound(1), Bound(0, 1)),
        Bound(2, 1),
    ),
    Scene(
        "the parent is killed between record and gate",
        (WEB,),
        _born_and_killed,
        _is_in_one_place,
        (Bound(2, 1),),
        Bound(4, 1),
    ),
    Scene(
        "a stop while a birth is under way", (WEB,), _stopped_while_born, _stop_is_kept, (Bound(2),), Bound(3)
    ),
    Scene("two mend, one stops", (WEB,), _two_mend, _what_was_said_stays, (Bound(2),), Bound(3)),
    Scene("three change one slot", (WEB,), _three_count, _none_is_lost, (Bound(1), Bound(0, 1)), Bound(2, 1)),
)


def _mended_unseen(patch) -> None:
    def mend(this, index, known, *, is_holder=False):
        with this.lock:
            this._commit(record.slot_at(index), record.pack_slot(known.slot), known.version)
        return True

    patch.setattr(StateFile, "mend", mend)


MUTANTS = {
    "two claim one worker": lambda patch: patch.setattr(StateFile, "is_current", lambda *_: True),
    "twin and reserve want one role": lambda patch: patch.setattr(fence, "objection", lambda *_: None),
    "the parent is killed between record and gate": lambda patch: patch.setattr(
        StateFile, "naming", lambda *_: None
    ),
    "a stop while a birth is under way": lambda patch: patch.setattr(reserve, "_is_wanted", lambda *_: True),
    "two mend, one stops": _mended_unseen,
    "three change one slot": lambda patch: patch.setattr(StateLock, "_try", lambda *_: True),
}
