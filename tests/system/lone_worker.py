"""A worker that no kernel lets run twice: its first act is to take its own exclusive lock.

    lone_worker.py LOCK BIRTHS [MODE]

A second copy cannot have the lock: it shouts into `LOCK.double` and ends with 99. Each birth appends a
line `PID GENERATION` to BIRTHS. MODE: `serve` (default), `deaf` (ignores TERM), `once` (ends with 0).
"""

import fcntl
import os
import signal
import sys

lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    shout = os.open(sys.argv[1] + ".double", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(shout, f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')}\n".encode())
    os._exit(99)
births = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.write(births, f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')}\n".encode())
os.close(births)
mode = sys.argv[3] if len(sys.argv) > 3 else "serve"
if mode == "once":
    os._exit(0)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    signal.pause()
