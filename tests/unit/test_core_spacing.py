"""How fast a twin may be born again."""

from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core import spacing
from twinwatch.core.spacing import BURST, SPACE_NS, WITHIN_NS, not_before_ns
from twinwatch.core.spec import RESTART_LIMIT_MAX

NOW_NS = 10**15


def test_a_burst_is_at_once():
    assert not_before_ns((), NOW_NS) == NOW_NS
    assert not_before_ns((NOW_NS,) * (BURST - 1), NOW_NS) == NOW_NS


def test_then_it_is_spaced():
    assert not_before_ns((NOW_NS,) * BURST, NOW_NS) == NOW_NS + SPACE_NS
    assert not_before_ns((NOW_NS - SPACE_NS,) * BURST, NOW_NS) == NOW_NS


def test_old_births_are_forgotten():
    assert not_before_ns((NOW_NS - WITHIN_NS,) * RESTART_LIMIT_MAX, NOW_NS) == NOW_NS


def test_a_record_remembers_enough():
    assert BURST <= RESTART_LIMIT_MAX


@given(st.lists(st.integers(0, 2 * WITHIN_NS), max_size=RESTART_LIMIT_MAX))
def test_it_is_never_given_up(ages):
    births = tuple(sorted(NOW_NS - age for age in ages))
    due_ns = not_before_ns(births, NOW_NS)
    assert NOW_NS <= due_ns <= NOW_NS + SPACE_NS
    assert not_before_ns(births, due_ns) == due_ns


def test_a_storm_is_bounded():
    """A twin that dies at once, for a minute: the burst, and then two births a second."""
    births, now_ns = [], NOW_NS
    while now_ns < NOW_NS + 6 * WITHIN_NS:
        now_ns = spacing.not_before_ns(tuple(births[-RESTART_LIMIT_MAX:]), now_ns)
        births.append(now_ns)
        now_ns += 1_000_000
    assert BURST <= len(births) <= 6 * (BURST + WITHIN_NS // SPACE_NS)
