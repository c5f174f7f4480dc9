"""The scene in which a race is played."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from scene import Scene, adopting_orphans


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with adopting_orphans():
        played = Scene(tmp_path)
        try:
            yield played
        finally:
            played.end()
