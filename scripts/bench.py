"""How long a service is away when it dies, what a guard costs while nothing happens: twinwatch and its peers.

    bench [--form FORM] [--only PEER]... [--measure LETTER]... [--write]

All are measured in one run on the same work: a static program whose first act is to read the clock and to
append what it read to a file. Beside them stand two limits in C, which do no more than to start a process and
to wait for its end; the limit is measured anew before every other one, so that noise meets all alike.

  A  a worker is killed: time to the first act of the next one, 10 workers, one after the other
  B  that one is killed at once
  C  start of all, and recovery of all that were killed at one instant
  D  what the guard costs while nothing happens
  E  A with more and more workers
  F  a twin is killed: time until its place is filled, and until it is watching
  G  heartbeats: a beat, and the judging of 1,000 workers
  H  the guard is killed and comes back: how many copies of each worker live then
  P  where the time between a death and the next program goes, as perf sees it (twinwatch)
  S  system calls between a death and the next program, as strace counts them (twinwatch)

Peers are fetched into a cache and never installed; who cannot be had is named with the reason. Nothing
that is started here outlives it.
"""

import argparse
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from benchmarks import report, store  # noqa: E402 - from beside this file
from benchmarks.session import MEASURES, Session  # noqa: E402
from benchmarks.settings import FORMS  # noqa: E402

DOCUMENT = ROOT / "docs/performance.md"
DATA = ROOT / "docs/data/bench.json"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--form",
        choices=list(FORMS),
        default="full",
        help="full: an hour; middle: smaller numbers; short: a minute, the limits and twinwatch; "
        "large: what of C, D and E is of 5,000 and 1,000 workers, twinwatch beside its limit",
    )
    parser.add_argument("--only", action="append", default=[], metavar="PEER", help="may be repeated")
    parser.add_argument("--measure", action="append", default=[], metavar="LETTER", choices=list(MEASURES))
    parser.add_argument(
        "--json", metavar="FILE", help="also write there what was measured, after each measure"
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"put it into {DATA.relative_to(ROOT)} and {DOCUMENT.relative_to(ROOT)}",
    )
    parser.add_argument(
        "--into",
        metavar="FILE",
        help="put what was measured in the place of the same in this file; show all",
    )
    parser.add_argument("--from", dest="source", metavar="FILE", help="measure nothing: show this file")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write where that is asked for."""
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends with it
    if args.source:
        found = report.load(Path(args.source))
    else:
        try:
            session = Session(FORMS[args.form], args.only, args.measure or list(MEASURES))
        except (store.Absent, LookupError) as error:
            sys.exit(f"bench: {error}")
        found = session.run(lambda found: report.save(found, Path(args.json)) if args.json else None)
    if args.into:
        found = report.merged(report.load(Path(args.into)), found)
        report.save(found, Path(args.into))
    text = report.render(found)
    print(text)
    if args.write:
        report.save(found, DATA)
        report.put(text, DOCUMENT)


if __name__ == "__main__":
    main()
