"""The processes of `after_exit` hooks: begun once for each generation, waited for by every guard.

A hook is recorded in the slot of the generation that is over, in the place of its dead process, before its
gate opens. So an heir finds it there and waits for it; one that was never let through counts as done: a
hook runs at most once (R26).
"""

import os
from dataclasses import replace

from twinwatch.core import exits
from twinwatch.core.record import Slot
from twinwatch.linux import process
from twinwatch.linux.birth import compare_and_write
from twinwatch.linux.gate import Child, Let, Order
from twinwatch.linux.identity import IdentityUnknown, ProcessGone, is_dead, open_process
from twinwatch.linux.loop import Loop
from twinwatch.linux.statefile import Read
from twinwatch.watch.pair import Pair, describe_exit
from twinwatch.watch.roster import Guarded

HOOK = "hook"


class Hooks:
    """Holds at most one pidfd for each slot."""

    def __init__(self, pair: Pair, loop: Loop) -> None:
        self._pair = pair
        self._loop = loop

    def begin(self, guarded: Guarded, slot: Slot, child: Child) -> Read | None:
        """Let a gated child become the hook. None: the slot has moved on; the child is as before.

        Raises:
            LockWedged, StateMoved.
        """
        begun = replace(slot, identity=child.identity)
        read = compare_and_write(self._pair.state, self._pair.seat, guarded.index, guarded.read, begun)
        if read is None:
            return None
        self.drop(guarded)
        config = self._pair.seat.config_generation
        child.let_through(Order(Let.HOOK, guarded.index, begun.generation, config))
        guarded.hook_pidfd, child.pidfd = child.pidfd, -1
        child.close()
        self._loop.add(guarded.hook_pidfd, (HOOK, guarded.index))
        return read

    def meet(self, guarded: Guarded) -> None:
        """Somebody else let it begin: wait for its end as well."""
        try:
            guarded.hook_pidfd = open_process(guarded.slot.identity)
        except (ProcessGone, IdentityUnknown):
            guarded.hook_ended = True
        else:
            self._loop.add(guarded.hook_pidfd, (HOOK, guarded.index))

    def ended(self, guarded: Guarded) -> bool:
        """Whether it has; the event may be of an earlier one (R21)."""
        if guarded.hook_pidfd < 0 or not is_dead(guarded.hook_pidfd):  # R21
            return False
        status = process.child_status(guarded.hook_pidfd, reap=True)
        if status:
            end = describe_exit(exits.decode(status, (0,), guarded.slot.generation, 0))
            self._pair.tell("hook-failed", slot=guarded.slot.label, hook="after_exit", exit=end)
        self.drop(guarded)
        guarded.hook_ended = True
        return True

    def drop(self, guarded: Guarded) -> None:
        """Wait for it no more."""
        if guarded.hook_pidfd >= 0:
            process.reap(guarded.hook_pidfd)
            self._loop.remove(guarded.hook_pidfd)
            os.close(guarded.hook_pidfd)
            guarded.hook_pidfd = -1
