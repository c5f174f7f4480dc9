"""Watched files as `stat` shows them. One that cannot be looked at is unknown, and left out."""

import os
from collections.abc import Iterable

from twinwatch.core.probing import Fingerprint


def look(paths: Iterable[str]) -> dict[str, Fingerprint]:
    found: dict[str, Fingerprint] = {}
    for path in paths:
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            found[path] = None
        except OSError:  # any errno: nothing is known of it
            continue
        else:
            found[path] = status.st_mtime_ns, status.st_size, status.st_ino
    return found
