"""Whether workers work: probes, what they use, and files that they watch. An internal worker.

It asks and looks, and writes what it found into the slots; the watchers end and start. What it has counted
so far is in `checks.json`, so its own death neither costs a verdict nor causes one. Who asks may be late
itself, and knows it: then a bad answer does not count (P9).
"""

from twinwatch.services.checks.round import main

__all__ = ["main"]
