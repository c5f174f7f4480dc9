"""A worker of a group: no kernel lets it run twice, and it tells when it begins and ends.

    member_worker.py ROOM NAME [FIFO]

In ROOM it takes NAME.lock, appends `PID GENERATION` to NAME.births, and to `story`: `start NAME`, then
`ready NAME` before it says READY=1 (where it was given a notify socket), and `end NAME` when TERM comes.
With a FIFO that is there, it reads that to its end before it ends.
"""

import fcntl
import os
import signal
import socket
import sys

room, name = sys.argv[1:3]


def tell(words, path="story"):
    fd = os.open(f"{room}/{path}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, f"{words}\n".encode())
    os.close(fd)


def end(_number, _frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # an heir may send it again
    tell(f"end {name}")
    if len(sys.argv) > 3 and os.path.exists(sys.argv[3]):
        with open(sys.argv[3], "rb") as lever:
            lever.read()
    os._exit(0)


me = f"{os.getpid()} {os.environ.get('TWINWATCH_GENERATION')}"
lock = os.open(f"{room}/{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    tell(me, f"{name}.lock.double")
    os._exit(99)
signal.signal(signal.SIGTERM, end)
tell(f"start {name}")
tell(me, f"{name}.births")
if "NOTIFY_SOCKET" in os.environ:
    tell(f"ready {name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    signal.pause()
