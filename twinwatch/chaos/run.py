"""One run: strike by plan, wait until the pair is whole again, say what broke."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from twinwatch.chaos import menu, recovery, result
from twinwatch.chaos.fault import Blow, Missed, Strike
from twinwatch.chaos.judge import Judge
from twinwatch.chaos.keeper import ASKED_TO_END, Keeper
from twinwatch.chaos.needs import Allowed
from twinwatch.chaos.plan import plan
from twinwatch.chaos.reader import Look, Lost, Reader
from twinwatch.chaos.scene import CALM_S, LOOK_S, Scene
from twinwatch.chaos.throwaway import ThrowAway
from twinwatch.config import snapshot
from twinwatch.control.errors import USAGE, ControlError
from twinwatch.core.record import Damage
from twinwatch.core.values import Desired
from twinwatch.linux.paths import Paths

EVIDENCE_BYTES = 8000  # of each log, where a promise broke
FIRST_SCAN_S = 0.1  # a quick recovery is not slowed down by being looked at
SCAN_S = 0.02  # between two looks for guards
SCANS = 2
_HANG = 3  # of watch.timeout: until a reserve replaces its stopped parent; a user's may be long


class Interrupted(BaseException):
    """Asked to end."""


@dataclass(frozen=True, slots=True)
class Options:
    """Durations in seconds. `strikes`: at most so many.

    `faults` by name; those that are `named` too must be available, the others are left out. `command`
    repeats the run. `workers`, `revive` and `allow_clock` allow what is not done unasked.
    """

    seed: int
    faults: tuple[str, ...]
    named: frozenset[str] = frozenset()
    command: str = ""
    duration_s: float = 30.0
    strikes: int | None = None
    pause_s: float = 0.4
    gap_s: tuple[float, float] = (0.0, 0.010)
    patience_s: float = 10.0
    workers: bool = False
    revive: bool = False
    allow_clock: bool = False


Say = Callable[[str], None]


def against(paths: Paths, options: Options, say: Say) -> dict[str, object]:
    """A run against a living pair; the result document.

    Raises:
        ControlError: nothing can be tested; it says why.
    """
    with heeding_signals(), _kept() as keeper:
        return _storm(paths, options, keeper, None, say)


def throw_away(options: Options, say: Say, own: ThrowAway | None = None) -> dict[str, object]:
    """A run against a pair that is made for it, and of which nothing is left; the result document.

    This process is in a mount namespace of its own afterwards, where it may make one.

    Raises:
        ControlError: nothing can be tested; it says why.
    """
    with heeding_signals():
        own = own or ThrowAway()
        with _kept() as keeper:
            try:
                own.start(keeper)
                return _storm(own.paths, options, keeper, own, say)
            finally:
                ignore_signals()
                own.end()


@contextlib.contextmanager
def _kept() -> Iterator[Keeper]:
    keeper = Keeper()
    try:
        yield keeper
    finally:
        ignore_signals()
        keeper.close()


@contextlib.contextmanager
def heeding_signals() -> Iterator[None]:
    """The first of them ends the run; what comes later must not disturb its end."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        ignore_signals()
        raise Interrupted

    former = {number: signal.signal(number, on_signal) for number in ASKED_TO_END}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """The end must not be disturbed."""
    for number in ASKED_TO_END:
        signal.signal(number, signal.SIG_IGN)


def _storm(
    paths: Paths, options: Options, keeper: Keeper, own: ThrowAway | None, say: Say
) -> dict[str, object]:
    try:
        reader = Reader(paths)
    except FileNotFoundError:
        raise ControlError(f"pair {paths.pair} is not running: there is nothing to kill", USAGE) from None
    run = Run(paths, options, keeper=keeper, reader=reader, own=own, say=say)
    try:
        with contextlib.suppress(Interrupted):
            run.go()
        ignore_signals()
        keeper.take_back()
        run.finish()
    finally:
        run.close()
    return run.document()


