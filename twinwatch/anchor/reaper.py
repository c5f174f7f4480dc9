"""Collects whatever has ended below the anchor: its own children, and orphans that became its children.

A process that is collected takes its exit status along (R28). So each is looked at first, told to who may
know it, and only then collected. As PID 1 of a container this is the only one who does it.
"""

import os
from collections.abc import Callable

from twinwatch.linux.process import raw_status

_BATCH = 256  # ends in a row, before the loop looks at something else


def collect(tell: Callable[[int, int], None]) -> bool:
    """Collect what has ended; `tell` gets PID and raw wait status of each before. True: there may be more."""
    for _ in range(_BATCH):
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if found is None:
            return False
        tell(found.si_pid, raw_status(found.si_code, found.si_status))  # R28
        try:
            os.waitid(os.P_PID, found.si_pid, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            continue  # who was told has collected it
    return True
