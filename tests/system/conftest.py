"""A real pair for each test, in directories of its own, and nothing of it left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_pair import LivePair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[LivePair]:
    """A pair that is not configured yet."""
    live = LivePair(tmp_path)
    yield live
    crashed = live.crashes()
    live.end()
    live.assert_never_double()
    assert "Traceback" not in crashed, crashed
