"""A process that takes back what a run has done, when the run was killed in the middle of it.

    python -m twinwatch.chaos.keeper

It reads lines of JSON: `{"id": N, "undo": {…}}` before a fault, `{"done": N}` after it was taken back. At
the end of its input, which comes with the death of the run, however it died, it takes back what is left,
the newest first. It has a session of its own, so that Ctrl-C does not reach it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from twinwatch.chaos import undo
from twinwatch.chaos.undo import Undo
from twinwatch.control.errors import ControlError

ASKED_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Keeper:
    """The run's end of the line to it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "twinwatch.chaos.keeper"]
        ours, self._pipe = os.pipe()
        self._process = subprocess.Popen(
            command, stdin=ours, stdout=subprocess.DEVNULL, start_new_session=True
        )
        os.close(ours)
        self._count = 0
        self._left: dict[int, Undo] = {}

    def _tell(self, what: dict[str, object]) -> None:
        try:
            os.write(self._pipe, json.dumps(what).encode() + b"\n")
        except BrokenPipeError:
            raise ControlError(
                "the keeper of this run was ended: nobody would take back what it does"
            ) from None

    def promise(self, taken_back: Undo) -> int:
        """From now on it is taken back by whoever lives; `fulfil` it with this number."""
        self._count += 1
        self._left[self._count] = taken_back
        self._tell({"id": self._count, "undo": taken_back})
        return self._count

    def fulfil(self, number: int) -> None:
        self._left.pop(number, None)
        self._tell({"done": number})

    @contextlib.contextmanager
    def undoing(self, taken_back: Undo) -> Iterator[None]:
        """Taken back at the end of the block, or by the keeper."""
        number = self.promise(taken_back)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, ASKED_TO_END)
            try:
                undo.perform(taken_back)
                self.fulfil(number)
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED_TO_END)

    def take_back(self) -> None:
        """Whatever an interruption left, the newest first; but for the end of a throw-away pair."""
        for number, taken_back in sorted(self._left.items(), reverse=True):
            if taken_back["do"] != "end":
                undo.perform(taken_back)
                self.fulfil(number)

    def close(self) -> None:
        os.close(self._pipe)
        self._process.wait()


def main() -> None:
    """Read promises until the run is gone; keep those that it did not."""
    for asked in ASKED_TO_END:
        signal.signal(asked, signal.SIG_IGN)
    left: dict[int, Undo] = {}
    for line in sys.stdin.buffer:
        match json.loads(line):
            case {"id": int(number), "undo": dict(taken_back)}:
                left[number] = taken_back
            case {"done": int(number)}:
                left.pop(number, None)
    for taken_back in reversed(left.values()):
        try:
            undo.perform(taken_back)
        except OSError as error:  # any errno: the others are still to be taken back
            sys.stderr.write(f"twinwatch chaos: not taken back: {taken_back}: {error}\n")


if __name__ == "__main__":
    main()
