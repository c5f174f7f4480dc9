"""What systemd tells the anchor, and what it hears from it."""

import pytest
from anchored_kit import WORKERS, raised
from init_kit import UNIT, Systemd
from live_pair import until

pytestmark = [pytest.mark.root, pytest.mark.slow]

INIT = Systemd()


def wait_active(machine) -> None:
    until(lambda: INIT.show(machine, "ActiveState") == "active", "the unit is active")


def test_the_unit_is_active_when_the_pair_is_whole(under):
    """READY=1, and a line about what is so."""
    pair = under(INIT)
    machine = pair.boot()
    wait_active(machine)
    assert pair.status()["state"] == "up"
    assert INIT.show(machine, "StatusText") == "up"
    (anchor,) = pair.anchors()
    assert machine.of_inside(int(INIT.show(machine, "MainPID"))) == anchor


def test_a_worker_that_is_not_ready_keeps_the_unit_waiting(under):
    pair = under(INIT)
    gate = pair.directory / "gate"
    ready = f"    ready: {{exec: [test, -e, {gate}], timeout: 100s}}\n"
    pair.configure(pair.lone("one", extra=ready))
    machine = pair.boot()
    until(lambda: "one" in INIT.show(machine, "StatusText"), "what it waits for is said")
    assert INIT.show(machine, "ActiveState") == "activating"
    gate.touch()
    wait_active(machine)


@pytest.mark.parametrize("keep", [True, False])
def test_restart(under, keep):
    """The workers go on if the configuration says so; `stop` ends them all the same."""
    pair = under(INIT)
    pair.configure_lone(f"anchor: {{keep_workers: {str(keep).lower()}}}\n")
    machine = pair.boot_whole()
    wait_active(machine)
    before, births = pair.slots(), pair.birth_counts()
    machine.run("systemctl", "restart", UNIT)
    pair.wait_up()
    pair.wait_at_work(*WORKERS)
    after = pair.slots()
    assert after["anchor"].identity != before["anchor"].identity
    for label in ("a", "b", *WORKERS):
        assert (after[label].identity == before[label].identity) is keep
    assert pair.birth_counts() == (births if keep else raised(births, *WORKERS))
    INIT.stop(machine)
    assert pair.all_of_it() == []


def test_reload(under):
    """A further worker is started; those that are there go on, and so does the anchor."""
    pair = under(INIT)
    machine = pair.boot_whole()
    wait_active(machine)
    before = pair.slots()
    pair.configure("".join(map(pair.lone, (*WORKERS, "three"))))
    machine.run("systemctl", "reload", UNIT)
    pair.wait_born({"three": 1})
    pair.wait_up()
    after = pair.slots()
    assert {label: after[label].identity for label in before} == {
        label: slot.identity for label, slot in before.items()
    }
    assert INIT.show(machine, "ActiveState") == "active"
