"""A daemon of the old school: double fork, setsid, and its leader ends with 0. It keeps its descriptors.

    daemon_worker.py LOCK BIRTHS [PIDFILE]

What stays takes LOCK, so no kernel lets it run twice; BIRTHS and PIDFILE name it. The leader ends when it
is there.
"""

import fcntl
import os
import signal
import sys

ready, told = os.pipe()
if os.fork():
    os.close(told)
    os.read(ready, 1)
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.close(ready)
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    with open(sys.argv[1] + ".double", "a") as shout:
        shout.write(f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')}\n")
    os._exit(99)
with open(sys.argv[2], "a") as births:
    births.write(f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')}\n")
if len(sys.argv) > 3:
    with open(sys.argv[3], "w") as file:
        file.write(f"{os.getpid()}\n")
os.close(told)
while True:
    signal.pause()
