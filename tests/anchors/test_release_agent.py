"""The kernel brings the pair back: no process calls it that could be killed."""

from collections.abc import Iterator

import pytest
from anchored_kit import ROUNDS, WORKERS, Anchored, raised
from kernel_kit import TOP, Kernel, LackingError, remove_all, start, sweep, wait_done
from live_pair import until

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture
def pair(under) -> Iterator[Anchored]:
    sweep()
    made = under(Kernel())
    made.boot()
    try:
        start(made)
        yield made
    except LackingError as lack:
        pytest.skip(f"kernel lacks {lack}")
    finally:
        remove_all(made)


def test_everything_is_killed_at_one_instant(pair):
    for _ in range(ROUNDS):
        before, births = pair.generations(), pair.birth_counts()
        pair.machine.nuke()
        pair.wait_born(raised(before, "a", "b", *WORKERS))
        pair.wait_at_work(*WORKERS)
        wait_done(pair)
        assert pair.birth_counts() == raised(births, *WORKERS)


def test_all_guards_are_killed_and_the_workers_live_on(pair):
    """Workers are not in the cgroup of the guards: it is empty without them."""
    workers, births = pair.pids(), pair.birth_counts()
    for _ in range(ROUNDS):
        before = pair.generations()
        pair.kill_at_once(pair.guards)
        pair.wait_born(raised(before, "a", "b"))
        wait_done(pair)
    assert pair.pids() == workers
    assert pair.birth_counts() == births


def test_down_by_a_person(pair):
    """The kernel calls, and is told that nobody is wanted: it calls no more until a person says `up`."""
    before, births = pair.generations(), pair.birth_counts()
    pair.down()
    armed = pair.machine.path(f"{TOP}/{pair.name}/notify_on_release")
    until(lambda: armed.read_text() == "0\n", "the kernel is not to call any more")
    assert pair.all_of_it() == []
    assert pair.birth_counts() == births
    pair.up()
    pair.wait_at_work(*WORKERS)
    assert armed.read_text() == "1\n"
    wait_done(pair)
    pair.machine.nuke()
    labels = ("a", "b", *WORKERS)
    pair.wait_born({label: before[label] + 2 for label in labels})
