"""Everything of the pair is killed at one instant: the init brings the anchor back, the anchor the pair."""

import pytest
from anchored_kit import ROUNDS, WORKERS, raised
from init_kit import PID_ONES, Systemd

pytestmark = [pytest.mark.root, pytest.mark.slow]


def strike_and_recover(pair, strike) -> None:
    """Each worker begins once more, and no more often; that none ran twice is asserted when the test ends."""
    before, births = pair.generations(), pair.birth_counts()
    strike()
    pair.wait_born(raised(before, "anchor", "a", "b", *WORKERS))
    pair.wait_at_work(*WORKERS)
    assert pair.birth_counts() == raised(births, *WORKERS)


@pytest.mark.parametrize("init", PID_ONES, ids=repr)
def test_all_but_pid_1_are_killed_at_one_instant(under, init):
    """kill(-1, SIGKILL): also what the init has put between itself and the anchor (runsv, s6-supervise)."""
    pair = under(init)
    machine = pair.boot_whole()
    for _ in range(ROUNDS):
        init.calm(machine)
        strike_and_recover(pair, machine.nuke)
    pair.wait_up()


def test_the_cgroup_of_the_unit_is_killed(under):
    pair = under(Systemd())
    machine = pair.boot_whole()
    unit = machine.cgroup / pair.init.show(machine, "ControlGroup").lstrip("/")
    for _ in range(ROUNDS):
        strike_and_recover(pair, lambda: (unit / "cgroup.kill").write_text("1"))
    pair.wait_up()


@pytest.mark.parametrize("init", PID_ONES, ids=repr)
def test_all_guards_are_killed_and_the_workers_live_on(under, init):
    """The next anchor gives birth to watchers, and these adopt."""
    pair = under(init)
    machine = pair.boot_whole()
    workers, births = pair.pids(), pair.birth_counts()
    for _ in range(ROUNDS):
        init.calm(machine)
        before = pair.generations()
        pair.kill_at_once(pair.guards)
        pair.wait_born(raised(before, "anchor", "a", "b"))
        after = pair.generations()
        assert {name: after[name] for name in WORKERS} == {name: before[name] for name in WORKERS}
    pair.wait_up()
    assert pair.pids() == workers
    assert pair.birth_counts() == births
