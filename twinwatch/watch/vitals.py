"""Signs of life of one worker: its heartbeat file, and the `WATCHDOG=1` that a watcher read.

Each watcher looks for itself and by its own clock, so a verdict needs nobody's memory; the compare under
the lock lets one of them speak it. What cannot be read is unknown, which convicts nobody.
"""

import errno
import os
from collections.abc import Hashable

from twinwatch.core import beatfile, signs
from twinwatch.core.beatfile import BeatFile
from twinwatch.core.checks import NO_HEALTH, Health
from twinwatch.core.record import PING_OFF, Ping, Slot
from twinwatch.core.signs import Silence
from twinwatch.core.values import Met, Phase

_ABSENT = frozenset({errno.ENOENT, errno.EACCES, errno.ELOOP, errno.ENXIO, errno.ENOTDIR})


class Vitals:
    """What a guard knows of the signs of life of one generation. `path`: its heartbeat file.

    `beats`: its heartbeat is asked for, by health or by readiness.
    """

    def __init__(self, path: str, health: Health, *, beats: bool) -> None:
        self._path = path
        self._fd = -1
        self._beats = beats
        self._file: BeatFile | None = None
        self._is_lost = False  # deleted: who writes by its path is heard no more, so silence means nothing
        self._is_second = False  # not the file that it was born with: it may never hear of this one
        self._touched_ns = 0
        self._untouched_ns = 0  # the file's mtime before the first beat that this guard saw
        beat = health.heartbeat
        self._beat = Silence("heartbeat", beat.timeout_ns * beat.misses) if beat else None
        self._progress = Silence("progress", beat.progress_ns) if beat and beat.progress_ns else None
        self._ping = Silence("WATCHDOG=1", health.notify_ns) if health.notify_ns else None
        self._period_ns = self._choose_period(beat.timeout_ns if beat else 0, health.notify_ns)
        self._due_ns = 0

    def _choose_period(self, *timeouts_ns: int) -> int:
        """How often to look; 0: there is nothing to look for."""
        periods = [signs.period_ns(timeout_ns) for timeout_ns in timeouts_ns if timeout_ns]
        return min(periods, default=signs.LOOK_MAX_NS if self._beats else 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def is_signed_off(self) -> bool:
        return self._file is not None and self._file.is_signed_off

    @property
    def has_beaten(self) -> bool:
        if self._file is None:
            return False
        touched = self._untouched_ns and self._touched_ns != self._untouched_ns
        return bool(self._file.sequence or self._file.state or touched)

    # ------------------------------------------------------------ looking

    def read(self) -> None:
        """Look at the heartbeat file as it is now. One that was deleted may have a successor at its path."""
        if self._is_lost and os.path.exists(self._path):
            self.close()
            self._is_second, self._untouched_ns = True, 0
        if self._fd < 0 and not self._open():
            return
        self._file = beatfile.unpack(os.pread(self._fd, beatfile.SIZE, 0))
        status = os.fstat(self._fd)
        self._touched_ns = status.st_mtime_ns
        self._is_lost = status.st_nlink == 0
        self._untouched_ns = self._untouched_ns or self._touched_ns

    def _open(self) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return False
        return True

    def look(self, slot: Slot, ping: Ping, now_ns: int) -> int:
        """Look, if it is time to. When to look again; 0: there is nothing to look for.

        Until its program runs, its file may be the former generation's (R25).
        """
        if not self._period_ns or now_ns < self._due_ns:
            return self._due_ns
        if self._beats and slot.phase is not Phase.STARTING:  # R25
            self.read()
        judged = slot.phase is Phase.RUNNING and not self.is_signed_off
        self._hear_file(slot, now_ns, judged=judged)
        self._hear_ping(slot, ping, now_ns, judged=judged)
        self._due_ns = now_ns + self._period_ns
        return self._due_ns

    def _hear_file(self, slot: Slot, now_ns: int, *, judged: bool) -> None:
        file = self._file
        if file is None:
            return
        begun = judged and (self.has_beaten or (Met.HEARTBEAT in slot.met and not self._is_second))
        if self._beat:
            sign = (file.sequence, file.state, self._touched_ns)
            self._beat = self._heard(self._beat, sign, now_ns, begun=begun)
        if self._progress:
            self._progress = self._heard(self._progress, file.progress, now_ns, begun=begun and slot.ready)

    def _hear_ping(self, slot: Slot, ping: Ping, now_ns: int, *, judged: bool) -> None:
        if self._ping is None:
            return
        own = ping.generation == slot.generation
        if own and ping.limit_ns == PING_OFF:
            judged = False
        elif own and ping.limit_ns not in (0, self._ping.limit_ns):
            self._ping = Silence("WATCHDOG=1", ping.limit_ns)
            self._period_ns = self._choose_period(ping.limit_ns)
        sign = (ping.generation, ping.at_ns)
        self._ping = self._heard(self._ping, sign, now_ns, begun=judged and (slot.ready or own))

    def _heard(self, silence: Silence, sign: Hashable, now_ns: int, *, begun: bool) -> Silence:
        return signs.look(silence, sign, has_begun=begun, now_ns=now_ns, period_ns=self._period_ns)

    # ------------------------------------------------------------ what follows

    def verdict(self) -> str:
        """Why it has to end; empty if it has not."""
        heard = (self._ping,) if self._is_lost else (self._beat, self._progress, self._ping)
        for silence in heard:
            if silence is not None and silence.is_broken:
                return silence.reason
        return ""

    @property
    def is_beating(self) -> bool:
        """A sign has come, and nothing is overdue."""
        heard = [silence for silence in (self._beat, self._ping) if silence and silence.has_begun]
        return bool(heard) and not self.verdict()


def has_signed_off(path: str) -> bool:
    """Whether the last word in a heartbeat file was that its worker is done."""
    vitals = Vitals(path, NO_HEALTH, beats=True)
    vitals.read()
    vitals.close()
    return vitals.is_signed_off
