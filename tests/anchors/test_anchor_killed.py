"""The anchor alone is killed, again and again: its init brings it back, and the pair has noticed nothing."""

import signal

import pytest
from anchored_kit import raised
from init_kit import PID_ONES, S6, Runsvdir, Svscan, Systemd, Sysvinit
from live_pair import until
from machine_kit import command_of

from twinwatch.linux import process

pytestmark = [pytest.mark.root, pytest.mark.slow]

KILLS = 3  # most inits leave a second between two starts
STORM = 30  # with the default of systemd the fifth would be the last
SYSVINIT_STARTS = 10  # within two minutes; then its line is switched off for five


class Calm:
    """What of a pair must not have changed when this ends."""

    def __init__(self, pair) -> None:
        self._pair = pair
        self._before = self._look()

    def _look(self):
        pair = self._pair
        others = {label: n for label, n in pair.generations().items() if label != "anchor"}
        return others, pair.pids(), pair.birth_counts()

    def assert_kept(self) -> None:
        assert self._look() == self._before


@pytest.mark.parametrize("init", PID_ONES, ids=repr)
def test_its_init_brings_it_back(under, init):
    pair = under(init)
    pair.boot_whole()
    calm = Calm(pair)
    for _ in range(KILLS):
        pair.kill_anchor()
    calm.assert_kept()
    pair.wait_up()


def test_systemd_never_gives_up(under):
    pair = under(Systemd())
    machine = pair.boot_whole()
    calm = Calm(pair)
    for _ in range(STORM):
        pair.kill_anchor()
    calm.assert_kept()
    assert int(pair.init.show(machine, "NRestarts")) == STORM
    until(lambda: pair.init.show(machine, "ActiveState") == "active", "the unit is active")


def test_sysvinit_pauses_and_the_pair_lives_without_it(under):
    """`telinit q` ends the pause."""
    pair = under(Sysvinit())
    machine = pair.boot_whole()
    calm = Calm(pair)
    for _ in range(SYSVINIT_STARTS - 1):
        pair.kill_anchor()
    (anchor,) = pair.anchors()
    process.end(anchor)
    until(lambda: pair.init.has_paused(machine), "init has switched the line off")
    calm.assert_kept()
    assert not pair.anchors()
    before = pair.generations()
    for label in "ab":
        process.end(pair.watcher(label))
        pair.wait_born(raised(before, label))
    machine.run("telinit", "q")
    pair.wait_born(raised(before, "anchor"))
    pair.wait_up()


@pytest.mark.parametrize(
    ("init", "supervisor"),
    [(Runsvdir(), "runsv"), (S6(), "s6-supervise"), (Svscan(), "supervise")],
    ids=["Runsvdir", "S6", "Svscan"],
)
def test_what_stands_between_is_killed(under, init, supervisor):
    """The anchor lives on. Its supervisor's successor starts another one, which leaves: nothing runs twice."""
    pair = under(init)
    machine = pair.boot_whole()
    calm, before, anchors = Calm(pair), pair.generations(), pair.anchors()
    (between,) = [identity for identity in machine.processes() if command_of(identity)[:1] == [supervisor]]
    process.end(between)
    until(lambda: "another anchor of pair shop lives" in machine.log.read_text(), "a second anchor has left")
    calm.assert_kept()
    assert anchors[0] in pair.anchors()
    assert pair.generations() == before
    process.end(anchors[0], signal.SIGQUIT)
    pair.wait_born(raised(before, "anchor"))
    calm.assert_kept()
    pair.wait_up()
