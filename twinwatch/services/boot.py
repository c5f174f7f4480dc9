"""What a watcher executes for an internal worker: `python boot.py SERVICE RUNTIME_BASE STATE_BASE PAIR`."""

import importlib
import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(os.path.dirname(here)), *(path for path in sys.path if path != here)]

    from twinwatch.linux.gate import set_comm
    from twinwatch.linux.paths import Paths
    from twinwatch.services.room import Room

    service, runtime_base, state_base, pair = sys.argv[1:]
    set_comm(f"twinwatch_{service}")
    with Room(Paths(pair, runtime_base, state_base), service) as room:
        importlib.import_module(f"twinwatch.services.{service}").main(room)
