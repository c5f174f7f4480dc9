"""A leader and a child in its group; each is its own kind that no kernel lets run twice.

    family_worker.py LOCK BIRTHS [MODE]

The child takes LOCK.child, the leader LOCK. `deaf`: both ignore TERM and HUP. The child of the next generation
shouts into LOCK.child.double if the former child still lives.
"""

import fcntl
import os
import signal
import sys


def take(path: str) -> None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with open(path + ".double", "a") as shout:
            shout.write(f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')}\n")
        os._exit(99)


if sys.argv[3:] == ["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
take(sys.argv[1])
ready, told = os.pipe()
child = os.fork()
if child == 0:
    take(sys.argv[1] + ".child")
    os.close(ready)
    os.close(told)
    while True:
        signal.pause()
os.close(told)
os.read(ready, 1)
with open(sys.argv[2], "a") as births:
    births.write(f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')} {child}\n")
while True:
    signal.pause()
