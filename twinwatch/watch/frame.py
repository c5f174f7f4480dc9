"""The outermost frame of a watcher's process, and of everything that is forked from it.

A forked child unwinds to this frame before it does anything else, so that no stack grows from one
generation to the next. An error that nobody expected ends the process here: the twin is the cure.
"""

import gc
import os
from collections.abc import Callable
from contextlib import suppress

from twinwatch.core.hints import NoReturn
from twinwatch.linux.birth import Fenced, Seat
from twinwatch.linux.gate import reset_signals
from twinwatch.linux.limits import raise_descriptor_limit
from twinwatch.linux.notify import NotifySocket
from twinwatch.linux.paths import Paths
from twinwatch.watch import lastwords, reserve
from twinwatch.watch.reserve import BehindGate
from twinwatch.watch.watcher import Watcher

EXIT_CRASHED = 70
EXIT_FENCED = 75
# In a forked child: its parents' world, whose descriptors are closed already (R11). Whatever frees objects
# that it shares with its parent pays for a copy of each page that they are in.
_left: list[object] = []


def main(paths: Paths, seat: Seat) -> NoReturn:
    """Be a watcher; in a forked child, be what its gate lets through. Never returns."""
    reset_signals()
    begin(lambda: _live(paths, seat, None))


def begin(live: Callable[[], BehindGate]) -> NoReturn:
    """Live one life, then those of the children that unwind to here: `live` returns only in such a child."""
    raise_descriptor_limit()
    gc.collect()
    gc.freeze()
    born = live()
    while True:
        duty = born.duty
        seat = reserve.live(born.gate, duty, is_awaited=born.is_awaited)
        gc.enable()
        paths, notify = duty.paths, duty.notify
        _left.append(born)
        del born, duty  # else every child of this life would be the one that frees them
        born = _live(paths, seat, notify)


def _let_go() -> None:
    """Free what the parents left: when there is a reserve, and nobody waits. In a reserve it is shared."""
    if _left:
        _left.clear()
        gc.collect()


def _live(paths: Paths, seat: Seat, notify: NotifySocket | None) -> BehindGate:
    """One watcher's life. Returns only in a forked child, with every frame of the parent unwound."""
    watcher = None
    try:
        watcher = Watcher(paths, seat, notify)
        watcher.run(_let_go)
        watcher.leave()
    except BehindGate as behind:
        _left.extend((watcher, behind.__traceback__))
        return behind.with_traceback(None)
    except Fenced:
        os._exit(EXIT_FENCED)
    except Exception as error:  # noqa: BLE001 - the outermost frame: the twin is the cure
        with suppress(OSError):  # any errno: a full disk must not keep it from leaving word
            lastwords.tell(error)
        if watcher is not None:
            watcher.crashed()
        os._exit(EXIT_CRASHED)
    os._exit(0)
