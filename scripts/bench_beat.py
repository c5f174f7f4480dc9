"""What a heartbeat costs the worker: a beat compared with the call of a method that does nothing.

    bench-beat [--samples N] [--calls N] [--directory DIR]

A sample is the time of `--calls` calls in a loop, divided by their number, so the loop is in all of them. The
samples of all kinds take turns, so that what else the machine does meets all alike. The file is a real one,
in `--directory` (/dev/shm: tmpfs, like the runtime directory of a pair).
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable

from twinwatch.client.heartbeat import SIZE, Heartbeat


class Empty:
    """What a call costs in any case."""

    def beat(self, progress: int | None = None) -> None:
        """Do nothing."""


def sample_ns(call: Callable[[], object], calls: int) -> float:
    """Mean time of a call."""
    rounds = range(calls)
    begin_ns = time.perf_counter_ns()
    for _ in rounds:
        call()
    return (time.perf_counter_ns() - begin_ns) / calls


def measure(kinds: dict[str, Callable[[], object]], samples: int, calls: int) -> dict[str, list[float]]:
    """Samples of each kind, taken in turns."""
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(samples):
        for name, call in kinds.items():
            found[name].append(sample_ns(call, calls))
    return found


def show(found: dict[str, list[float]]) -> None:
    """One row for each kind; the ratio is that of the medians."""
    floor_ns = statistics.median(found["empty method"])
    print(f"{'':18}{'median':>9}{'5 %':>9}{'95 %':>9}{'ratio':>8}   ns a call")
    for name, samples in found.items():
        cuts = statistics.quantiles(samples, n=20)
        median_ns = statistics.median(samples)
        print(f"{name:18}{median_ns:9.0f}{cuts[0]:9.0f}{cuts[-1]:9.0f}{median_ns / floor_ns:8.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="bench-beat", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--directory", default="/dev/shm")  # noqa: S108 - a file of its own in it
    args = parser.parse_args()
    with tempfile.NamedTemporaryFile(dir=args.directory) as file:
        file.write(bytes(SIZE))
        file.flush()
        with Heartbeat(file.name) as watched, Heartbeat(os.devnull) as unwatched:
            kinds: dict[str, Callable[[], object]] = {
                "empty method": Empty().beat,
                "beat": watched.beat,
                "advance": watched.advance,
                "beat, unwatched": unwatched.beat,
            }
            show(measure(kinds, args.samples, args.calls))


if __name__ == "__main__":
    main()
