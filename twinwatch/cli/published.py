"""The configuration in force, found without the pair's help: its logs are read when it is down, too."""

import os

from twinwatch.config import snapshot
from twinwatch.control.errors import NOT_RUNNING, ControlError
from twinwatch.core import record
from twinwatch.core.record import Damage
from twinwatch.core.spec import PairSpec
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import STATE_NAME


def newest(paths: Paths) -> PairSpec:
    """The snapshot that the state file names, else the newest.

    Raises:
        ControlError: none was ever published.
        SnapshotError: it cannot be read.
    """
    kept = _generations(paths.snapshots)
    if not kept:
        raise ControlError(f"pair {paths.pair} was never up: `twinwatch up CONFIG` starts it", NOT_RUNNING)
    named = _named_generation(paths)
    return snapshot.read(paths.snapshots, named if named in kept else max(kept))


def _named_generation(paths: Paths) -> int | None:
    """What the header says; it only informs, so a damaged or torn one is no answer."""
    try:
        with open(f"{paths.runtime}/{STATE_NAME}", "rb", buffering=0) as file:
            _, body = record.unpack_record(file.read(record.RECORD_SIZE))
        return record.unpack_header(body).config_generation
    except (FileNotFoundError, Damage):
        return None


def _generations(directory: str) -> set[int]:
    """Of names like `config.7.json`."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return set()
    middles = (name.removeprefix("config.").removesuffix(".json") for name in names)
    return {int(middle) for middle in middles if middle.isdecimal()}
