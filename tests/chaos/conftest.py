"""A real pair for each test, in directories of its own, and nothing of it left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_pair import LivePair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[LivePair]:
    """A living pair of a user's, with two workers that cannot run twice."""
    live = LivePair(tmp_path)
    live.configure(live.lone("one") + live.lone("two"))
    live.up()
    live.wait_whole()
    yield live
    live.end()
