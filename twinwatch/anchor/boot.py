"""What `twinwatch anchor` executes: the anchor in a clean interpreter, without what it does not need.

Run as `python -I -S boot.py RUNTIME_BASE STATE_BASE PAIR CONFIG DEVICE READY_FD`.
"""

import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(os.path.dirname(here)), *(path for path in sys.path if path != here)]

    from twinwatch.watch import lean

    lean.load()

    from twinwatch.anchor import life
    from twinwatch.anchor.anchor import Charge
    from twinwatch.linux.paths import Paths

    runtime_base, state_base, pair, config, device, ready_fd = sys.argv[1:]
    life.main(Charge(Paths(pair, runtime_base, state_base), config, device, int(ready_fd)))
