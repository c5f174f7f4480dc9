"""The anchor: a foreground process that an init respawns, and that makes a pair whole when nobody else can.

One loop: deaths of the twins, signals of init, ends of orphans, and the ends of *errands*: what init asks for
by a signal is done by the command that a person would type, run as a child.

=============  ==========================================================================================
stage          what it is about
=============  ==========================================================================================
IDLE           the pair was told to be down, or nothing of it is there: wait to be woken by `up`
GUARDING       the pair is to run
ASKING         told to end, and to keep the workers at a restart: systemd is asked whether this is one
STOPPING       `down` is at work: nothing is given birth to any more
FORCING        it did not end in time: KILL
=============  ==========================================================================================

SIGTERM and SIGINT: STOPPING, then exit 0; once more: FORCING. SIGHUP: `reload`. SIGQUIT: leave, and the pair
goes on. SIGUSR1: look. As PID 1 of a namespace it gets no signal that it does not handle.
"""

import os
import signal
import sys
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

from twinwatch.anchor.device import Device
from twinwatch.anchor.errand import Errand
from twinwatch.anchor.herald import Herald
from twinwatch.anchor.reaper import collect
from twinwatch.anchor.third import Third
from twinwatch.core.record import Damage
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import Desired, Role
from twinwatch.linux import sole
from twinwatch.linux.birth import Fenced
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.daemon import become_subreaper
from twinwatch.linux.gate import reset_signals, set_comm
from twinwatch.linux.loop import Loop
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile
from twinwatch.watch.twin import TWIN

FAILED = 1
_IDLE_NS = 2 * SECOND_NS  # a lost wake-up costs no more
_FORCE_NS = SECOND_NS // 10
_FORCE_TRIES = 50
_TICK = "tick"
_ERRAND = "errand"
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)
_UNIT_ENDING = ".service"


class Stage(Enum):
    IDLE = "idle"
    GUARDING = "guarding"
    ASKING = "asking"
    STOPPING = "stopping"
    FORCING = "forcing"


@dataclass(frozen=True, slots=True)
class Charge:
    """What an anchor was started with. `device`: path, empty: none. `ready_fd`: -1: none."""

    paths: Paths
    config: str
    device: str = ""
    ready_fd: int = -1


