"""A job that ends when the test lets it, and that no kernel lets run twice.

job_worker.py LOCK BIRTHS FIFO CODE
"""

import fcntl
import os
import sys

lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    with open(sys.argv[1] + ".double", "a") as shout:
        shout.write(f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')}\n")
    os._exit(99)
with open(sys.argv[2], "a") as births:
    births.write(f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')}\n")
fifo = os.open(sys.argv[3], os.O_RDONLY)
os.read(fifo, 1)
os._exit(int(sys.argv[4]))
