"""How many messages, when, and what is in them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core import grouping
from twinwatch.core.grouping import (
    PLACES_MAX,
    SHOWN_FIRST,
    SHOWN_LAST,
    TEXT_MAX,
    Window,
    add,
    bounded,
    due_ns,
    from_fields,
    take,
    to_fields,
)
from twinwatch.core.news import KINDS

MINUTE_NS = 60 * 10**9


def news(number: int, slot: str = "web") -> dict[str, object]:
    return {"event": "phase", "slot": slot, "number": number}


def run(arrivals, interval_ns: int = MINUTE_NS, end_ns: int = 10**15):
    """(time, kind) in order -> (time, group) of each message, by one that looks at each moment of interest."""
    window, sent, left = Window(), [], list(arrivals)
    now_ns = 0
    while now_ns < end_ns:
        while left and left[0][0] <= now_ns:
            window = add(window, left[0][1], news(left.pop(0)[0]))
        group, window = take(window, now_ns, interval_ns)
        if group:
            sent.append((now_ns, group))
        moments = [moment for moment in (due_ns(window), left[0][0] if left else None) if moment is not None]
        if not moments:
            break
        now_ns = max(now_ns, min(moments))
    return sent


def test_the_first_goes_out_at_once():
    assert [(at, group.count) for at, group in run([(5, "restarted")])] == [(5, 1)]


def test_what_comes_within_the_interval_is_one_message_at_its_end():
    sent = run([(number, "restarted") for number in range(1000)])
    assert [(at, group.count) for at, group in sent] == [(0, 1), (MINUTE_NS, 999)]
    assert sent[1][1].counts == {"web": {"restarted": 999}}


def test_after_a_quiet_interval_it_is_at_once_again():
    sent = run([(0, "exited"), (MINUTE_NS + 1, "exited")])
    assert [at for at, _ in sent] == [0, MINUTE_NS + 1]


def test_a_crash_loop_that_ends_fatal_is_two_messages_at_once():
    loop = [(number, "restarted") for number in range(1000)]
    sent = run([*loop, (1000, "fatal")])
    assert [(at, group.count, group.kind) for at, group in sent] == [
        (0, 1, "restarted"),
        (1000, 1000, "fatal"),
    ]


def test_a_hundred_fatal_ones_are_two_messages():
    sent = run([(number, "fatal") for number in range(100)])
    assert [(at, group.count) for at, group in sent] == [(0, 1), (MINUTE_NS, 99)]


@given(st.lists(st.tuples(st.integers(0, 10 * MINUTE_NS), st.sampled_from(KINDS)), max_size=60))
def test_nothing_is_lost_and_an_interval_has_at_most_two(arrivals):
    sent = run(sorted(arrivals, key=lambda arrival: arrival[0]))
    assert sum(group.count for _, group in sent) == len(arrivals)
    times = [at for at, _ in sent]
    assert all(late - early >= MINUTE_NS for early, late in zip(times, times[2:], strict=False))
    for _, group in sent:
        told = {kind for kinds in group.counts.values() for kind in kinds}
        assert group.kind == min(told, key=KINDS.index)


@pytest.mark.parametrize("count", [1, SHOWN_FIRST, SHOWN_FIRST + 1, SHOWN_FIRST + SHOWN_LAST, 1000])
def test_the_first_and_the_last_are_kept(count):
    window = Window()
    for number in range(count):
        window = add(window, "restarted", news(number))
    assert window.group is not None
    numbers = [event["number"] for event in window.group.events]
    shown = [*range(min(count, SHOWN_FIRST)), *range(max(SHOWN_FIRST, count - SHOWN_LAST), count)]
    assert numbers == shown
    assert window.group.count == count


def test_however_much_comes_it_stays_small():
    window = Window()
    for number in range(5000):
        window = add(window, KINDS[number % 3], news(number, f"w{number}") | {"reason": "x" * 10_000})
    group = window.group
    assert group is not None
    assert group.count == 5000
    assert sum(map(len, group.counts.values())) == PLACES_MAX
    assert group.others == 5000 - PLACES_MAX
    assert len(json.dumps(to_fields(window))) < 2 * TEXT_MAX * (SHOWN_FIRST + SHOWN_LAST) + 10_000


def test_a_text_within_an_exit_is_shortened_too():
    window = add(Window(), "exited", news(1) | {"exit": {"reason": "x" * 10_000}})
    assert window.group is not None
    assert len(window.group.head[0]["exit"]["reason"]) == TEXT_MAX


@pytest.mark.parametrize("count", [0, 1, 30])
def test_a_window_outlives_its_process(count):
    window = Window(7, hurried=True)
    for number in range(count):
        window = add(window, KINDS[number % len(KINDS)], news(number))
    assert from_fields(json.loads(json.dumps(to_fields(window)))) == window


@pytest.mark.parametrize(
    "harm",
    [
        {"until_ns": None},
        {"group": {}},
        {"group": []},
        {"group": {"counts": {}, "count": 1, "others": 0, "kind": "no such", "head": [{}], "tail": []}},
        {"group": {"counts": {}, "count": 1, "others": 0, "kind": "fatal", "head": [], "tail": []}},
        {"group": {"counts": [], "count": 1, "others": 0, "kind": "fatal", "head": [{}], "tail": []}},
    ],
)
def test_what_is_no_window_is_refused(harm):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        from_fields({"until_ns": 0, "hurried": False, "group": None} | harm)


def test_no_wait_is_longer_than_the_interval():
    """The clock of another boot, or a shorter interval than before."""
    assert bounded(Window(10**18), 1000, MINUTE_NS).until_ns == 1000 + MINUTE_NS
    assert bounded(Window(500), 1000, MINUTE_NS).until_ns == 500


def test_the_kinds_are_words_of_the_configuration():
    assert KINDS[0] == grouping.URGENT
