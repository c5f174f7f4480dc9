"""cron has no child to watch: it starts the anchor once a minute, and all but the first find that one lives."""

import pytest
from anchored_kit import WORKERS, raised
from init_kit import Cron
from live_pair import PATIENCE_S

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(240)]

MINUTE_S = 60


def test_all_but_pid_1_are_killed_at_one_instant(under):
    pair = under(Cron())
    machine = pair.boot()
    job = pair.init.job(machine)
    first = f"exec >/dev/null 2>&1; {job}"  # the first minute comes by hand
    machine.run("setsid", "--fork", "sh", "-c", first)
    pair.wait_born(dict.fromkeys(("anchor", "a", "b", *WORKERS), 1))
    pair.wait_at_work(*WORKERS)
    before, births = pair.generations(), pair.birth_counts()
    machine.nuke()
    pair.wait_born(raised(before, "anchor", "a", "b", *WORKERS), MINUTE_S + PATIENCE_S)
    pair.wait_at_work(*WORKERS)
    assert pair.birth_counts() == raised(births, *WORKERS)
    before = pair.generations()
    machine.run("sh", "-c", job, check=False)
    assert pair.generations() == before
    pair.wait_up()
