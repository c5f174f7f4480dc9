"""Supervisors that are ordinary processes: they bring the anchor back for as long as they live themselves."""

import pytest
from anchored_kit import ROUNDS, WORKERS, raised
from init_kit import SUPERVISORS, OpenrcInit, Runit
from live_pair import until

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.parametrize("init", SUPERVISORS, ids=repr)
def test_all_of_the_pair_is_killed_at_once(under, init):
    pair = under(init)
    pair.boot_whole()
    for _ in range(ROUNDS):
        before, births = pair.generations(), pair.birth_counts()
        pair.kill_at_once(pair.all_of_it)
        pair.wait_born(raised(before, "anchor", "a", "b", *WORKERS))
        pair.wait_at_work(*WORKERS)
        assert pair.birth_counts() == raised(births, *WORKERS)
    pair.wait_up()


@pytest.mark.parametrize("init", [*SUPERVISORS, Runit()], ids=repr)
def test_killed_with_the_pair_it_brings_nothing_back(under, init):
    """What is PID 1 in this machine ends with its last child: nobody was there to start anything.

    runit(8) is PID 1 and lives, but takes the death of its stage 2 for an order to switch off.
    """
    pair = under(init)
    machine = pair.boot_whole()
    births = pair.birth_counts()
    machine.nuke()
    until(machine.is_over, "the machine is over")
    assert pair.birth_counts() == births


def test_openrc_init_starts_no_supervisor_again(under):
    """PID 1 lives, and all it does is to collect."""
    pair = under(OpenrcInit())
    machine = pair.boot_whole()
    births = pair.birth_counts()
    machine.nuke()
    until(lambda: not machine.processes(), "PID 1 is alone")
    assert not machine.is_over()
    assert pair.birth_counts() == births


@pytest.mark.parametrize("init", SUPERVISORS, ids=repr)
def test_through_it_everything_ends(under, init):
    pair = under(init)
    machine = pair.boot_whole()
    before, births = pair.generations(), pair.birth_counts()
    init.stop(machine)
    assert pair.all_of_it() == []
    assert pair.status()["state"] == "down"
    init.start(machine)
    pair.wait_born(raised(before, "anchor", "a", "b", *WORKERS))
    pair.wait_at_work(*WORKERS)
    assert pair.birth_counts() == raised(births, *WORKERS)
