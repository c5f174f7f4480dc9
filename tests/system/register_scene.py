"""PID 1 of a small PID namespace, in which the PID of a registered process comes to belong to others.

    register_scene.py watched|unwatched|unregistered DIRECTORY

Ends with 0 when all was as it should be.
"""

import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live_pair import LivePair, until
from pid_reuse_scene import Innocent, reap
from worker_kit import SLEEP, entry, kill_watchers, wait_guarded

from twinwatch.core.values import Phase
from twinwatch.linux.identity import is_alive


def registered(pair: LivePair) -> "subprocess.Popen[bytes]":
    """A process that beat once, so that its silence would be judged."""
    pair.configure(entry("base", SLEEP))
    pair.up()
    wait_guarded(pair)
    job = subprocess.Popen(SLEEP)
    options = ["--timeout", "100ms", "--misses", "100", "--pid", str(job.pid)]
    beat = pair.call("register", "-p", pair.name, "job", *options, "--", *SLEEP).stdout.strip()
    assert pair.worker("job").identity.pid == job.pid
    Path(beat).touch()
    return job


def replaced(pair: LivePair, job: "subprocess.Popen[bytes]") -> Innocent:
    """It dies, and an innocent gets its PID."""
    job.kill()
    job.wait()
    return Innocent(pair.directory, job.pid)


def wait_again(pair: LivePair) -> None:
    def is_again() -> bool:
        slot = pair.worker("job")
        return slot.generation == 2 and slot.phase is Phase.RUNNING and is_alive(slot.identity)

    until(lambda: reap() or is_again(), "it was started again by its command")


def play_watched(pair: LivePair) -> None:
    """Watchers live, and die while an innocent has the PID that is recorded."""
    innocent = replaced(pair, registered(pair))
    wait_again(pair)
    kill_watchers(pair)
    pair.wait_beats()
    pair.down()
    innocent.assert_unharmed()


def play_unwatched(pair: LivePair) -> None:
    """Nobody saw the death: the next watchers find an innocent with that PID."""
    job = registered(pair)
    pair.extinguish()
    innocent = replaced(pair, job)
    pair.up()
    wait_again(pair)
    pair.call("restart", "-p", pair.name, "job")
    pair.down()
    innocent.assert_unharmed()


def play_unregistered(pair: LivePair) -> None:
    """The commands meet the innocent's PID in the record."""
    job = registered(pair)
    pair.extinguish()
    innocent = replaced(pair, job)
    done = pair.call("signal", "-p", pair.name, "TERM", "job", check=False)
    assert done.returncode != 0, done
    pair.down()
    innocent.assert_unharmed()
    pair.up()
    pair.call("unregister", "-p", pair.name, "job")
    pair.down()
    innocent.assert_unharmed()


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    pair = LivePair(Path(sys.argv[2]))
    {"watched": play_watched, "unwatched": play_unwatched, "unregistered": play_unregistered}[sys.argv[1]](
        pair
    )
    assert "Traceback" not in pair.crashes(), pair.crashes()


if __name__ == "__main__":
    main()
