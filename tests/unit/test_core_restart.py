"""After an end: again, when, or never more."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core import restart
from twinwatch.core.record import Slot
from twinwatch.core.restart import Again, Enough, GiveUp
from twinwatch.core.spec import Backoff, Limit, OnUnknown, Policy, Restart
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.core.values import Ending, Exit, ExitKind, Phase, Stage

NOW_NS = 1000 * SECOND_NS
STEADY = Backoff(jitter=0.0)


def list_product(*columns):
    return list(product(*columns))


def ended(kind: ExitKind, **exit_fields: object) -> Slot:
    """A slot whose generation 1 lived for a second."""
    end = Exit(kind, 1, at_ns=NOW_NS, **exit_fields)
    return Slot("w", phase=Phase.STOPPING, generation=1, born_ns=NOW_NS - SECOND_NS, exit=end)


def after(slot: Slot, **terms: object) -> Again | Enough | GiveUp:
    return restart.after_exit(slot, Restart(**{"backoff": STEADY, **terms}), NOW_NS, 0.5)


KINDS = (ExitKind.CLEAN, ExitKind.ERROR, ExitKind.SIGNAL, ExitKind.EXEC_FAILED, ExitKind.UNKNOWN)
ENOUGH = {
    *((Policy.NEVER, kind) for kind in KINDS),
    (Policy.ON_FAILURE, ExitKind.CLEAN),
}


@pytest.mark.parametrize(("policy", "kind"), list_product(Policy, KINDS))
def test_policy_and_exit(policy, kind):
    expected = Enough if (policy, kind) in ENOUGH else Again
    assert type(after(ended(kind), policy=policy)) is expected


@pytest.mark.parametrize("policy", Policy)
def test_what_escaped_is_the_end_under_every_policy(policy):
    assert isinstance(after(ended(ExitKind.ESCAPED), policy=policy), GiveUp)


@pytest.mark.parametrize("policy", Policy)
def test_hold_on_unknown(policy):
    assert isinstance(after(ended(ExitKind.UNKNOWN), policy=policy, on_unknown=OnUnknown.HOLD), Enough)


@pytest.mark.parametrize(
    ("policy", "kind", "ending"),
    list_product(
        Policy, (*KINDS, ExitKind.ESCAPED), (Ending.RESTART, Ending.RELOAD, Ending.AGE, Ending.GROUP)
    ),
)
def test_what_was_asked_for_comes_at_once_and_counts_nothing(policy, kind, ending):
    """Also after an escape: its rest was ended, and a person wants it back."""
    answer = after(ended(kind, ending=ending), policy=policy, limit=Limit(0, SECOND_NS))
    assert answer == Again(0, 0, counts=False)


@pytest.mark.parametrize(
    ("policy", "kind", "ending"),
    list_product(Policy, KINDS, (Ending.UNREADY, Ending.UNHEALTHY)),
)
def test_a_convicted_one_had_failed_however_it_ended(policy, kind, ending):
    answer = after(ended(kind, ending=ending), policy=policy)
    assert isinstance(answer, Enough if policy is Policy.NEVER else Again)
    assert policy is Policy.NEVER or answer.counts
    held = after(ended(kind, ending=ending), policy=policy, limit=Limit(0, SECOND_NS))
    assert isinstance(held, Enough if policy is Policy.NEVER else GiveUp)


@pytest.mark.parametrize(("policy", "kind"), list_product(Policy, KINDS))
def test_who_signed_off_has_done_its_work(policy, kind):
    answer = after(replace(ended(kind), signed_off=True), policy=policy, limit=Limit(0, SECOND_NS))
    assert answer == Enough("it had signed off")


@pytest.mark.parametrize(
    ("ending", "expected"),
    [(Ending.RESTART, Again), (Ending.GROUP, Again), (Ending.UNHEALTHY, Again), (Ending.NONE, Enough)],
)
def test_who_signed_off_and_was_ended_by_us_comes_back(ending, expected):
    assert isinstance(after(replace(ended(ExitKind.CLEAN, ending=ending), signed_off=True)), expected)


def test_what_escaped_is_told_before_what_it_said():
    assert isinstance(after(replace(ended(ExitKind.ESCAPED), signed_off=True)), GiveUp)


@pytest.mark.parametrize(
    ("policy", "never_ran"),
    list_product(
        Policy,
        (
            ended(ExitKind.SIGNAL, signal=9, ending=Ending.GATED),
            ended(ExitKind.EXEC_FAILED, stage=Stage.GATE),
            ended(ExitKind.EXEC_FAILED, stage=Stage.TOKEN),
        ),
    ),
)
def test_no_policy_holds_back_what_never_ran(policy, never_ran):
    assert isinstance(after(never_ran, policy=policy, on_unknown=OnUnknown.HOLD), Again)
    assert restart.never_ran(never_ran.exit)


@pytest.mark.parametrize(
    "ran",
    [ended(kind) for kind in KINDS] + [ended(ExitKind.EXEC_FAILED, stage=Stage.HOOK)],
    ids=lambda slot: slot.exit.kind.name,
)
def test_what_ran_or_was_tried(ran):
    assert not restart.never_ran(ran.exit)


# ---------------------------------------------------------------- back-off


def test_the_sequence():
    backoff = replace(STEADY, initial_ns=100, max_ns=1000, factor=2.0, burst=3)
    delays = [restart.delay_ns(backoff, failures, 0.5) for failures in range(1, 10)]
    assert delays == [0, 0, 0, 100, 200, 400, 800, 1000, 1000]


def test_failures_are_counted_in_a_row():
    slot, seen = ended(ExitKind.ERROR, code=1), []
    for _ in range(6):
        answer = after(slot)
        seen.append((answer.failures, answer.delay_ns // MILLISECOND_NS, answer.counts))
        slot = replace(slot, failures=answer.failures)
    assert seen == [(1, 0, True), (2, 0, True), (3, 0, True), (4, 100, True), (5, 200, True), (6, 400, True)]


@pytest.mark.parametrize(("ran_ns", "failures"), [(10 * SECOND_NS - 1, 8), (10 * SECOND_NS, 1)])
def test_a_long_life_starts_a_new_row(ran_ns, failures):
    slot = replace(ended(ExitKind.ERROR), failures=7, born_ns=NOW_NS - ran_ns)
    assert after(slot).failures == failures


def test_a_program_that_cannot_start_gets_no_burst():
    answer = after(ended(ExitKind.EXEC_FAILED, stage=Stage.EXEC, code=2))
    assert (answer.failures, answer.delay_ns) == (STEADY.burst + 1, STEADY.initial_ns)


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**13),
    st.floats(1, 10),
    st.floats(0, 1),
    st.integers(0, 10),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1, exclude_max=True),
)
def test_jitter_stays_within_its_bounds(initial_ns, max_ns, factor, jitter, burst, failures, chance):  # noqa: PLR0917
    backoff = Backoff(initial_ns, max_ns, factor, jitter, burst=burst)
    delay_ns = restart.delay_ns(backoff, failures, chance)
    steady_ns = restart.delay_ns(replace(backoff, jitter=0.0), failures, chance)
    assert steady_ns <= max_ns
    assert steady_ns * (1 - jitter) - 1 <= delay_ns <= steady_ns * (1 + jitter) + steady_ns * 1e-9 + 1
    assert (delay_ns == 0) if failures <= burst else True


@given(st.integers(1, 200), st.floats(1, 10))
def test_delays_never_shrink(failures, factor):
    backoff = replace(STEADY, factor=factor)
    delays = [restart.delay_ns(backoff, failures + more, 0.5) for more in range(3)]
    assert delays == sorted(delays)


# ---------------------------------------------------------------- limit


LIMIT = Limit(restarts=3, within_ns=60 * SECOND_NS)


@pytest.mark.parametrize(
    ("ages_s", "expected"),
    [
        ((), Again),
        ((50, 40), Again),
        ((50, 40, 30), GiveUp),
        ((60, 50, 40), Again),  # the oldest has just left the window
        ((59.9, 50, 40), GiveUp),
        ((300, 200, 100, 50, 40), Again),
    ],
)
def test_the_window(ages_s, expected):
    births = tuple(NOW_NS - int(age * SECOND_NS) for age in ages_s)
    assert type(after(replace(ended(ExitKind.ERROR), births_ns=births), limit=LIMIT)) is expected


def test_an_end_that_is_enough_needs_no_limit():
    births = (NOW_NS,) * 10
    slot = replace(ended(ExitKind.CLEAN), births_ns=births)
    assert isinstance(after(slot, policy=Policy.ON_FAILURE, limit=LIMIT), Enough)