class Run:
    """One run against one living pair."""

    def __init__(
        self,
        paths: Paths,
        options: Options,
        *,
        keeper: Keeper,
        reader: Reader,
        own: ThrowAway | None,
        say: Say,
    ) -> None:
        self._paths, self._options, self._own, self._say = paths, options, own, say
        self._reader = reader
        self._began = time.monotonic()
        self._spec = snapshot.read(paths.snapshots, reader.header().config_generation)
        self._judge = Judge(paths, self._spec, reader, own)
        self._hang_s = _HANG * self._spec.watch.timeout_ns / 1e9 if own is None else 0.0
        self._scene = Scene(
            paths,
            self._spec,
            reader=reader,
            judge=self._judge,
            keeper=keeper,
            own=own,
            patience_s=options.patience_s + self._hang_s,
        )
        self._may_revive = own is not None or options.revive
        terms = menu.Terms(
            own=own is not None,
            workers=own is not None or options.workers,
            revive=self._may_revive or reader.has_anchor(),
            allowed=Allowed(clock=options.allow_clock),
        )
        self._offers = menu.offers(terms)
        self._faults = self._chosen()
        self._events: list[result.Event] = []
        self._missed = 0
        self._is_extinct = False
        self._spent_s = 0.0
        self._log_at = recovery.size_of(paths.own_log)
        self._crashes: list[str] = []
        self._quiet: Look | None = None  # seen last, with nothing done to the pair since
        self._evidence: dict[str, list[str]] = {}

    def _chosen(self) -> list[str]:
        """Faults that can be had. Raises ControlError for one that was asked for by its name and cannot."""
        why = {one.fault.name: one.why for one in self._offers}
        for name in sorted(self._options.named):
            if why[name]:
                raise ControlError(f"{name} cannot be done here: {why[name]}", USAGE)
        fit = [name for name in self._options.faults if not why[name]]
        if not fit:
            reasons = "; ".join(f"{name}: {why[name]}" for name in self._options.faults)
            raise ControlError(f"none of these faults can be done here: {reasons}", USAGE)
        return fit

    # ------------------------------------------------------------ the loop

    def go(self) -> None:
        """Strike until the time is over, a promise broke, or nothing is left to strike."""
        before = self._require_whole()
        self._judge.hold(before.slots)
        self._quiet = before
        options, killable = self._options, self._scene.killable(before.slots)
        faults = [name for name in self._faults if killable or not menu.BY_NAME[name].workers]
        workers = killable if self._own or options.workers else []
        strikes = plan(options.seed, faults, workers, pause_s=options.pause_s, gap_s=options.gap_s)
        self._began = time.monotonic()
        self._judge.begin(self._began)
        for strike in strikes:
            self._scene.hold(strike.pause_s)
            self._spent_s = time.monotonic() - self._began
            if self._spent_s >= options.duration_s:
                return
            self._quiet = None
            before = self._quiet = self._next(strike, before)
            if self._judge.broken or self._is_extinct or strike.number + 1 == options.strikes:
                return

    def _require_whole(self) -> Look:
        """Raises ControlError where the pair is not whole to begin with."""
        nothing = Blow((), time.monotonic())
        deadline = time.monotonic() + self._options.patience_s
        while True:
            try:
                look = self._reader.look()
                what = recovery.lack(look, look, nothing, self._spec, is_own=self._own is not None)
            except Lost as lost:
                what = str(lost)
            if not what:
                return look
            if self._is_told_to_stop() or time.monotonic() > deadline:
                raise ControlError(
                    f"pair {self._paths.pair} is not whole before the first strike: {what}", USAGE
                )
            time.sleep(LOOK_S)

    def _is_told_to_stop(self) -> bool:
        with contextlib.suppress(Damage):
            return self._reader.header().desired is Desired.STOP
        return False

    def _next(self, strike: Strike, before: Look) -> Look:
        """One strike and what comes of it; what was seen last."""
        look = self._scene.look()
        if look is None:
            self._judge.accuse("P7", "the state file cannot be read although nothing was done to it")
            return before
        self._judge.compare(before.slots, look, {})
        if self._judge.broken:
            return look
        if strike.worker not in (*look.slots, ""):
            self._missed += 1
            return look
        try:
            blow = menu.BY_NAME[strike.fault].strike(self._scene, strike, look)
        except Missed:
            self._missed += 1
            blow = Blow((), time.monotonic())
            return self._wait_whole(strike, look, blow)[0]
        return self._outcome(strike, look, blow)

    def _outcome(self, strike: Strike, before: Look, blow: Blow) -> Look:
        now, again_ms, whole_ms, revived = self._wait_whole(strike, before, blow)
        if whole_ms is not None:
            self._judge.compare(before.slots, now, blow.grown)
        for promise, what in blow.verdict():
            self._judge.accuse(promise, what)
        outcome = result.EXTINCT if revived or self._is_extinct else result.RECOVERED
        self._events.append(
            result.Event(
                at_s=round(blow.began - self._began, 4),
                fault=strike.fault,
                targets=blow.targets,
                gap_ms=blow.gap_ms,
                detail={"strike": strike.number, **blow.detail},
                again_ms=again_ms,
                whole_ms=whole_ms,
                outcome=result.BROKEN if self._judge.broken else outcome,
                revived=revived,
            )
        )
        self._say(self._progress(strike))
        return now

    def _progress(self, strike: Strike) -> str:
        spent_s = time.monotonic() - self._began
        return (
            f"{spent_s:5.1f} of {self._options.duration_s:g} s   {len(self._events)} strikes   {strike.fault}"
        )

    # ------------------------------------------------------------ after a strike

    def _wait_whole(
        self, strike: Strike, before: Look, blow: Blow
    ) -> tuple[Look, float | None, float | None, bool]:
        """(last look, again-time, whole-time, whether it had to be started again)."""
        since = blow.began if blow.released is None else blow.released
        deadline = time.monotonic() + self._patience_s(before, blow)
        now, again_ms, whole_at, revived = before, None, None, False  # `before` is not reborn
        beats, ends = recovery.Beats(), _Ends(self._scene)
        self._judge.rest()
        while True:
            what = ""
            try:
                now = self._reader.look()
            except Lost as lost:
                what = str(lost)
            self._judge.note(now.slots)
            moment = time.monotonic()
            what = what or recovery.lack(now, before, blow, self._spec, is_own=self._own is not None)
            if again_ms is None and recovery.are_reborn(now, before, blow):
                again_ms = round(((blow.again_at or moment) - blow.began) * 1e3, 3)
            whole_at = (whole_at or moment) if not what else None
            if whole_at and (not blow.settles or beats.have_ticked(self._reader.heartbeats())):
                return now, again_ms, round(max(0.0, whole_at - since) * 1e3, 3), revived
            if what and blow.may_end_all and not revived and ends.is_the_end():
                if not self._may_revive and not self._reader.has_anchor():
                    self._is_extinct = True
                    return now, again_ms, None, False
                revived = self._revive()
                deadline = time.monotonic() + self._patience_s(before, blow)
            if moment > deadline:
                by = (
                    f"{strike.fault} of {' and '.join(blow.targets)}"
                    if blow.targets
                    else "others did something"
                )
                spent_s = moment - blow.began
                self._judge.accuse("P3", f"not whole again {spent_s:.1f} s after {by}: {what or 'no ticks'}")
                return now, again_ms, None, revived
            self._judge.watch()
            time.sleep(CALM_S if whole_at else LOOK_S)

    def _patience_s(self, before: Look, blow: Blow) -> float:
        """A worker of the user's may have to wait for its back-off, and to start."""
        slots = {name: before.slots[name] for name in blow.grown if name in before.slots}
        specs = [spec for name, slot in slots.items() if (spec := self._scene.worker(name, slot))]
        waits_ns = [2 * spec.restart.backoff.max_ns + spec.start_timeout_ns for spec in specs]
        wait_s = max(waits_ns, default=0) / 1e9 if self._own is None else 0.0
        return self._options.patience_s + self._hang_s + wait_s

    def _revive(self) -> bool:
        """Start what has no guard any more. False: its anchor does that."""
        if not self._may_revive:
            return False
        if self._own is not None:
            wrong = self._own.up()
        else:
            command = [sys.executable, "-m", "twinwatch", "up", self._spec.source]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
            wrong = done.stderr.strip() if done.returncode else ""
        if wrong:
            self._judge.accuse("P3", f"`twinwatch up` does not bring the pair back: {wrong}")
        return True

    # ------------------------------------------------------------ the end

    def finish(self) -> None:
        """One more look; of a throw-away pair: nothing began out of turn, and `down` leaves nothing."""
        look = self._scene.look()
        if self._quiet and look and not self._judge.broken and not self._is_extinct:
            self._judge.compare(self._quiet.slots, look, {})
        self._crashes = recovery.crashes(self._paths.own_log, self._log_at)
        if self._judge.broken:
            logs = {"events": self._paths.events, "watchers_log": self._paths.own_log}
            self._evidence = {name: recovery.tail(path, EVIDENCE_BYTES) for name, path in logs.items()}
        if self._own is None:
            return
        with contextlib.suppress(Lost):
            for what in self._own.wrong_births(self._reader.look().slots):
                self._judge.accuse("P1", what)
        self._say("down")
        if wrong := self._own.down():
            self._judge.accuse("P8", wrong)

    def document(self) -> dict[str, object]:
        """The result."""
        about = result.About(
            self._paths.pair,
            self._own is not None,
            self._options.seed,
            self._options.command,
            self._spec,
            self._offers,
            self._options.faults,
        )
        return result.document(
            about,
            self._spent_s,
            self._events,
            self._judge.broken,
            ended_themselves=self._judge.ended_themselves,
            crashes=self._crashes,
            missed=self._missed,
            evidence=self._evidence,
        )

    def close(self) -> None:
        """Let go of all that is open."""
        self._judge.close()
        self._reader.close()


class _Ends:
    """Whether no guard lives any more: two scans in a row, for one may pass by a fork."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._next = time.monotonic() + FIRST_SCAN_S
        self._empty = 0

    def is_the_end(self) -> bool:
        """Ask at each look; a scan is made now and then."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + SCAN_S
        self._empty = 0 if self._scene.guards() else self._empty + 1
        return self._empty >= SCANS
