"""A worker that beats once for each piece of work.

worker.py [PIECES]      endless without
"""

import sys
import time

from twinwatch import Heartbeat

pieces = int(sys.argv[1]) if len(sys.argv) > 1 else sys.maxsize
with Heartbeat() as heartbeat:
    for _ in range(pieces):
        time.sleep(0.1)  # the work
        heartbeat.advance()
