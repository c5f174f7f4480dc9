"""An anchor as a child of the test, which plays its init."""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

from live_pair import PATIENCE_S, LivePair, until

from twinwatch.core.record import Slot
from twinwatch.core.values import Phase, Role


class Init:
    """Starts the anchor of a pair, hears what it says by sd_notify, and ends it.

    `anchors`: every one that was started, the newest last.
    """

    def __init__(self, pair: LivePair) -> None:
        self.pair = pair
        self.anchors: list[subprocess.Popen[bytes]] = []
        self.said: list[str] = []
        self._words = (pair.directory / "anchor.log").open("ab")
        self._address = str(pair.directory / "init")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for anchor in self.anchors:
            if anchor.poll() is None:
                anchor.kill()
            anchor.wait()
        self._words.close()
        self._socket.close()

    def start(self, *words: str, pass_fds: tuple[int, ...] = (), **environ: str) -> "subprocess.Popen[bytes]":
        """A further one, of the same pair."""
        anchor = subprocess.Popen(
            [sys.executable, "-m", "twinwatch", "anchor", str(self.pair.config), *words],
            env=self.pair.environ | {"NOTIFY_SOCKET": self._address} | environ,
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=self._words,
            cwd=self.pair.directory,
            pass_fds=pass_fds,
        )
        self.anchors.append(anchor)
        return anchor

    @property
    def anchor(self) -> "subprocess.Popen[bytes]":
        return self.anchors[-1]

    def tell(self, number: int) -> None:
        self.anchor.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Tell it to end; its exit code."""
        self.pair.forget_state()
        self.tell(number)
        return self.anchor.wait(PATIENCE_S)

    def words(self) -> str:
        return (self.pair.directory / "anchor.log").read_text()

    # ------------------------------------------------------------ what it says to init

    def listen(self) -> list[str]:
        """Lines that have come since the last time."""
        new: list[str] = []
        while select.select([self._socket], [], [], 0)[0]:
            new += self._socket.recv(65536).decode().split("\n")
        self.said += new
        return new

    def hear(self, line: str) -> None:
        """Wait until it says this from now on."""
        self.listen()
        until(lambda: line in self.listen(), f"the anchor says {line}")

    def wait_said(self, line: str) -> None:
        """Wait until it has said this at any time."""
        until(lambda: self.listen() is not None and line in self.said, f"the anchor has said {line}")


def anchor_slot(pair: LivePair) -> Slot:
    return pair.role(Role.ANCHOR)


def wait_anchored(pair: LivePair, init: Init) -> None:
    """Wait until the newest anchor holds its slot and the pair is whole."""
    state = Path(pair.runtime / "state")
    until(lambda: state.exists() or init.anchor.poll() is not None, "there is a state file")
    assert init.anchor.poll() is None, init.words()
    until(lambda: anchor_slot(pair).identity.pid == init.anchor.pid, "it holds its slot")
    until(lambda: anchor_slot(pair).phase is Phase.RUNNING)
    pair.wait_whole()


def is_gone(pair: LivePair) -> bool:
    """Nothing of the pair lives but an anchor."""
    return not os.path.exists(pair.runtime / "state")
