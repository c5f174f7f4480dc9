"""An init that reaps orphans at once, for machines (and containers) whose PID 1 never does.

    reaping_init.py COMMAND ...

Runs COMMAND, says `done CODE`, and collects every descendant that loses its parent, until none is left.
"""

import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36
if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
    sys.exit("cannot become a subreaper")
command = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
while True:
    try:
        pid, status = os.wait()
    except ChildProcessError:
        break
    if pid == command:
        os.write(1, f"done {os.waitstatus_to_exitcode(status)}\n".encode())
