"""The outermost frame of the anchor. A child that it forks unwinds to here, and is a watcher from then on."""

import os

from twinwatch.anchor.anchor import Anchor, Charge
from twinwatch.core.hints import NoReturn
from twinwatch.watch import frame, lastwords
from twinwatch.watch.reserve import BehindGate


def main(charge: Charge) -> NoReturn:
    """Be the anchor; in a forked child, be a watcher. Never returns."""
    frame.begin(lambda: _live(charge))


def _live(charge: Charge) -> BehindGate:
    try:
        code = Anchor(charge).run()
    except BehindGate as behind:
        return behind.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - the outermost frame: its init is the cure
        lastwords.tell(error)
        os._exit(frame.EXIT_CRASHED)
    os._exit(code)
