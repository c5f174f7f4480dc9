"""The compare of the protocol, and the record of a won claim."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core import fence
from twinwatch.core.fence import Claim
from twinwatch.core.record import Header, Slot
from twinwatch.core.spec import RESTART_LIMIT_MAX
from twinwatch.core.values import Desired, Ending, Exit, ExitKind, Identity, Phase, Role

HEADER = Header(
    "p", bytes(16), bytes(16), 1, Identity(), 0, "/x", 1, 2, config_generation=5, desired=Desired.RUN
)
OWN = Slot("a", phase=Phase.RUNNING, generation=3)
SLOT = Slot("w", phase=Phase.STOPPED, desired=Desired.RUN, generation=7, exit=Exit(ExitKind.CLEAN, 7))
CLAIM = Claim(generation=7, config_generation=5, by=Role.A, by_generation=3)
GUEST = Claim(generation=7, config_generation=5, by=Role.GUEST)
CHILD = Identity(42, 4711, 99, b"handle")


def test_what_is_as_it_was_seen_is_won():
    assert fence.objection(CLAIM, HEADER, OWN, SLOT) is None
    assert fence.objection(GUEST, HEADER, None, SLOT) is None


@pytest.mark.parametrize(
    ("changed", "objection"),
    [
        ({"header": replace(HEADER, moved=True)}, "moved"),
        ({"header": replace(HEADER, desired=Desired.STOP)}, "to be down"),
        ({"header": replace(HEADER, config_generation=6)}, "configuration"),
        ({"slot": replace(SLOT, desired=Desired.STOP)}, "not to run"),
        ({"slot": replace(SLOT, desired=Desired.PAUSE)}, "not to run"),
        ({"slot": replace(SLOT, generation=8)}, "newer generation"),
        ({"slot": replace(SLOT, generation=6)}, "newer generation"),
        ({"own": replace(OWN, generation=4)}, "fenced"),
        ({"own": replace(OWN, generation=2)}, "fenced"),
    ],
)
def test_each_objection_alone(changed, objection):
    found = {"header": HEADER, "own": OWN, "slot": SLOT} | changed
    assert objection in fence.objection(CLAIM, **found)


@pytest.mark.parametrize("field", ["generation", "config_generation", "by_generation"])
def test_each_number_of_a_claim_counts(field):
    assert fence.objection(replace(CLAIM, **{field: 99}), HEADER, OWN, SLOT)


def test_a_guest_is_not_fenced():
    assert fence.objection(replace(GUEST, by_generation=99), HEADER, None, SLOT) is None


NUMBER = st.integers(0, 3)


WISH = st.sampled_from(Desired)


@given(
    st.tuples(NUMBER, NUMBER, NUMBER), st.tuples(NUMBER, NUMBER, NUMBER), st.tuples(WISH, WISH), st.booleans()
)
def test_won_means_nothing_moved(true, seen, wishes, moved):
    (slot_gen, config, own_gen), (saw, saw_config, was), (slot_wish, pair_wish) = true, seen, wishes
    lost = fence.objection(
        Claim(saw, saw_config, Role.A, was),
        replace(HEADER, config_generation=config, desired=pair_wish, moved=moved),
        replace(OWN, generation=own_gen),
        replace(SLOT, generation=slot_gen, desired=slot_wish),
    )
    same = (slot_gen, config, own_gen) == (saw, saw_config, was)
    assert (lost is None) == (same and not moved and slot_wish is pair_wish is Desired.RUN)


# ---------------------------------------------------------------- the record of a won claim


def test_the_record_of_generation_n_plus_1():
    before = replace(
        SLOT,
        ending=Ending.RESTART,
        killed=True,
        ready=True,
        health=3,
        failures=2,
        restarts=4,
        end_generation=6,
    )
    slot = fence.born(before, CLAIM, CHILD, now_ns=100, until_ns=200, birth_hash=12, is_restart=True)
    assert slot == replace(
        before,
        generation=8,
        phase=Phase.STARTING,
        owner=Role.A,
        owner_generation=3,
        config_generation=5,
        birth_hash=12,
        identity=CHILD,
        born_ns=100,
        until_ns=200,
        ending=Ending.NONE,
        killed=False,
        ready=False,
        health=0,
        restarts=5,
        births_ns=(100,),
    )
    assert not slot.is_over


def test_a_first_birth_is_no_restart():
    slot = fence.born(SLOT, CLAIM, CHILD, now_ns=100)
    assert (slot.restarts, slot.births_ns) == (0, ())


def test_births_are_remembered_up_to_a_bound():
    slot = SLOT
    for now_ns in range(RESTART_LIMIT_MAX + 10):
        slot = fence.born(slot, CLAIM, CHILD, now_ns=now_ns, is_restart=True)
    assert slot.births_ns == tuple(range(10, RESTART_LIMIT_MAX + 10))
    assert slot.generation == SLOT.generation + RESTART_LIMIT_MAX + 10
