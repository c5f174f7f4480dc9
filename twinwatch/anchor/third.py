"""The third guard of one running pair: gives birth to watchers where nobody else does.

It has no workers and no reserves, and nothing that the pair lacks: the same slot, heartbeat, compare and
respawn as a watcher. Its twins are two. While another guard lives it leaves it a grace, so that one death
wakes one claimer; where nobody lives it acts at once.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from twinwatch.core import exits, fence, reconcile
from twinwatch.core.fence import Claim
from twinwatch.core.reconcile import Change, Life, View
from twinwatch.core.record import Damage, Slot
from twinwatch.core.settled import is_settled
from twinwatch.core.timing import MILLISECOND_NS
from twinwatch.core.values import (
    FIRST_WORKER_SLOT,
    NO_PROCESS,
    WATCHER_ROLES,
    Desired,
    Exit,
    ExitKind,
    Phase,
    Role,
    label_of,
)
from twinwatch.linux import cgroup, process, remains
from twinwatch.linux.birth import Fenced, Seat, compare_and_write
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.events import EventLog
from twinwatch.linux.identity import identify_self, is_alive, start_ticks
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import Loop
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import Read, StateMoved
from twinwatch.watch import vitals
from twinwatch.watch.nursery import Nursery
from twinwatch.watch.pair import Pair
from twinwatch.watch.tenure import Tenure, open_pair
from twinwatch.watch.twin import Twin

GRACE_NS = 250 * MILLISECOND_NS  # for whoever else could do it
GRACE = "grace"
_ALL = -(1 << 32)  # a sequence so long ago that all has changed since
_LIVING = frozenset({Phase.RUNNING, Phase.PAUSED, Phase.STOPPING})

Tell = Callable[[str, dict[str, object]], None]


class Third:
    """From the claim of the anchor's slot until the pair is to be down.

    Raises (from every method):
        Fenced: the pair that it guarded is gone; another one may be at its path.
    """

    def __init__(self, paths: Paths, loop: Loop, own_pidfd: int, on_tell: Tell) -> None:
        spec, state = open_pair(paths)
        self.pair = Pair(paths, spec, state, Seat(Role.ANCHOR), EventLog(paths.events, paths.pair, "anchor"))
        self.pair.on_tell = on_tell
        self._loop = loop
        self._wait_ns = 0  # until when another guard may do it
        self._settled_by = 0  # generation of the configuration that the following is about
        self._sequence = _ALL
        self._unsettled: dict[int, str] = {}
        try:
            former = self._claim()
            seat = self.pair.seat
            seat.config_generation = spec.generation
            self.pair.events.by = f"{seat.role.label}.{seat.generation}"
            self._tenure = Tenure(self.pair, self._reopened)
            own = self._tenure.take()
        except BaseException:
            state.close()
            raise
        if former.phase is Phase.RUNNING:  # nobody has seen its death
            self.pair.tell("anchor-lost", slot=Role.ANCHOR.label, generation=former.generation)
        former = former if former.phase is Phase.FREE else replace(former, phase=Phase.STOPPED)
        self.pair.tell_change(former, replace(own, phase=Phase.RUNNING), "its init started it")
        if cgroup.parent() and any(worker.cgroup for worker in spec.workers):
            cgroup.settle(spec.name)
        self.nursery = Nursery(self.pair, loop, own_pidfd)
        self.twins = {role: Twin(self.pair, loop, self.nursery, role) for role in WATCHER_ROLES}
        self._look()

    def _claim(self) -> Slot:
        """Record this process as the anchor, of which there is one at most; what the slot said before."""
        state, seat, me = self.pair.state, self.pair.seat, identify_self()
        while True:
            read = state.read(Role.ANCHOR.slot)
            old = read.slot
            if not old.is_over:
                old = replace(old, exit=Exit(ExitKind.UNKNOWN, old.generation, at_ns=monotonic_ns()))
            base = replace(old, name=Role.ANCHOR.label, desired=Desired.RUN)
            with state.lock:
                header = state.header()
                if header.moved or header.desired is not Desired.RUN:
                    raise Fenced
                if not state.is_current(Role.ANCHOR.slot, read.version):
                    continue
                claim = Claim(old.generation, header.config_generation, Role.NONE)
                slot = fence.born(base, claim, me, now_ns=monotonic_ns(), is_restart=old.generation > 0)
                state.write(Role.ANCHOR.slot, slot, read.version)
            seat.generation = slot.generation
            return read.slot

    def close(self) -> None:
        """Let go of the pair; nothing of it is touched."""
        self.pair.flush()
        for twin in self.twins.values():
            twin.close()
        self.nursery.close()
        self._loop.set_deadline(GRACE, None)
        self.pair.events.close()
        self.pair.state.close()

    def leave(self) -> None:
        """The orderly end of the anchor: its slot says so, and no twin misses it.

        Raises:
            Fenced, StateMoved, LockWedged, Damage.
        """
        self._tenure.leave("it was told to leave")

    # ------------------------------------------------------------ rounds

    def tick(self, now_ns: int) -> None:
        self._tenure.beat(now_ns)
        self._keep_path()
        self._tenure.mend_own_slot()
        self.pair.seat.check(self.pair.state)  # R08
        self._look()
        for twin in self.twins.values():
            twin.observe(now_ns)
        self.pair.events.follow_path()

    def work(self) -> None:
        """Do what is due, if nobody else does it.

        Raises:
            BehindGate: in a child.
        """
        try:
            self._act(monotonic_ns())
        except LockWedged as wedged:
            self.pair.tell("wedged", reason=str(wedged))
        except StateMoved:
            self._keep_path()
        except Damage as damage:
            self._tenure.bear_damage(damage)
        self.pair.flush()

    def _act(self, now_ns: int) -> None:
        if not self.is_wanted():
            return
        hung = [twin for twin in self.twins.values() if twin.is_hung()]
        dead = [twin for twin in self.twins.values() if not twin.is_live()]
        if len(hung) + len(dead) == len(self.twins):
            for twin in hung:  # nobody else can judge
                twin.judge(now_ns)
        if not dead:
            self._wait_ns = 0
            return
        self._wait_ns = self._wait_ns or now_ns + (GRACE_NS if self._has_other_guards(dead) else 0)
        if now_ns < self._wait_ns:
            self._loop.set_deadline(GRACE, self._wait_ns)
            return
        dead[0].work()
        self.nursery.retire()  # a child whose claim was lost: a guard without reserves keeps none
        self._wait_ns = 0  # the newborn gives birth to its twin; else the next round does

    def _has_other_guards(self, dead: list[Twin]) -> bool:
        """Whether somebody is there who will act without this guard: the other twin, or a reserve."""
        if len(dead) < len(self.twins):
            return True
        listed = [self.pair.state.reserves(role).identities for role in WATCHER_ROLES]
        return any(map(is_alive, (identity for identities in listed for identity in identities)))

    def died(self, role: Role) -> None:
        self.twins[role].died()

    def is_wanted(self) -> bool:
        """Whether the pair is to run."""
        return self._tenure.header().desired is Desired.RUN

    def _look(self) -> None:
        header = self._tenure.header()
        outdated = header.config_generation != self.pair.seat.config_generation
        if outdated and self._tenure.adopt(header):  # a claim by the old one would be lost (R09)
            self._tenure.write_own(Phase.RUNNING)
        for twin in self.twins.values():
            twin.look()

    def _keep_path(self) -> None:
        """A pair that is down has no file any more (R29). A lost one is rebuilt by its watchers (R12)."""
        state = self.pair.state
        if state.is_at_path():
            return
        header = state.header()
        if header.desired is Desired.STOP:  # R29
            raise Fenced
        if header.moved or not any(twin.is_live() for twin in self.twins.values()):
            self._tenure.recover_path()

    def _reopened(self) -> None:
        """The journal of another file counts from elsewhere."""
        self._sequence = _ALL

    # ------------------------------------------------------------ what init is told

    def is_fresh(self) -> bool:
        """Both twins live and beat."""
        return all(twin.is_live() and not twin.is_still() for twin in self.twins.values())

    def unsettled(self) -> list[str]:
        """Labels of roles and workers that are not where they stay."""
        found = [role.label for role, twin in self.twins.items() if not twin.is_live()]
        state, spec = self.pair.state, self.pair.spec
        for role in WATCHER_ROLES:
            if state.heartbeat(role).config_generation != spec.generation and role.label not in found:
                found.append(role.label)
        return found + list(self._unsettled_workers().values())

    def _unsettled_workers(self) -> dict[int, str]:
        """Slot to label; only what has changed since the last time is read."""
        state, spec = self.pair.state, self.pair.spec
        if self._settled_by != spec.generation:
            self._settled_by, self._sequence, self._unsettled = spec.generation, _ALL, {}
        self._sequence, changed = state.changes(self._sequence)
        for index, name, instance in spec.places if changed is None or changed else ():
            if changed is None or index in changed:
                self._unsettled.pop(index, None)
                with suppress(Damage):
                    if not is_settled(state.slot(index), name, instance, spec):
                        self._unsettled[index] = label_of(name, instance)
        return self._unsettled

    # ------------------------------------------------------------ orphans

    def named(self) -> dict[int, int]:
        """Workers' processes whose end nobody has recorded: PID to slot."""
        found = {}
        for index in range(FIRST_WORKER_SLOT, self.pair.state.header().slots):
            with suppress(Damage):
                slot = self.pair.state.slot(index)
                if slot.phase in _LIVING and not slot.is_over:
                    found[slot.identity.pid] = index
        return found

    def record(self, index: int, pid: int, status: int) -> None:
        """Write how an orphan ended, before it is collected: afterwards nobody could tell (R15).

        A watcher that is faster has written the same.
        """
        pair = self.pair
        read = pair.state.read(index)
        slot = read.slot
        if slot.identity.pid != pid or slot.is_over or slot.phase in NO_PROCESS:
            return
        if slot.identity.start_ticks != start_ticks(pid):
            return
        change = self._end(read, status)
        if isinstance(change, Change) and compare_and_write(pair.state, pair.seat, index, read, change.slot):
            pair.tell_change(slot, change.slot, change.reason)

    def _end(self, read: Read, status: int) -> reconcile.Action:
        slot, pair, now_ns = read.slot, self.pair, monotonic_ns()
        spec = pair.spec.worker_named(slot.name)
        success = spec.restart.success_codes if spec else (0,)
        view = View(
            slot,
            spec,
            pair.state.header().desired,
            now_ns,
            life=Life.DEAD,
            instance=slot.instance,
            end=exits.decode(status, success, slot.generation, now_ns),
            signed_off=vitals.has_signed_off(pair.paths.heartbeat(slot.name, slot.instance)),
        )
        return reconcile.decide(view)

    # ------------------------------------------------------------ the end by force

    def end_everything(self) -> list[str]:
        """KILL all that the pair has; labels of what still lives. To be repeated until nothing does."""
        alive = []
        for slot in self._recorded():
            if slot.identity and not slot.is_over and is_alive(slot.identity):
                process.end(slot.identity)
                alive.append(slot.label)
        for _, name, instance in self.pair.spec.places:
            remains.end_if_held(self.pair.paths.token(name, instance))  # what the worker has started, too
        for role in WATCHER_ROLES:
            for identity in self.pair.state.reserves(role).identities:
                if is_alive(identity):
                    process.end(identity)
                    alive.append(f"a reserve of {role.label}")
        return alive

    def _recorded(self) -> Iterator[Slot]:
        indices = (
            *(role.slot for role in WATCHER_ROLES),
            *range(FIRST_WORKER_SLOT, self.pair.state.header().slots),
        )
        for index in indices:
            with suppress(Damage):
                yield self.pair.state.slot(index)

    def stop(self) -> None:
        """The pair is to be down from now on; the wish that outlasts a reboot stays as it is."""
        state = self.pair.state
        with state.lock:
            state.check_not_moved()
            state.write_header(replace(state.header(), desired=Desired.STOP))
