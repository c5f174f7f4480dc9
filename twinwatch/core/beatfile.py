"""The heartbeat file of a worker instance: 64 bytes that the worker writes and a judge reads.

The worker may be written in any language and knows nothing of the watchers; it can harm nobody but
itself with what it writes. Layout: `docs/heartbeat.md`.
"""

import struct
from dataclasses import dataclass

SIZE = 64
ACTIVE = 1
SIGNED_OFF = 2

_FILE = struct.Struct("<QQQI")  # sequence, CLOCK_MONOTONIC of the beat in ns, progress, state


@dataclass(frozen=True, slots=True)
class BeatFile:
    sequence: int = 0
    at_ns: int = 0
    progress: int = 0
    state: int = 0

    @property
    def is_signed_off(self) -> bool:
        return self.state == SIGNED_OFF


def unpack(data: bytes) -> BeatFile | None:
    """None: somebody cut the file short; it says nothing any more."""
    return BeatFile(*_FILE.unpack_from(data)) if len(data) >= _FILE.size else None
