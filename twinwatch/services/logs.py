"""The internal worker that rotates and compresses logs.

Once a second it compares sizes and ages, with one `stat` for each log. A rotation that fails is told once and
tried again later; what it had begun is undone or completed, and nothing is lost. Compression goes on in small
pieces between the comparisons, so that a large backup delays no rotation and no heartbeat.
"""

import errno
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from twinwatch.core import rotating
from twinwatch.core.expand import log_file
from twinwatch.core.rotating import Record, Stage
from twinwatch.core.spec import Rotate
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import label_of
from twinwatch.linux import rotation, rotation_record
from twinwatch.linux.clock import monotonic_ns, wall_ns
from twinwatch.services.room import Room
from twinwatch.services.rotator import Rotator

CHECK_NS = SECOND_NS
RETRY_NS = 60 * SECOND_NS  # after a failure
PATIENCE_NS = 10 * SECOND_NS  # while there is no whole block to be taken
KEEP_ALL = 1 << 30
ROTATION, COMPRESSION = "rotation", "compression"


class Leaving(Exception):
    """The service is to end: a copy or a compression is given up."""


@dataclass(slots=True)
class Watched:
    """One log that is rotated. `record` is the one that was read or written last."""

    label: str
    path: str
    rotate: Rotate
    record: Record | None = None
    not_before_ns: int = 0
    told: set[str] = field(default_factory=set)  # what has failed since it last succeeded: told once
    is_packed: bool = False  # there is nothing (more) to compress


@dataclass(slots=True)
class Work:
    """A compression that goes on: its open log and what is left to be done."""

    log: Watched
    rotator: Rotator
    pieces: Generator[None, None, bool]


@dataclass(slots=True)
class Logs:
    """All logs of a pair. `tell(event, **details)`; `pulse` is called during long work."""

    state_directory: str
    tell: Callable[..., None]
    pulse: Callable[[], None]
    watched: dict[str, Watched] = field(default_factory=dict)
    work: Work | None = None

    # ---------------------------------------------------------------- which logs

    def take_over(self, wanted: dict[str, Watched]) -> None:
        """Go on with these logs; what was begun with any is completed first."""
        self.close()
        self.watched = wanted
        for record_path in rotation_record.all_of(self.state_directory):
            record = rotation_record.load(record_path)
            if record and record.path not in wanted and record.stage is not Stage.REST:
                left = Watched("", record.path, Rotate(keep=KEEP_ALL, compress=False))
                self._succeeds(left, ROTATION, self._tidy)
        for log in wanted.values():
            self._succeeds(log, ROTATION, self._tidy)

    def _open(self, log: Watched) -> Rotator:
        return Rotator(log.path, rotation_record.path_of(self.state_directory, log.path), self.pulse)

    def _tidy(self, log: Watched) -> None:
        with self._open(log) as rotator:
            rotator.settle()
            rotator.tidy()
            rotator.prune(log.rotate.keep)
            log.record = rotator.record

    # ---------------------------------------------------------------- one look at all

    def check(self) -> None:
        for log in self.watched.values():
            if monotonic_ns() < log.not_before_ns or not self._is_to_open(log):
                continue
            if not self._succeeds(log, ROTATION, self._rotate):
                log.not_before_ns = monotonic_ns() + RETRY_NS

    def _is_to_open(self, log: Watched) -> bool:
        """Whether there is something to do, as far as one `stat` can tell."""
        try:
            status = os.stat(log.path, follow_symlinks=False)
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)  # whoever opens it, will tell
        record, now_ns = log.record, wall_ns()
        if record is None or (status.st_dev, status.st_ino) != (record.device, record.inode):
            return status.st_size > 0
        if record.stage is not Stage.REST or status.st_size < record.hole:
            return True
        if log.rotate.age_ns and rotating.dated(record, status.st_size, now_ns) != record:
            return True
        return rotating.is_due(log.rotate, record, status.st_size, now_ns)

    def _rotate(self, log: Watched) -> None:
        with self._open(log) as rotator:
            rotator.settle()
            now_ns = wall_ns()
            if rotator.check(log.rotate, now_ns):
                if rotator.rotate(log.rotate.keep, now_ns):
                    rotator.prune(log.rotate.keep)
                    log.is_packed = False
                    log.told.discard(ROTATION)
                else:
                    log.not_before_ns = monotonic_ns() + PATIENCE_NS
            log.record = rotator.record

    # ---------------------------------------------------------------- compression

    def compress(self) -> bool:
        """One piece of it. False: there is nothing to compress."""
        if self.work is None:
            logs = (log for log in self.watched.values() if not log.is_packed and ROTATION not in log.told)
            log = next(logs, None)
            if log is None:
                return False
            log.is_packed = True
            self._succeeds(log, COMPRESSION, self._begin)
        else:
            self._succeeds(self.work.log, COMPRESSION, self._go_on)
        return True

    def _begin(self, log: Watched) -> None:
        if log.rotate.compress:
            rotator = self._open(log)
            self.work = Work(log, rotator, rotator.compression())

    def _go_on(self, log: Watched) -> None:
        is_over = True
        try:
            next(self.work.pieces if self.work else iter(()))
            is_over = False
        except StopIteration as end:
            log.is_packed = not end.value  # one was compressed: there may be more
            log.told.discard(COMPRESSION)
        finally:
            if is_over:
                self.close()

    def close(self) -> None:
        """Give up what is being compressed."""
        if self.work is not None:
            self.work.pieces.close()
            self.work.rotator.close()
            self.work = None

    # ---------------------------------------------------------------- failures

    def _succeeds(self, log: Watched, kind: str, work: Callable[[Watched], None]) -> bool:
        """Do it; a failure is told once, until the next success of its kind."""
        try:
            work(log)
        except rotation.Refused as error:
            reason = str(error)
        except OSError as error:  # any errno: it is told, and nothing was lost
            reason = error.strerror or str(error)
        else:
            return True
        if kind not in log.told:
            log.told.add(kind)
            self.tell("rotate-failed", slot=log.label, path=log.path, step=kind, reason=reason)
        return False


def wanted(room: Room) -> dict[str, Watched]:
    """The logs that the configuration in force rotates, by path.

    Not one whose backups would get the name of another worker's log.
    """
    paths: list[str] = []
    found: dict[str, Watched] = {}
    for _, worker, instance in room.workers():
        paths.append(os.path.join(room.paths.logs, log_file(worker, instance)))
        if worker.rotate is not None:
            found.setdefault(paths[-1], Watched(label_of(worker.name, instance), paths[-1], worker.rotate))
    for path in list(found):
        if rotating.numbered(path, paths):
            reason = "a backup of it would take the name of another log"
            room.tell("rotate-failed", slot=found.pop(path).label, path=path, reason=reason)
    return found


def main(room: Room) -> None:
    def pulse() -> None:
        room.beat()
        if room.is_ending:
            raise Leaving

    logs = Logs(room.paths.state, room.tell, pulse)
    try:
        _serve(room, logs)
    except Leaving:
        return
    finally:
        logs.close()


def _serve(room: Room, logs: Logs) -> None:
    logs.take_over(wanted(room))
    next_ns = 0
    while not room.is_ending:
        room.beat()
        if monotonic_ns() >= next_ns:
            if room.refresh():
                logs.take_over(wanted(room))
            logs.check()
            next_ns = monotonic_ns() + CHECK_NS
        room.wait(0 if logs.compress() else next_ns - monotonic_ns())
