"""Every interleaving of small scenes within a bound: no promise is broken in any, and each scene's mutant is found."""

import pytest
from schedule_scenes import MUTANTS, SCENES
from virtual.explorer import Bound, explore

pytestmark = pytest.mark.timeout(900)
BY_NAME = {scene.name: scene for scene in SCENES}


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("bound", ["in order", "within its bound"])
def test_no_schedule_breaks_a_promise(name, bound):
    scene = BY_NAME[name]
    for limit in [Bound(0, 0)] if bound == "in order" else scene.bounds:
        report = explore(scene, bound=limit)
        ends = ", ".join(f"{count} {end[2:]}" for end, count in sorted(report.ends.items()))
        print(
            f"{name}: {limit.preemptions} preemptions, {limit.kills} kills: {report.schedules} schedules: {ends}"
        )
        assert report.is_complete
        assert not report.complaints, report.complaints[0]


@pytest.mark.long
@pytest.mark.parametrize("name", BY_NAME)
def test_no_schedule_breaks_a_promise_within_a_wider_bound(name):
    report = explore(BY_NAME[name], bound=BY_NAME[name].wide)
    print(f"{name}: {report.schedules} schedules")
    assert report.is_complete
    assert not report.complaints, report.complaints[0]


@pytest.mark.parametrize("name", MUTANTS)
def test_its_mutant_is_found(name):
    scene = BY_NAME[name]
    found = []
    for bound in scene.bounds:
        found += explore(scene, bound=bound, mutate=MUTANTS[name], stops_at_first=True).complaints
    print(f"{name}: {found[0][0] if found else 'nothing'}")
    assert found
