"""R30: a pair was told to stay down; its init starts the anchor, which makes all ready for a start."""

import os

import pytest
from scene import taken_out

from twinwatch.control import anchor as command
from twinwatch.core.values import Desired
from twinwatch.linux import paths, wishes
from twinwatch.linux.wishes import Wishes


@pytest.fixture
def told_to_be_down(tmp_path, monkeypatch):
    """A configuration, and a kept wish that its pair is to be down."""
    config = tmp_path / "shop.yaml"
    config.write_text("pair: shop\nworkers: {w: {command: [sleep, '1000']}}\n")
    config.chmod(0o644)
    environ = os.environ | {
        paths.RUNTIME_VARIABLE: str(tmp_path / "run"),
        paths.STATE_VARIABLE: str(tmp_path / "lib"),
    }
    place = paths.locate("shop", environ)
    paths.prepare(place)
    wishes.write(place, Wishes(Desired.STOP))
    return str(config), environ, place


def test_a_kept_stop_outlasts_the_anchor(told_to_be_down):
    config, environ, place = told_to_be_down
    command._made_ready(config, environ)
    assert not os.path.exists(f"{place.runtime}/state")
    assert wishes.read(place).pair is Desired.STOP


def test_else_it_is_undone(told_to_be_down):
    config, environ, place = told_to_be_down
    with taken_out(wishes, "read", lambda _paths: Wishes()):
        command._made_ready(config, environ)
    assert os.path.exists(f"{place.runtime}/state")
