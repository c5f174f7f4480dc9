"""A full disk: the pair's directories are on a small file system of their own, and it is filled."""

import errno
import os
import time

from twinwatch.chaos import needs, private, undo
from twinwatch.chaos.fault import ONCE, Blow, Fault, Strike
from twinwatch.chaos.reader import WATCHERS, Look
from twinwatch.chaos.scene import Scene

HELD_S = 2.0  # at most
_PIECE = 1 << 20


def disk_full(scene: Scene, strike: Strike, look: Look) -> Blow:
    """A watcher is killed on a full disk and is back before there is room; or a worker, which may wait.

    What is full is the file system of runtime, state and logs alike.
    """
    name = strike.chance().choice((strike.watchers[0], strike.worker))
    ballast = f"{scene.own.disk}/ballast"
    held_s = strike.span * HELD_S
    with scene.keeper.undoing(undo.unlink(ballast)):
        size = _fill(ballast)
        began, _ = scene.kill([look.slots[name].identity])
        at_most_s = scene.patience_s if name in WATCHERS.values() else held_s
        again_at = scene.hold_until_back(look, (name,), held_s, at_most_s)
    detail: dict[str, object] = {"bytes": size, "back_while_full": again_at is not None}
    return Blow(
        (name,),
        began,
        grown={name: ONCE} if name in WATCHERS.values() else {name: range(1, 1000)},
        killed=(name,),
        again_at=again_at,
        released=time.monotonic(),
        detail=detail,
        settles=True,
    )


def _fill(path: str) -> int:
    """Write until there is no room for one more byte. How much that was."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    size, piece = 0, bytes(_PIECE)
    try:
        while size <= private.SIZE:
            try:
                size += os.write(fd, piece)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                if len(piece) == 1:
                    return size
                piece = piece[: len(piece) // 2]
        raise OSError(errno.EFBIG, "the file system is larger than it was made", path)
    finally:
        os.close(fd)


FAULTS = (
    Fault(
        "disk-full",
        "fill the file system of the pair, kill a watcher or worker, free it",
        disk_full,
        needs=(needs.tmpfs,),
        workers=True,
    ),
)
