"""Kill watchers and workers at random: the front of `twinwatch chaos` for a checkout.

Without -p or -c a pair is made for it, and its workers are killed as well. All else is said, done and
judged by `twinwatch chaos`; with --fault or --faults more than kills can be had.
"""

import argparse
import sys

from twinwatch.cli import chaos, main

KILLS = ("kill-a", "kill-b", "kill-both")
WORKERS = ("kill-worker",)


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """What decides about the pair and the faults, and all that is handed on as it stands."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos-kill",
        description="Kill watchers and workers at random, look from outside, say whether a promise broke.",
        epilog="Exit status: 0 all promises kept, 1 one broke, 2 usage, or nothing could be tested. Ctrl-C "
        "ends early, with the figures so far. A seed gives the same kills and pauses, not the same races. "
        "Workers that are never restarted or have a restart limit are not killed. More than 50 births of "
        "one watcher in 10 s are spaced by 0.5 s: a short --pause shows that. `twinwatch chaos` says more.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("-p", "--pair", metavar="NAME", help="a living pair of yours")
    which.add_argument("-c", "--config", metavar="FILE", help="the living pair of this configuration")
    chaos.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    if args.throw_away and (args.pair is not None or args.config is not None):
        parser.error("--throw-away makes a pair of its own: leave -p and -c out")
    return args, list(sys.argv[1:] if argv is None else argv)


def command(argv: list[str] | None = None) -> list[str]:
    """The arguments of `twinwatch chaos` that these ones stand for."""
    args, words = parse(argv)
    is_own = args.pair is None and args.config is None
    words += ["--throw-away"] if is_own and not args.throw_away else []
    if not args.fault and args.faults is None and not args.list:
        for fault in (*KILLS, *(WORKERS if is_own or args.workers else ())):
            words += ["--fault", fault]
    words += ["--gap", "0"] if args.gap is None else []
    return ["chaos", *words]


if __name__ == "__main__":
    sys.exit(main.main(command()))
