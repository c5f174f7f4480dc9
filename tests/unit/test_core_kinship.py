"""Who is dragged along by a death, who waits for whom, and when a group gives up."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core import kinship
from twinwatch.core.kinship import Member, kin_of
from twinwatch.core.record import Slot
from twinwatch.core.spec import Group, Limit, Strategy
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import NO_PROCESS, Desired, Ending, Exit, ExitKind, Phase, Stage

NAMES = ("a1", "b1", "c1")
BORN_NS, DIED_NS, NOW_NS = 100, 200, 300
ALL, REST, ONE = Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ONE


def group(strategy: Strategy = ALL, limit: Limit | None = None) -> Group:
    return Group("g", NAMES, strategy, limit)


def running(index: int, **fields: object) -> Member:
    slot = Slot(
        NAMES[index],
        phase=Phase.RUNNING,
        desired=Desired.RUN,
        generation=4,
        born_ns=BORN_NS,
        exit=Exit(ExitKind.SIGNAL, 3),
    )
    return Member(index, index, replace(slot, **fields))


def dead(index: int, exit_fields: dict[str, object] | None = None, **fields: object) -> Member:
    """One that crashed and is over."""
    end = replace(Exit(ExitKind.SIGNAL, 4, signal=9, at_ns=DIED_NS), **(exit_fields or {}))
    return running(index, **{"phase": Phase.STOPPING, "exit": end, **fields})


def dragged(index: int) -> Member:
    """One that was dragged along, and is over."""
    return dead(index, {"ending": Ending.GROUP}, ending=Ending.GROUP, end_generation=4)


def others(own: int) -> list[Member]:
    return [running(index) for index in range(3) if index != own]


# ---------------------------------------------------------------- who is dragged


@pytest.mark.parametrize(
    ("strategy", "own", "taken"),
    [
        (ONE, 0, ()),
        (ONE, 1, ()),
        (REST, 0, (1, 2)),
        (REST, 1, (2,)),
        (REST, 2, ()),
        (ALL, 0, (1, 2)),
        (ALL, 1, (0, 2)),
        (ALL, 2, (0, 1)),
    ],
)
def test_whom_a_death_takes_along(strategy, own, taken):
    assert kin_of(group(strategy), dead(own), others(own), NOW_NS).to_drag == taken


def test_instances_of_one_worker():
    """All others are taken by one_for_all, also those of its own worker; these are not after it."""
    twin = Member(5, 1, running(1).slot)
    assert kin_of(group(ALL), dead(1), [running(0), twin, running(2)], NOW_NS).to_drag == (0, 5, 2)
    assert kin_of(group(REST), dead(1), [running(0), twin, running(2)], NOW_NS).to_drag == (2,)


@pytest.mark.parametrize(
    "spared",
    [
        {"born_ns": DIED_NS},  # born again already
        {"born_ns": DIED_NS + 1},
        {"desired": Desired.STOP},
        {"desired": Desired.PAUSE},
        {"end_generation": 4},  # told already
        {"exit": Exit(ExitKind.CLEAN, 4)},  # over
        *({"phase": phase} for phase in sorted(NO_PROCESS)),
    ],
    ids=str,
)
def test_who_is_spared(spared):
    assert kin_of(group(), dead(0), [running(1, **spared), running(2)], NOW_NS).to_drag == (2,)


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.RUNNING, Phase.STOPPING])
def test_whoever_has_a_process_is_taken(phase):
    assert kin_of(group(), dead(0), [running(1, phase=phase)], NOW_NS).to_drag == (1,)


@pytest.mark.parametrize(
    "end",
    [
        {"ending": Ending.GROUP},
        {"ending": Ending.GATED},
        {"kind": ExitKind.EXEC_FAILED, "stage": Stage.GATE},
        {"kind": ExitKind.EXEC_FAILED, "stage": Stage.TOKEN},
        *({"ending": ending} for ending in (Ending.STOP, Ending.RESTART, Ending.RELOAD, Ending.AGE)),
    ],
    ids=str,
)
def test_whose_end_drags_nobody(end):
    """One that was dragged itself, an order, and a birth that came to nothing because a watcher was killed."""
    assert kin_of(group(), dead(0, end), others(0), NOW_NS).to_drag == ()


@pytest.mark.parametrize("fields", [{"desired": Desired.STOP}, {"end_generation": 4}], ids=str)
def test_one_that_is_told_to_stop_or_to_start_anew_drags_nobody(fields):
    assert kin_of(group(), dead(0, **fields), others(0), NOW_NS).to_drag == ()


@pytest.mark.parametrize(
    "end", [{"kind": ExitKind.EXEC_FAILED, "stage": Stage.EXEC}, {"ending": Ending.UNHEALTHY}], ids=str
)
def test_whose_end_drags_others(end):
    assert kin_of(group(), dead(0, end), others(0), NOW_NS).to_drag == (1, 2)


def test_a_living_one_drags_nobody():
    seen = kin_of(group(limit=Limit(0, SECOND_NS)), running(0), others(0), NOW_NS)
    assert (seen.to_drag, seen.ending, seen.exceeded) == ((), False, "")


# ---------------------------------------------------------------- who waits


def test_the_first_to_die_waits_until_all_have_ended():
    ending = running(2, ending=Ending.GROUP, end_generation=4)
    for phase in (Phase.RUNNING, Phase.STOPPING):
        there = replace(ending, slot=replace(ending.slot, phase=phase))
        assert kin_of(group(), dead(0), [dragged(1), there], NOW_NS).ending
    assert not kin_of(group(), dead(0), [dragged(1), dragged(2)], NOW_NS).ending


def test_nobody_waits_for_one_that_ends_for_another_reason():
    leaving = running(1, phase=Phase.STOPPING, ending=Ending.STOP, desired=Desired.STOP)
    assert not kin_of(group(), dead(0), [leaving], NOW_NS).ending


WAITING = [
    dragged(2),  # told, and has ended; whoever told it was killed before it told b1
    dead(2, phase=Phase.BACKOFF),
    dead(2, phase=Phase.STOPPED),
    dead(2, {"ending": Ending.RESTART}),
]


@pytest.mark.parametrize("own", WAITING, ids=lambda own: f"{own.slot.phase.name}-{own.slot.exit.ending.name}")
def test_nobody_is_born_while_others_are_still_to_be_told(own):
    """a1 has died, and its hook runs: b1 is yet to be told."""
    assert kin_of(group(), own, [dead(0), running(1)], NOW_NS).ending
    assert not kin_of(group(), own, [dead(0), dragged(1)], NOW_NS).ending
    assert not kin_of(group(), own, [running(0), running(1)], NOW_NS).ending
    assert not kin_of(group(ONE), own, [dead(0), running(1)], NOW_NS).ending


@pytest.mark.parametrize("phase", [Phase.BACKOFF, Phase.FATAL, Phase.STOPPED])
def test_nobody_waits_for_one_that_drags_no_more(phase):
    assert not kin_of(group(), dragged(2), [dead(0, phase=phase), running(1)], NOW_NS).ending


def test_two_that_are_started_anew_do_not_wait_for_each_other():
    for fields in ({"end_generation": 4}, {"exit_fields": {"ending": Ending.RESTART}}):
        both = [dead(1, **fields), dead(2, **fields)]
        for own, other in (both, both[::-1]):
            assert not kin_of(group(), own, [running(0), other], NOW_NS).ending


def test_two_that_died_do_not_wait_for_each_other():
    both = [dead(0), dead(1, {"at_ns": DIED_NS + 1})]
    for own, other in (both, both[::-1]):
        seen = kin_of(group(), own, [other, dragged(2)], NOW_NS)
        assert (seen.to_drag, seen.ending) == ((), False)


# ---------------------------------------------------------------- when it gives up


@pytest.mark.parametrize(
    ("ages", "gives_up"),
    [
        (((), (), ()), False),
        (((9,), (8,), ()), False),
        (((9,), (8,), (7,)), True),
        (((9, 8, 7), (), ()), True),
        (((10, 9), (8,), ()), False),  # the oldest has just left the window
        (((100, 50), (9, 8), (7,)), True),
    ],
)
def test_restarts_of_all_members_are_counted_together(ages, gives_up):
    limit = Limit(3, 10)
    slots = [dead(0), running(1), running(2)]
    for at, member in enumerate(slots):
        births = tuple(NOW_NS - age for age in ages[at])
        slots[at] = replace(member, slot=replace(member.slot, births_ns=births))
    said = kin_of(group(limit=limit), slots[0], slots[1:], NOW_NS).exceeded
    assert bool(said) is gives_up
    assert not said or said == "more than 3 restarts of group g within 1e-08 s"
    assert not kin_of(group(), slots[0], slots[1:], NOW_NS).exceeded, "no limit"


@pytest.mark.parametrize(
    ("phase", "ending", "gave_up"),
    [(phase, ending, phase is Phase.FATAL) for phase, ending in product(Phase, [Ending.GROUP])]
    + [(Phase.FATAL, ending, False) for ending in Ending if ending is not Ending.GROUP],
)
def test_who_gave_up_with_the_group(phase, ending, gave_up):
    other = dead(1, {"ending": ending}, phase=phase)
    assert kinship.has_given_up(other.slot) is gave_up
    assert kin_of(group(), running(0), [running(2), other], NOW_NS).gave_up is gave_up
    assert kin_of(group(), dead(0), [other], NOW_NS).gave_up is gave_up


# ---------------------------------------------------------------- any group


MEMBER = st.builds(
    Slot,
    st.sampled_from(NAMES),
    phase=st.sampled_from(Phase),
    desired=st.sampled_from(Desired),
    ending=st.sampled_from(Ending),
    generation=st.integers(0, 2),
    end_generation=st.integers(0, 2),
    born_ns=st.integers(0, 3),
    exit=st.builds(
        Exit,
        st.sampled_from(ExitKind),
        st.integers(0, 2),
        stage=st.sampled_from(Stage),
        ending=st.sampled_from(Ending),
        at_ns=st.integers(0, 3),
    ),
)


@given(st.sampled_from(Strategy), st.lists(MEMBER, min_size=2, max_size=4))
def test_only_living_ones_born_before_are_ever_taken(strategy, slots):
    members = [Member(index, NAMES.index(slot.name), slot) for index, slot in enumerate(slots)]
    own, rest = members[0], members[1:]
    for index in kin_of(group(strategy), own, rest, NOW_NS).to_drag:
        taken = members[index]
        assert taken is not own
        assert taken.is_there
        assert taken.slot.born_ns < own.slot.exit.at_ns
        assert strategy is ALL or (strategy is REST and taken.rank > own.rank)


@given(st.sampled_from(Strategy), st.lists(MEMBER, min_size=2, max_size=4))
def test_whoever_is_told_is_not_told_twice(strategy, slots):
    members = [Member(index, NAMES.index(slot.name), slot) for index, slot in enumerate(slots)]
    for index in kin_of(group(strategy), members[0], members[1:], NOW_NS).to_drag:
        slot = members[index].slot
        told = replace(slot, end_generation=slot.generation, ending=Ending.GROUP)
        members[index] = replace(members[index], slot=told)
    assert kin_of(group(strategy), members[0], members[1:], NOW_NS).to_drag == ()
