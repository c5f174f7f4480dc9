"""`lone_worker.py`, which says when it began: its first act is to append CLOCK_MONOTONIC, in ns, to STAMPS.

stamping_worker.py STAMPS LOCK BIRTHS
"""

import time

began_ns = time.monotonic_ns()

import os  # noqa: E402 - the time comes first
import runpy  # noqa: E402
import sys  # noqa: E402

stamps = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.write(stamps, b"%d\n" % began_ns)
os.close(stamps)
runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system/lone_worker.py"))
