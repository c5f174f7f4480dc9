"""The anchor: a foreground process that an init respawns, and that makes a pair whole when nobody else can.

One loop: deaths of the twins, signals of init, ends of orphans, and ends of *errands*: what init asks for by
a signal is done by the command that a person would type, run as a child.

SIGTERM, SIGINT: end the pair for now (`ending.py`), exit 0. SIGHUP: `reload`. SIGQUIT: leave, and the pair
goes on. SIGUSR1: look. As PID 1 of a namespace it gets no signal that it does not handle.
"""

import os
import signal
from collections.abc import Hashable
from dataclasses import dataclass

from twinwatch.anchor.device import Device
from twinwatch.anchor.ending import ENDING, FAILED, Ending, Step
from twinwatch.anchor.errand import Errand, twinwatch
from twinwatch.anchor.herald import Herald
from twinwatch.anchor.reaper import collect
from twinwatch.anchor.third import Third
from twinwatch.core.record import Damage
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import Desired, Role
from twinwatch.linux import machine, process, sole
from twinwatch.linux.birth import Fenced
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.daemon import become_subreaper
from twinwatch.linux.gate import reset_signals, set_comm
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import Loop
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateMoved, peek
from twinwatch.watch.nursery import RESERVE
from twinwatch.watch.twin import TWIN

COMM_ANCHOR = "twinwatch-anc"
_IDLE_NS = 2 * SECOND_NS  # a lost wake-up costs no more
_NAMED_MAX = 5
_NEWS_NS = SECOND_NS // 2  # between two looks whether what init waits for has come
_TICK = "tick"
_NEWS = "news"
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Charge:
    """What an anchor was started with. `device`: path, empty: none. `ready_fd`: -1: none."""

    paths: Paths
    config: str
    device: str = ""
    ready_fd: int = -1


