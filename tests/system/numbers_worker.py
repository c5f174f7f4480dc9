"""Writes numbered lines to its output for ever: `0`, `1`, `2`, … It begins where an earlier one ended.

How far it is stands in the file that it is told, after each burst; a restart repeats at most one burst. Told
to end, it completes its burst.
"""

import itertools
import os
import select
import signal
import sys

BURST = 2000
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
kept = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
for first in itertools.count(int(os.pread(kept, 20, 0) or 0), BURST):
    os.write(1, b"".join(b"%d\n" % number for number in range(first, first + BURST)))
    os.pwrite(kept, b"%020d" % (first + BURST), 0)
    if ending:
        break
    select.select([], [], [], 0.002)  # leaves the machine to others
