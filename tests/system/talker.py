"""Writes numbered lines to its output without a pause that matters, for ever: `0`, `1`, `2`, …

It leaves every signal at its default: a SIGPIPE would end it. A write that fails ends it too.
"""

import itertools
import os
import select
import sys

for number in itertools.count():
    line = b"%d\n" % number
    if os.write(1, line) != len(line):
        sys.exit(3)
    select.select([], [], [], 0.001)  # leaves the machine to others