class Anchor:
    """One process, from its start to its leaving.

    `_third`: the pair that it guards; None: it was told to be down, or nothing of it is there. `_ending`: how
    it ends, once it was told to.
    """

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        self._own_pidfd = os.pidfd_open(os.getpid())
        self._heard: set[int] = set()
        self._loop = Loop()
        reset_signals(unblock=False)
        for number in _HEARD:
            signal.signal(number, self._hear)
        self._loop.catch_wake_signal()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what came while this process was made is heard now
        self._herald = Herald(charge.ready_fd)
        self._device = Device(charge.device) if charge.device else None
        self._trouble = ""
        self._told = ""
        self._third: Third | None = None
        self._reload: Errand | None = None
        self._ending: Ending | None = None

    def _hear(self, number: int, _frame: object) -> None:
        self._heard.add(number)

    def run(self) -> int:
        """Exit code.

        Raises:
            BehindGate: in a child.
        """
        set_comm(COMM_ANCHOR)
        try:
            lock = sole.hold(self._charge.paths)
        except sole.Taken as taken:
            self._say(f"another anchor of pair {self._charge.paths.pair} lives ({taken})")
            return FAILED
        become_subreaper()
        self._take_up()  # before any signal is obeyed: what lives has to end with this anchor
        self._loop.set_deadline(_TICK, monotonic_ns())
        while self._ending is None or self._ending.step is not Step.OVER:
            self._round()
        self._let_go()
        os.close(lock)
        return self._ending.code

    def _round(self) -> None:
        events = self._loop.wait()
        heard, self._heard = self._heard, set()
        for kind, number in events:
            if self._third is None:
                continue
            if kind == TWIN:
                self._third.died(Role(number + 1))
            elif kind == RESERVE:
                self._third.nursery.died(number, process.reap)
        for due in self._loop.take_due(monotonic_ns()):
            self._passed(due)
        if signal.SIGCHLD in heard:
            self._collect()
        self._obey(heard)
        if self._ending is None:
            self._guard()

    def _passed(self, due: Hashable) -> None:
        if due == _TICK:
            self._tick(monotonic_ns())
        elif due == _NEWS:
            self._tell_init()
        elif due == ENDING and self._ending is not None:
            self._ending.due()

    # ------------------------------------------------------------ guarding

    def _guard(self) -> None:
        """Take up a pair that is to run; let go of one that is down.

        Raises:
            BehindGate: in a child.
        """
        if self._third is None and self._take_up():
            self._tick(monotonic_ns())
        try:
            if self._third is not None:
                self._third.work()
        except Fenced:
            self._let_go()
            self._tick(monotonic_ns())

    def _take_up(self) -> bool:
        try:
            if not self._is_there():
                return False
            self._third = Third(self._charge.paths, self._loop, self._own_pidfd, self._report)
        except Fenced:  # it has just gone down
            return False
        return True

    def _is_there(self) -> bool:
        """Whether there is a pair of this configuration that is to run."""
        header = peek(self._charge.paths.runtime)
        if header is None or machine.is_foreign(header):
            return False
        return header.source == self._charge.config and header.desired is Desired.RUN

    def _let_go(self) -> None:
        if self._third is not None:
            self._third.close()
            self._third = None
        if self._device is not None:
            self._device.disarm()

    def _tick(self, now_ns: int) -> None:
        try:
            if self._third is not None:
                self._third.tick(now_ns)
        except Fenced:
            if self._ending is None:  # else it is what `down` is about
                self._let_go()
        except (Damage, LockWedged, StateMoved) as trouble:
            self._say_once(f"cannot look: {trouble}")
        self._tell_init()
        self._loop.set_deadline(_TICK, now_ns + self._period_ns())

    def _period_ns(self) -> int:
        usual = self._third.pair.spec.watch.interval_ns if self._third is not None else _IDLE_NS
        asked = self._herald.period_ns()
        return min(usual, asked) if asked else usual

    def _tell_init(self) -> None:
        herald, third = self._herald, self._third
        if self._ending is not None:
            herald.extend(4 * self._period_ns())
            herald.fresh()
            return
        if third is None or not third.is_wanted():
            herald.status("down")
            herald.ready()
            herald.fresh()
            return
        unsettled = third.unsettled()
        self._loop.set_deadline(_NEWS, monotonic_ns() + _NEWS_NS if unsettled else None)
        herald.status(f"waiting for {', '.join(unsettled[:_NAMED_MAX])}" if unsettled else "up")
        if not unsettled and self._reload is None:
            herald.ready()
        if third.is_fresh():
            herald.fresh()
            self._feed()

    def _feed(self) -> None:
        if self._device is None:
            return
        self._device.feed()
        if self._device.trouble != self._trouble:
            self._trouble = self._device.trouble
            self._say(f"{self._device.path}: {self._trouble or 'fed again'}")

    # ------------------------------------------------------------ what init wants

    def _obey(self, heard: set[int]) -> None:
        if not heard & {signal.SIGQUIT, signal.SIGTERM, signal.SIGINT}:
            if signal.SIGHUP in heard:
                self._begin_reload()
            return
        if self._ending is not None:
            self._ending.told_again()
            return
        self._ending = Ending(self._charge.paths.pair, self._third, self._loop, self._say)
        self._herald.stopping()
        if signal.SIGQUIT in heard:
            self._ending.leave_alone("told to leave: watchers and workers go on")
        else:
            self._ending.begin()
        self._tick(monotonic_ns())

    def _begin_reload(self) -> None:
        if self._ending is not None or self._reload is not None:
            return
        if self._third is None:
            self._say("nothing to reload: the pair is down")
            return
        self._herald.reloading(monotonic_ns())
        try:
            self._reload = Errand(twinwatch("-c", self._charge.config, "reload"))
        except OSError as error:  # any errno: said
            self._say(f"`reload` cannot be run: {error.strerror}")

    def _reloaded(self, status: int) -> None:
        self._reload = None
        failed = os.waitstatus_to_exitcode(status) != 0
        self._say("`reload` failed: the old configuration stays" if failed else "reloaded")
        self._herald.ready()

    # ------------------------------------------------------------ ends of children

    def _collect(self) -> None:
        third = self._third
        named: dict[int, int] | None = None

        def tell(pid: int, status: int) -> None:
            nonlocal named
            if self._reload is not None and pid == self._reload.pid:
                self._reloaded(status)
            elif self._ending is not None and self._ending.is_errand(pid):
                self._ending.returned(status)
            elif third is not None:
                for twin in third.twins.values():
                    twin.died()
                named = third.named() if named is None else named
                if pid in named:
                    third.record(named[pid], pid, status)

        if collect(tell):
            self._heard.add(signal.SIGCHLD)
            self._loop.set_deadline(_TICK, monotonic_ns())

    # ------------------------------------------------------------ words

    def _say(self, text: str) -> None:
        try:
            os.write(2, f"twinwatch anchor of {self._charge.paths.pair}: {text}\n".encode("utf-8", "replace"))
        except OSError:  # any errno: nobody reads; guarding goes on
            return

    def _say_once(self, text: str) -> None:
        """Not at every tick."""
        if text != self._told:
            self._told = text
            self._say(text)

    def _report(self, event: str, details: dict[str, object]) -> None:
        if event == "phase":
            who = f"{details['slot']}.{details['generation']}"
            self._say(f"{who} {details['old']} -> {details['new']}: {details['reason']}")
        else:
            words = [f"{key}={value}" for key, value in details.items() if value not in (None, "")]
            self._say(" ".join((event, *words)))
