"""A pair under a real init for each test, in namespaces that end with it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anchored_kit import Anchored
from init_kit import Init
from machine_kit import lacking


@pytest.fixture
def under(tmp_path: Path) -> Iterator[Callable[[Init], Anchored]]:
    """`under(init)`: a pair that is configured with two lone workers, and not booted yet."""
    made: list[Anchored] = []

    def make(init: Init) -> Anchored:
        if not init.is_here():
            pytest.skip(f"init absent: {init.name} (tests/anchors/fetch_inits unpacks it)")
        if lack := lacking(needs_cgroup=init.needs_cgroup):
            pytest.skip(f"kernel lacks {lack}")
        made.append(Anchored(tmp_path, init))
        made[-1].configure_lone()
        return made[-1]

    yield make
    for pair in made:
        pair.end()
        for log in sorted(tmp_path.glob("*.log")):
            print(f"{log.name}:\n{log.read_text(errors='replace')}")  # shown where a test fails
        pair.assert_never_double()
        crashed = pair.crashes()
        assert "Traceback" not in crashed, crashed