class Anchor:
    """One process, from its start to its leaving."""

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
        self._stage = Stage.IDLE
        self._third: Third | None = None
        self._errand: Errand | None = None
        self._force_tries = 0
        self._trouble = ""
        self._code: int | None = None

    def _hear(self, number: int, _frame: object) -> None:
        self._heard.add(number)

    def run(self) -> int:
        """Exit code.

        Raises:
            BehindGate: in a child.
        """
        set_comm("twinwatch-anc")
        try:
            lock = sole.hold(self._charge.paths)
        except sole.Taken as taken:
            self._say(f"another anchor of pair {self._charge.paths.pair} lives ({taken})")
            return FAILED
        become_subreaper()
        self._take_up()  # before any signal is obeyed: what lives has to end with this anchor
        self._tick(monotonic_ns())
        while self._code is None:
            self._round()
        os.close(lock)
        return self._code

    def _round(self) -> None:
        events = self._loop.wait()
        heard, self._heard = self._heard, set()
        for kind, number in events:
            if kind == TWIN and self._third is not None:
                self._third.died(Role(number + 1))
        for due in self._loop.take_due(monotonic_ns()):
            self._passed(due)
        if signal.SIGCHLD in heard:
            self._collect()
        self._obey(heard)
        if self._code is None and self._stage in (Stage.IDLE, Stage.GUARDING):
            self._guard()

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

    def _take_up(self) -> bool:
        try:
            if not self._is_there():
                return False
            self._third = Third(self._charge.paths, self._loop, self._own_pidfd, self._report)
        except Fenced:  # it has just gone down
            return False
        self._stage = Stage.GUARDING
        return True

    def _is_there(self) -> bool:
        """Whether there is a pair that is to run."""
        try:
            state = StateFile(self._charge.paths.runtime, SECOND_NS)
        except FileNotFoundError:
            return False
        try:
            header = state.header()
            return header.desired is Desired.RUN
        except Damage:
            return False
        finally:
            state.close()

    def _let_go(self) -> None:
        if self._third is not None:
            self._third.close()
            self._third = None
        self._stage = Stage.IDLE
        if self._device is not None:
            self._device.disarm()
        self._tick(monotonic_ns())

    def _tick(self, now_ns: int) -> None:
        third = self._third
        try:
            if third is not None:
                third.tick(now_ns)
        except Fenced:
            if self._stage is Stage.GUARDING:
                self._let_go()
                return
        except Damage as damage:
            self._say(f"damaged: {damage.what}")
        self._tell_init()
        self._loop.set_deadline(_TICK, now_ns + self._period_ns())

    def _period_ns(self) -> int:
        usual = self._third.pair.spec.watch.interval_ns if self._third is not None else _IDLE_NS
        asked = self._herald.period_ns()
        return min(usual, asked) if asked else usual

    def _tell_init(self) -> None:
        herald, third = self._herald, self._third
        if self._stage in (Stage.STOPPING, Stage.FORCING, Stage.ASKING):
            herald.extend(4 * self._period_ns())
            herald.fresh()
            return
        if third is None or not third.is_wanted():
            herald.status("down")
            herald.ready()
            herald.fresh()
            return
        unsettled = third.unsettled()
        herald.status(f"waiting for {', '.join(unsettled[:5])}" if unsettled else "up")
        if not unsettled:
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
        if signal.SIGQUIT in heard:
            self._leave("told to leave: watchers and workers go on")
        elif signal.SIGTERM in heard or signal.SIGINT in heard:
            self._end()
        elif signal.SIGHUP in heard and self._stage is Stage.GUARDING and self._errand is None:
            self._herald.reloading(monotonic_ns())
            self._run("reload", "-c", self._charge.config, "reload")

    def _end(self) -> None:
        """First: in order. Once more: by force."""
        if self._stage in (Stage.STOPPING, Stage.FORCING):
            self._force("told to end once more")
            return
        if self._stage is Stage.ASKING:
            self._stop()
        elif self._third is not None and self._third.pair.spec.anchor.keep_workers and _unit():
            self._stage = Stage.ASKING
            self._ask()
        elif self._third is not None:
            self._stop()
        else:
            self._leave("told to end")

    def _ask(self) -> None:
        scope = ["--user"] if os.geteuid() != 0 else []
        argv = ["systemctl", *scope, "list-jobs", "--no-legend", "--plain", _unit()]
        try:
            self._errand = Errand("list-jobs", argv, asked=True)
        except OSError as error:
            self._say(f"cannot ask systemd whether this is a restart: {error.strerror}")
            self._stop()
            return
        self._loop.set_deadline(_ERRAND, monotonic_ns() + SECOND_NS)

    def _stop(self) -> None:
        """Have `down` end the pair for now: what outlasts this process is the wish that it is to run."""
        self._stage = Stage.STOPPING
        self._herald.stopping()
        self._herald.status("ending the pair")
        limit_ns = self._third.pair.spec.anchor.stop_timeout_ns if self._third is not None else SECOND_NS
        self._say(f"ending the pair within {limit_ns // SECOND_NS} s")
        self._run("down", "-p", self._charge.paths.pair, "down", "--temporary")
        self._loop.set_deadline(_ERRAND, monotonic_ns() + limit_ns)
        self._tick(monotonic_ns())

    def _force(self, reason: str) -> None:
        if self._stage is not Stage.FORCING:
            self._say(f"{reason}: KILL")
            self._stage = Stage.FORCING
            if self._errand is not None:
                self._errand.kill()
        if self._third is None:
            self._leave("nothing is left")
            return
        try:
            self._third.stop()
        except (Damage, OSError) as error:  # any errno: what is recorded is ended all the same
            self._say(f"cannot write that the pair is to be down: {error}")
        alive = self._third.end_everything()
        self._force_tries += 1
        if not alive:
            self._leave("all of it was killed")
        elif self._force_tries > _FORCE_TRIES:
            self._leave(f"does not die: {', '.join(alive)}", FAILED)
        else:
            self._loop.set_deadline(_ERRAND, monotonic_ns() + _FORCE_NS)

    def _leave(self, reason: str, code: int = 0) -> None:
        self._say(reason)
        if self._third is not None:
            if self._stage is not Stage.FORCING:
                self._third.leave()
            self._third.close()
            self._third = None
        if self._device is not None:
            self._device.disarm()
        self._code = code

    # ------------------------------------------------------------ errands

    def _run(self, name: str, *words: str) -> None:
        argv = [sys.executable, "-P", "-m", "twinwatch", *words]
        try:
            self._errand = Errand(name, argv)
        except OSError as error:
            self._say(f"cannot run `{name}`: {error.strerror}")
            if self._stage is Stage.STOPPING:
                self._force("`down` cannot be run")

    def _passed(self, due: Hashable) -> None:
        if due == _TICK:
            self._tick(monotonic_ns())
        elif due == _ERRAND:
            match self._stage:
                case Stage.ASKING:
                    self._say("systemd does not say whether this is a restart")
                    self._stop()
                case Stage.STOPPING:
                    self._force("it has not ended in time")
                case Stage.FORCING:
                    self._force("again")
                case Stage.IDLE | Stage.GUARDING:
                    pass

    def _collect(self) -> None:
        third = self._third
        named: dict[int, int] | None = None

        def tell(pid: int, status: int) -> None:
            nonlocal named
            if self._errand is not None and pid == self._errand.pid:
                self._returned(self._errand, status)
                return
            if third is None:
                return
            for twin in third.twins.values():
                twin.died()
            named = third.named() if named is None else named
            if pid in named:
                third.record(named[pid], pid, status)

        if collect(tell):
            self._heard.add(signal.SIGCHLD)
            self._loop.set_deadline(_TICK, monotonic_ns())

    def _returned(self, errand: Errand, status: int) -> None:
        self._errand = None
        ended = os.waitstatus_to_exitcode(status)
        if errand.name == "reload":
            self._say("reloaded" if ended == 0 else "`reload` failed: the old configuration stays")
            self._herald.reloaded()
        elif self._stage is Stage.ASKING:
            if " restart " in errand.take_output():
                self._leave("its init restarts it: watchers and workers go on")
            else:
                self._stop()
        elif self._stage is Stage.STOPPING:
            if ended == 0:
                self._leave("the pair is down")
            else:
                self._force("`down` failed")

    # ------------------------------------------------------------ words

    def _say(self, text: str) -> None:
        _write(f"twinwatch anchor of {self._charge.paths.pair}: {text}\n")

    def _report(self, event: str, details: dict[str, object]) -> None:
        if event == "phase":
            who = f"{details['slot']}.{details['generation']}"
            self._say(f"{who} {details['old']} -> {details['new']}: {details['reason']}")
        else:
            words = [f"{key}={value}" for key, value in details.items() if value not in (None, "")]
            self._say(" ".join((event, *words)))


def _unit() -> str:
    """The systemd unit that this process is in; empty: none that could be asked for."""
    if "INVOCATION_ID" not in os.environ:
        return ""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        parts = [part for line in file for part in line.strip().split("/")]
    return next((part for part in reversed(parts) if part.endswith(_UNIT_ENDING)), "")


def _write(text: str) -> None:
    try:
        os.write(2, text.encode("utf-8", "replace"))
    except OSError:  # any errno: nobody reads; guarding goes on
        return
