"""How an anchor ends: in order, by force, or alone.

========  ===============================================================================================
step      what it is about
========  ===============================================================================================
STOPPING  `down --temporary` is at work; nothing is given birth to any more
FORCING   it did not end in time, or was told to end once more: KILL
OVER      the exit code is known
========  ===============================================================================================

What outlasts this process is the wish that the pair is to run: the next start of the anchor is a start.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from twinwatch.anchor.errand import Errand, twinwatch
from twinwatch.anchor.third import Third
from twinwatch.core.record import Damage
from twinwatch.core.timing import SECOND_NS
from twinwatch.linux.birth import Fenced
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import Loop
from twinwatch.linux.statefile import StateMoved

FAILED = 1
ENDING = "ending"  # deadline of the present step
_FORCE_NS = SECOND_NS // 10
_FORCE_TRIES = 50


class Step(Enum):
    STOPPING = "stopping"
    FORCING = "forcing"
    OVER = "over"


class Ending:
    """Made at the first signal that tells the anchor to end. `third`: None where no pair is guarded."""

    def __init__(self, pair: str, third: Third | None, loop: Loop, say: Callable[[str], None]) -> None:
        self._pair = pair
        self._third = third
        self._loop = loop
        self._say = say
        self._errand: Errand | None = None
        self._tries = 0
        self.step = Step.STOPPING
        self.code = 0

    def begin(self) -> None:
        """In order: `down` ends the pair for now."""
        if self._third is None:
            self._be_over("told to end")
            return
        limit_ns = self._third.pair.spec.anchor.stop_timeout_ns
        self._say(f"ending the pair within {limit_ns / SECOND_NS:g} s")
        self._loop.set_deadline(ENDING, monotonic_ns() + limit_ns)
        try:
            self._errand = Errand(twinwatch("-p", self._pair, "down", "--temporary"))
        except OSError as error:  # any errno: said
            self._force(f"`down` cannot be run: {error.strerror}")

    def leave_alone(self, reason: str) -> None:
        """Nothing of the pair is touched; the anchor's slot says that it is not missed."""
        self._be_over(reason)

    def told_again(self) -> None:
        if self.step is not Step.OVER:
            self._force("told to end once more")

    def is_errand(self, pid: int) -> bool:
        return self._errand is not None and self._errand.pid == pid

    def due(self) -> None:
        """The time of the present step is over."""
        match self.step:
            case Step.STOPPING:
                self._force("it has not ended in time")
            case Step.FORCING:
                self._force("again")
            case Step.OVER:
                pass

    def returned(self, status: int) -> None:
        """The errand has ended."""
        self._errand = None
        if self.step is Step.STOPPING:
            if os.waitstatus_to_exitcode(status) == 0:
                self._be_over("the pair is down")
            else:
                self._force("`down` failed")

    # ------------------------------------------------------------ steps

    def _force(self, reason: str) -> None:
        third = self._third
        if self.step is not Step.FORCING:
            self._say(f"{reason}: KILL")
            self._give_up_errand()
            self.step = Step.FORCING
        if third is None:
            self._be_over("nothing is left")
            return
        try:
            third.stop()
        except (Damage, LockWedged, StateMoved) as trouble:
            self._say(f"cannot write that the pair is to be down: {trouble}")
        alive = third.end_everything()
        self._tries += 1
        if not alive:
            self._be_over("all of it was killed")
        elif self._tries > _FORCE_TRIES:
            self.code = FAILED
            self._be_over(f"does not die: {', '.join(alive)}")
        else:
            self._loop.set_deadline(ENDING, monotonic_ns() + _FORCE_NS)

    def _give_up_errand(self) -> None:
        """Its end is of no interest any more; the reaper collects it."""
        errand, self._errand = self._errand, None
        if errand is not None:
            errand.kill()

    def _be_over(self, reason: str) -> None:
        if self._third is not None:
            with suppress(Fenced, StateMoved, Damage, LockWedged):
                self._third.leave()
        self._say(reason)
        self.step = Step.OVER
