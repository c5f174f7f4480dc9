"""A command that is struck at each call that changes something outside of it, and what must hold then.

Its many other calls (an interpreter that starts, files that are read) leave no state between them. A person would
do the command again: it does not hang behind a stopped one (R18), the pair is whole, or down, as it says; nobody was
started twice, nothing is left, and what was wished before is still wished. Then a stopped one goes on, and changes
nothing of that.
"""

import os
import signal
import sys

from every_step_pair import assert_only_recorded
from every_step_strike import Strike
from live_pair import PATIENCE_S, LivePair, until

from twinwatch.core.values import Desired, Phase
from twinwatch.linux import wishes
from twinwatch.linux.identity import is_alive
from twinwatch.linux.paths import locate

RUNNING = ("w0", "w1")
STOPPED = "idle"
TRACED_S = (
    5 * PATIENCE_S
)  # each call of a traced one waits for its tracer, thousands of them, before it begins


class Played:
    """One command that is struck, or not, and what a person does then."""

    def __init__(self, pair: LivePair, name: str, nth: int, *arguments: str) -> None:
        command = [sys.executable, "-m", "twinwatch", *arguments]
        self._pair, self._arguments = pair, arguments
        self.strike = Strike(
            name, nth, command=command, only_changes=True, environ=pair.environ, cwd=pair.directory
        )

    def play(self) -> Strike:
        with self.strike as strike:
            strike.go()
            until(lambda: strike.has_ended or strike.is_struck, "it has ended, or was struck", TRACED_S)
            if not strike.struck:
                assert strike.code == 0, f"{self._arguments} unstruck: {strike.code}"
                return strike
            self._pair.call(*self._arguments)
            if not strike.has_ended:
                os.kill(strike.pid, signal.SIGCONT)  # a child of the tracer, which has not collected it
                until(lambda: strike.has_ended, f"the stopped command ends when it goes on: {strike}")
        return strike


def configure(pair: LivePair, step: int = 0) -> None:
    """`step` changes the command of one worker, so that a reload has something to do."""
    text = "".join(pair.lone(worker) for worker in (*RUNNING, STOPPED))
    changed = f"    environment: {{STEP: '{step}'}}\n"
    pair.configure(text.replace("  w1:\n", f"  w1:\n{changed}"), watch="{interval: 100ms, timeout: 2s}")


def begin(pair: LivePair) -> None:
    configure(pair)
    pair.up()
    pair.call("stop", "-p", pair.name, STOPPED)


def assert_whole(pair: LivePair, when: object) -> None:
    """A command that has reported success has waited for this."""
    slots = pair.workers()
    assert {label: slot.phase for label, slot in slots.items()} == {
        **dict.fromkeys(RUNNING, Phase.RUNNING),
        STOPPED: Phase.STOPPED,
    }, str(when)
    assert all(is_alive(slots[label].identity) for label in RUNNING), str(when)
    assert slots[STOPPED].desired is Desired.STOP, f"{when}: the wish is forgotten"
    pair.wait_at_work(*RUNNING)
    pair.assert_never_double()
    assert_only_recorded(pair, when)


def assert_down(pair: LivePair, when: object, wish: Desired = Desired.STOP) -> None:
    pair.forget_state()
    assert not pair.processes(), f"{when}: {pair.processes()}"
    assert not list((pair.directory / "run").iterdir()), (
        f"{when}: {list((pair.directory / 'run').rglob('*'))}"
    )
    kept = wishes.read(locate(pair.name, pair.environ))
    assert kept.pair is wish, str(when)
    desired = {label: kept.slots[label][0] for label in (*RUNNING, STOPPED)}
    assert desired == {**dict.fromkeys(RUNNING, Desired.RUN), STOPPED: Desired.STOP}, str(when)
    pair.assert_never_double()
