"""PID 1 of a PID namespace, in which a pair is killed with all else by `kill(-1, SIGKILL)`, again and again.

    room.py DIRECTORY TRIALS bare|anchored

Says on its standard output, as JSON, after which kills the pair came back without help, and what broke a
promise. It is an init: it collects the dead, and with `anchored` it starts the anchor whenever that does not
live.
"""

import json
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from survival import atomic
from survival.outcome import PATIENCE_S
from survival.throwaway import Pair, Trouble, pause


def nuke(_pair: Pair, _rng: random.Random, _gap_ns: int) -> int:
    """All but this process, by a child of it: the kernel spares PID 1 and the sender, who leaves."""
    if os.getpid() != 1:
        raise Trouble("only PID 1 of a namespace may do this")
    child = os.fork()
    if child == 0:
        os.kill(-1, signal.SIGKILL)
        os._exit(0)
    deadline = time.monotonic() + PATIENCE_S
    while is_parent():
        if time.monotonic() > deadline:
            raise Trouble("something in the namespace was killed and does not die")
        pause()
    return 0


def is_parent() -> bool:
    """Collect what is dead. False: no process is left but this one."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return False
    return True


def main() -> None:
    directory, trials, form = sys.argv[1:]
    os.mkdir(directory)
    done, wrong = atomic.repeated(directory, int(trials), nuke, anchored=form == "anchored", workers_die=True)
    print(json.dumps({"survived": [trial.survived for trial in done], "wrong": wrong}))


if __name__ == "__main__":
    main()
