"""Processes that are not the pair's and may be mistaken for it: nobody may signal them (P6)."""

import contextlib
import os
import subprocess
import sys
import time

from twinwatch.chaos import bystander
from twinwatch.linux.identity import stat_fields

_LAST_PID = "/proc/sys/kernel/ns_last_pid"
_TRIES = 200
_FREE_S = 5.0


class Stranger:
    """A living one. `words` are in its command line, where a search by name finds them."""

    def __init__(self, directory: str, name: str, *words: str) -> None:
        self._heard = f"{directory}/heard.{time.monotonic_ns()}"
        command = [sys.executable, "-I", "-S", bystander.__file__, self._heard, name, *words]
        said, its_end = os.pipe()
        held, self._life = os.pipe()
        self._process = subprocess.Popen(command, stdin=held, stdout=its_end, start_new_session=True)
        os.close(held)
        os.close(its_end)
        self._said = said
        self.name = name

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        """Until it hears every signal."""
        os.read(self._said, 1)

    def harm(self) -> str:
        """What somebody did to it; empty: nothing."""
        if (code := self._process.poll()) is not None:
            return f"a stranger, PID {self.pid} ({self.name}), was ended: exit {code}"
        if stat_fields(self.pid)[:1] == [b"T"]:
            return f"a stranger, PID {self.pid} ({self.name}), was stopped"
        with contextlib.suppress(FileNotFoundError), open(self._heard, encoding="utf-8") as file:
            if heard := file.read().split():
                return f"a stranger, PID {self.pid} ({self.name}), got signals {', '.join(heard)}"
        return ""

    def close(self) -> None:
        """End it, whatever state it is in."""
        os.close(self._life)
        os.close(self._said)
        self._process.kill()
        self._process.wait()


def with_pid(directory: str, pid: int, name: str) -> Stranger | None:
    """One whose PID is that of somebody who is dead; None: it could not be had."""
    deadline = time.monotonic() + _FREE_S
    while os.path.exists(f"/proc/{pid}"):
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)
    for _ in range(_TRIES):
        with open(_LAST_PID, "w", encoding="ascii") as file:
            file.write(str(pid - 1))
        found = Stranger(directory, name)
        if found.pid == pid:
            found.wait_ready()
            return found
        found.close()
        if os.path.exists(f"/proc/{pid}"):
            return None  # another process has it
    return None
