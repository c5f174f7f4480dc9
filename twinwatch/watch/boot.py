"""What `up` executes: a watcher in a clean interpreter, with nothing imported that it does not need.

Run as `python -I -S boot.py RUNTIME_BASE STATE_BASE PAIR ROLE GENERATION`.
"""

import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(os.path.dirname(here)), *(path for path in sys.path if path != here)]

    from twinwatch.watch import lean

    lean.load()

    from twinwatch.core.values import Role
    from twinwatch.linux.birth import Seat
    from twinwatch.linux.paths import Paths
    from twinwatch.watch import frame

    runtime_base, state_base, pair, role, generation = sys.argv[1:]
    frame.main(Paths(pair, runtime_base, state_base), Seat(Role[role.upper()], int(generation)))
