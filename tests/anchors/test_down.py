"""An end that is wanted: told through the init it is for now, told by `twinwatch down` it is for good."""

import pytest
from anchored_kit import WORKERS, raised
from init_kit import PID_ONES, Sysvinit
from live_pair import until

from twinwatch.linux import process

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.parametrize("init", PID_ONES, ids=repr)
def test_through_the_init(under, init):
    """Nothing of the pair is left, and the init brings nothing back until it is told to."""
    pair = under(init)
    machine = pair.boot_whole()
    before, births = pair.generations(), pair.birth_counts()
    init.stop(machine)
    until(lambda: not pair.anchors(), "the anchor has ended")
    assert pair.all_but_anchor() == []
    assert pair.status()["state"] == "down"
    assert not pair.anchors()
    assert pair.birth_counts() == births
    init.start(machine)
    pair.wait_born(raised(before, "anchor", "a", "b", *WORKERS))
    pair.wait_at_work(*WORKERS)
    assert pair.birth_counts() == raised(births, *WORKERS)


def assert_idle(pair, not_this: int = 0) -> int:
    """An anchor lives and nothing else does: its PID inside."""
    found = []

    def is_idle() -> bool:
        anchor = pair.status()["anchor"]
        found[:] = [anchor["pid"]] if anchor and anchor["phase"] == "idle" else []
        return bool(found) and found != [not_this]

    until(is_idle, "an idle anchor")
    assert pair.all_but_anchor() == []
    return found[0]


@pytest.mark.parametrize("init", PID_ONES, ids=repr)
def test_by_a_person(under, init):
    """Also the next anchor leaves it down."""
    pair = under(init)
    machine = pair.boot_whole()
    before, births = pair.generations(), pair.birth_counts()
    pair.down()
    idle = assert_idle(pair)
    process.end(machine.of_inside(idle))
    successor = assert_idle(pair, not_this=idle)
    assert pair.birth_counts() == births
    pair.up()
    pair.wait_born(raised(before, "anchor", "a", "b", *WORKERS))
    pair.wait_at_work(*WORKERS)
    assert pair.birth_counts() == raised(births, *WORKERS)
    assert pair.wait_up()["anchor"]["pid"] == successor


def test_by_a_person_outlives_a_reboot(under):
    """And so does the wish that it is to run."""
    pair = under(Sysvinit())
    pair.boot_whole()
    births = pair.birth_counts()
    pair.down()
    pair.boot()
    assert_idle(pair)
    assert pair.birth_counts() == births
    pair.up()
    once, twice = raised(births, *WORKERS), raised(raised(births, *WORKERS), *WORKERS)
    until(lambda: pair.birth_counts() == once, "the workers' next births")
    pair.boot()
    until(lambda: pair.birth_counts() == twice, "the workers' births after the reboot")
    pair.wait_up()
