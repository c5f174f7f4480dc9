"""A worker whose pieces of work take longer than a beat may: a thread beats, while the work moves.

worker_thread.py [PIECES]      endless without
"""

import sys
import time

from twinwatch import Heartbeat

PIECE_MAX_S = 60.0  # a piece that takes longer hangs: then the thread has nothing to beat for


def main(pieces: int) -> None:
    """Work, and say how long ago the last piece was done."""
    done_at = time.monotonic()

    def is_at_work() -> bool:
        return time.monotonic() - done_at < PIECE_MAX_S

    with Heartbeat(every=0.5, while_true=is_at_work) as heartbeat:
        for _ in range(pieces):
            time.sleep(0.1)  # the work
            done_at = time.monotonic()
            heartbeat.advance()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else sys.maxsize)
