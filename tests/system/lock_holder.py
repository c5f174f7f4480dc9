"""Holds the state lock and says so; lets go at the end of its input.

    lock_holder.py member|stranger RUNTIME_DIRECTORY

A `member` takes the lock as every process of a pair does; a `stranger` just locks its byte.
"""

import fcntl
import os
import sys

from twinwatch.linux.lock import LOCK_BYTE
from twinwatch.linux.statefile import StateFile

if sys.argv[1] == "member":
    state = StateFile(sys.argv[2], 60_000_000_000)
    state.lock.__enter__()
else:
    fd = os.open(f"{sys.argv[2]}/state", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, LOCK_BYTE)
print("held", flush=True)
sys.stdin.read()
