"""Whether the twin stands still, or the judge was late."""

from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core.judge import Suspicion, is_hung, observe

INTERVAL_NS = 500
TIMEOUT_NS = 2000
HOUR_NS = 3600 * 10**9


def watch(ticks, start: Suspicion = Suspicion()) -> list[bool]:  # noqa: B008 - a frozen value
    """`ticks` are (time, generation, sequence); the verdict after each."""
    verdicts, suspicion = [], start
    for now_ns, generation, sequence in ticks:
        suspicion = observe(
            suspicion, generation, sequence, now_ns=now_ns, interval_ns=INTERVAL_NS, timeout_ns=TIMEOUT_NS
        )
        verdicts.append(is_hung(suspicion, TIMEOUT_NS))
    return verdicts


def test_a_beating_twin_is_never_convicted():
    assert not any(watch((n * INTERVAL_NS, 1, n) for n in range(100)))


def test_a_steady_hang_is_convicted():
    verdicts = watch((n * INTERVAL_NS, 1, 7) for n in range(100))
    first = verdicts.index(True)
    assert TIMEOUT_NS // INTERVAL_NS <= first <= TIMEOUT_NS // INTERVAL_NS + 2
    assert all(verdicts[first:])


@given(st.lists(st.integers(INTERVAL_NS + INTERVAL_NS // 2 + 1, HOUR_NS), max_size=200))
def test_a_judge_that_is_always_late_convicts_nobody(pauses):
    now_ns, ticks = 0, []
    for pause in pauses:
        now_ns += pause
        ticks.append((now_ns, 1, 7))
    assert not any(watch(ticks))


@given(st.lists(st.tuples(st.integers(1, 3 * INTERVAL_NS), st.booleans()), max_size=300))
def test_a_verdict_follows_only_on_counted_ticks(ticks):
    """Never fewer on-time ticks without a beat than the time limit is intervals; never after a late one."""
    suspicion, now_ns, sequence, still, on_time_row = Suspicion(), HOUR_NS, 0, 0, 0
    for pause, beats in ticks:
        now_ns += pause
        sequence += beats
        suspicion = observe(
            suspicion, 1, sequence, now_ns=now_ns, interval_ns=INTERVAL_NS, timeout_ns=TIMEOUT_NS
        )
        late = pause > INTERVAL_NS * 3 // 2
        on_time_row = 0 if late else on_time_row + 1
        still = 0 if beats else still + (not late)
        if is_hung(suspicion, TIMEOUT_NS):
            assert still * INTERVAL_NS >= TIMEOUT_NS
            assert on_time_row >= 2


def test_freeze_and_thaw_of_both():
    """After an hour in which neither ran, the twin has two on-time intervals of the judge to beat."""
    before = [(n * INTERVAL_NS, 1, n) for n in range(10)]
    thaw_ns = 9 * INTERVAL_NS + HOUR_NS
    after = [(thaw_ns, 1, 9), (thaw_ns + INTERVAL_NS, 1, 9), (thaw_ns + 2 * INTERVAL_NS, 1, 10)]
    assert not any(watch(before + after))


def test_freeze_in_the_middle_of_a_suspicion():
    """After a freeze that is longer than the time limit all counts anew: the twin may thaw later."""
    start = watch_state([(n * INTERVAL_NS, 1, 7) for n in range(4)])
    thaw_ns = 3 * INTERVAL_NS + HOUR_NS
    ticks = [(thaw_ns + n * INTERVAL_NS, 1, 7) for n in range(10)]
    verdicts = watch(ticks, start)
    first = verdicts.index(True)
    assert first >= TIMEOUT_NS // INTERVAL_NS


def test_a_judge_that_was_a_little_late_goes_on_with_its_count():
    start = watch_state([(n * INTERVAL_NS, 1, 7) for n in range(4)])
    late_ns = 3 * INTERVAL_NS + TIMEOUT_NS
    late = observe(start, 1, 7, now_ns=late_ns, interval_ns=INTERVAL_NS, timeout_ns=TIMEOUT_NS)
    assert late.still_ns == start.still_ns
    assert not is_hung(late, TIMEOUT_NS)


def watch_state(ticks) -> Suspicion:
    suspicion = Suspicion()
    for now_ns, generation, sequence in ticks:
        suspicion = observe(
            suspicion, generation, sequence, now_ns=now_ns, interval_ns=INTERVAL_NS, timeout_ns=TIMEOUT_NS
        )
    return suspicion


def test_a_new_generation_starts_anew():
    """Also one whose sequence happens to be the same."""
    ticks = [(n * INTERVAL_NS, 1, 7) for n in range(4)] + [(n * INTERVAL_NS, 2, 7) for n in range(4, 8)]
    assert not any(watch(ticks))
    assert watch_state(ticks[:5]).still_ns == 0


def test_a_sequence_that_goes_back_is_a_sign_of_life():
    assert not any(watch((n * INTERVAL_NS, 1, 100 - n) for n in range(50)))


def test_the_time_since_its_last_beat_counts_but_no_more_than_an_interval_of_it():
    for ago_ns, counted_ns in (
        (0, 0),
        (200, 200),
        (INTERVAL_NS, INTERVAL_NS),
        (HOUR_NS, INTERVAL_NS),
        (-5, 0),
    ):
        start = Suspicion(1, 6, on_time=9, last_tick_ns=HOUR_NS)
        now_ns = HOUR_NS + INTERVAL_NS
        seen = observe(
            start,
            1,
            7,
            now_ns=now_ns,
            interval_ns=INTERVAL_NS,
            timeout_ns=TIMEOUT_NS,
            beat_ns=now_ns - ago_ns,
        )
        assert seen.still_ns == counted_ns


def test_a_late_judge_does_not_count_it():
    start = Suspicion(1, 6, on_time=9, last_tick_ns=HOUR_NS)
    now_ns = HOUR_NS + 2 * INTERVAL_NS
    seen = observe(
        start,
        1,
        7,
        now_ns=now_ns,
        interval_ns=INTERVAL_NS,
        timeout_ns=TIMEOUT_NS,
        beat_ns=now_ns - INTERVAL_NS,
    )
    assert seen.still_ns == 0


def test_a_tick_that_comes_early_counts_no_more_than_the_time_that_has_passed():
    start = Suspicion(1, 7, on_time=9, last_tick_ns=HOUR_NS)
    seen = observe(start, 1, 7, now_ns=HOUR_NS + 100, interval_ns=INTERVAL_NS, timeout_ns=TIMEOUT_NS)
    assert seen.still_ns == 100
