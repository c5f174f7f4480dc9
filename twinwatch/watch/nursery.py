"""A watcher's reserves: gated children, forked ahead of need."""

import errno
from collections.abc import Callable

from twinwatch.core.record import RESERVES_MAX, Reserves
from twinwatch.core.timing import MILLISECOND_NS
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.gate import Child, Gate, Let, Order, fork_gated
from twinwatch.linux.identity import is_dead
from twinwatch.linux.loop import Loop
from twinwatch.watch.pair import Pair
from twinwatch.watch.reserve import BehindGate, Duty

RESERVE = "reserve"
_PAUSE_NS = 100 * MILLISECOND_NS
_CROWD = 8  # forked in a row: after each fork, its parent pays anew for each page that it writes to
_OUT_OF_MEANS = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class Nursery:
    """Keeps `watch.reserve` children behind their gates."""

    def __init__(self, pair: Pair, loop: Loop, own_pidfd: int) -> None:
        self._pair = pair
        self._loop = loop
        self._own_pidfd = own_pidfd
        self._ready: dict[int, Child] = {}
        self._leaving: dict[int, Child] = {}
        self._listed: Reserves | None = None
        self._not_before_ns = 0  # after a fork that failed

    @property
    def is_short(self) -> bool:
        reserves = sum(not child.is_awaited for child in self._ready.values())
        return reserves < self._pair.spec.watch.reserve and monotonic_ns() >= self._not_before_ns

    @property
    def is_empty(self) -> bool:
        return not self._ready and not self._leaving

    def take(self, wanted: int = 1) -> Child | None:
        """A gated child: a reserve, or one forked now. None: this machine can fork no more.

        `wanted`: how many may be taken one after another, with this one.

        Raises:
            BehindGate: in the child.
        """
        if not self._ready:
            self._fork_crowd(min(wanted, _CROWD))
        if not self._ready:
            return None
        _, child = self._ready.popitem()
        self._loop.remove(child.pidfd)
        return child

    def _fork_crowd(self, wanted: int) -> None:
        while len(self._ready) < wanted and (child := self._fork(is_awaited=True)):
            self.give_back(child)

    def give_back(self, child: Child) -> None:
        """A child whose claim was lost waits on."""
        self._ready[child.pidfd] = child
        self._loop.add(child.pidfd, (RESERVE, child.pidfd))

    def refill(self) -> bool:
        """Fork one more, if one is missing; else dismiss what is left of a crowd. False: none was forked."""
        if not self.is_short:
            self._dismiss_crowd()
            return False
        child = self._fork()
        if child is None:
            return False
        self.give_back(child)
        return True

    def _fork(self, *, is_awaited: bool = False) -> Child | None:
        pair, keeps_vigil = self._pair, self._lacks_vigil and not is_awaited
        try:
            born = fork_gated(self._own_pidfd, (pair.notify.fileno(),) if pair.notify else ())
        except OSError as error:
            if error.errno not in _OUT_OF_MEANS:
                raise
            self._not_before_ns = monotonic_ns() + _PAUSE_NS
            self._loop.set_deadline(RESERVE, self._not_before_ns)
            pair.tell("fork-failed", reason=error.strerror, errno=error.errno)
            return None
        if isinstance(born, Gate):
            self._loop.abandon()
            raise BehindGate(born, self._duty(keeps_vigil=keeps_vigil), is_awaited=is_awaited)
        born.keeps_vigil, born.is_awaited = keeps_vigil, is_awaited
        return born

    @property
    def _lacks_vigil(self) -> bool:
        """One that is ready keeps vigil (R13). When it is taken or dead, the next one that is forked does."""
        return not any(child.keeps_vigil for child in self._ready.values())

    def _duty(self, *, keeps_vigil: bool) -> Duty:
        pair, seat = self._pair, self._pair.seat
        return Duty(pair.paths, pair.spec, seat.role, seat.generation, pair.notify, keeps_vigil)

    def renew(self) -> None:
        """Reserves that carry the configuration in force take the place of those that do not.

        The new ones are there before the old ones leave: both watchers do this at the same moment, and
        whoever kills both of them then must not find the pair without a reserve (R22).

        Raises:
            BehindGate: in a child.
        """
        old, self._ready = self._ready, {}
        while self.refill():  # R22
            continue
        self._dismiss(old)

    def retire(self) -> None:
        """Tell all reserves to leave; `died` collects them."""
        old, self._ready = self._ready, {}
        self._dismiss(old)

    def close(self) -> None:
        """Tell all to leave, and look after none of them any more."""
        self.retire()
        for pidfd, child in self._leaving.items():
            self._loop.remove(pidfd)
            child.close()
        self._leaving.clear()

    def _dismiss_crowd(self) -> None:
        crowd = {pidfd: child for pidfd, child in self._ready.items() if child.is_awaited}
        if crowd:
            self._ready = {pidfd: child for pidfd, child in self._ready.items() if pidfd not in crowd}
            self._dismiss(crowd)

    def _dismiss(self, old: dict[int, Child]) -> None:
        for pidfd, child in old.items():
            child.let_through(Order(Let.LEAVE))
            self._leaving[pidfd] = child

    def died(self, pidfd: int, reap: Callable[[int], None]) -> None:
        """A reserve's pidfd was readable; its number may be another's by now (R21)."""
        if not is_dead(pidfd):  # R21
            return
        child = self._ready.pop(pidfd, None) or self._leaving.pop(pidfd, None)
        if child is not None:
            self._loop.remove(pidfd)
            reap(pidfd)
            child.close()

    def publish(self, *, anew: bool = False) -> None:
        """List the reserves in the state file, for `status` and `down`. `anew`: also if that was damaged."""
        identities = tuple(c.identity for c in (*self._ready.values(), *self._leaving.values()))
        reserves = Reserves(self._pair.seat.generation, identities[:RESERVES_MAX])
        if reserves != self._listed or (anew and reserves != self._pair.state.reserves(self._pair.seat.role)):
            self._pair.state.list_reserves(self._pair.seat.role, reserves)
            self._listed = reserves
