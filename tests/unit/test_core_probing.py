"""Answers in a row, times of asking, excesses and changes of files: the pure part of the checks."""

import pytest

from twinwatch.core import probing
from twinwatch.core.checks import Probe, ProbeKind
from twinwatch.core.probing import NO_ROW, NO_STRIKES, Row, Seen, Strikes
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

PROBE = Probe(ProbeKind.HTTP, "http://h/", interval_ns=10 * SECOND_NS, failures=3, successes=2)


def rows(answers: str, row: Row = NO_ROW, probe: Probe = PROBE) -> list[Row]:
    """`+` is a good answer, `-` a bad one."""
    found = []
    for answer in answers:
        row = (probing.after_good if answer == "+" else probing.after_bad)(row, probe)
        found.append(row)
    return found


@pytest.mark.parametrize(
    ("answers", "convicts"),
    [
        ("--", False),
        ("---", True),
        ("--+--", False),
        ("--+---", True),
        ("----", True),
    ],
)
def test_only_failures_in_a_row_convict(answers, convicts):
    assert probing.is_convicting(rows(answers)[-1], PROBE) is convicts


@pytest.mark.parametrize(
    ("answers", "met"),
    [
        ("+", [False]),
        ("++", [False, True]),
        ("+-+", [False, False, False]),
        ("+-++", [False, False, False, True]),
        ("++--", [False, True, True, True]),
        ("++---", [False, True, True, True, False]),
        ("++--+--", [False, True, True, True, True, True, True]),
        ("++---+", [False, True, True, True, False, False]),
        ("++---++", [False, True, True, True, False, False, True]),
    ],
)
def test_met_after_successes_and_lost_after_failures(answers, met):
    assert [row.is_met for row in rows(answers)] == met


def test_good_answers_are_not_counted_for_ever():
    assert rows("+" * 100)[-1] == Row(0, PROBE.successes, is_met=True)


def test_after_an_absence_rows_begin_anew_but_what_is_met_stays():
    assert probing.anew(Row(2, 0, is_met=True)) == Row(is_met=True)
    assert probing.anew(Row(0, 1)) == NO_ROW


@pytest.mark.parametrize(
    ("late_ms", "excused"), [(0, False), (999, False), (1000, False), (1001, True), (60_000, True)]
)
def test_a_late_prober_is_no_judge(late_ms, excused):
    assert probing.is_excused(late_ms * MILLISECOND_NS, 2 * SECOND_NS) is excused


def test_the_first_question_comes_after_the_delay_and_never_in_the_past():
    probe = Probe(ProbeKind.TCP, "h:1", delay_ns=5 * SECOND_NS)
    assert probing.first_ns(probe, 100, 200, 0) == 100 + 5 * SECOND_NS
    assert probing.first_ns(probe, 100, 100 * SECOND_NS, 0) == 100 * SECOND_NS


def test_first_questions_are_spread_within_half_an_interval_or_half_a_second():
    for interval_ns in (200 * MILLISECOND_NS, 10 * SECOND_NS):
        probe = Probe(ProbeKind.TCP, "h:1", interval_ns=interval_ns)
        times = [probing.first_ns(probe, 0, 0, index) for index in range(3, 103)]
        window_ns = min(interval_ns, SECOND_NS) // 2
        assert all(0 <= time < window_ns for time in times)
        gaps = [b - a for a, b in zip(sorted(times), sorted(times)[1:], strict=False)]
        assert max(gaps) < window_ns / 25, "a hundred instances leave no large gap"


@pytest.mark.parametrize(
    ("interval", "started", "now", "quick", "due"),
    [
        (10, 100, 101, False, 110),
        (10, 100, 115, False, 115),
        (10, 100, 100, True, 100.25),
        (0.1, 100, 100, True, 100.1),
        (10, 100, 103, True, 103),
    ],
)
def test_the_next_question_is_an_interval_after_the_start_of_the_last(interval, started, now, quick, due):
    probe = Probe(ProbeKind.TCP, "h:1", interval_ns=int(interval * SECOND_NS))
    found = probing.next_ns(probe, started * SECOND_NS, now * SECOND_NS, quick=quick)
    assert found == int(due * SECOND_NS)


@pytest.mark.parametrize(
    ("probe", "name"),
    [
        (Probe(ProbeKind.HTTP, "http://h:80/x?token=secret#y"), "http http://h:80/x"),
        (Probe(ProbeKind.TCP, "[::1]:5432"), "tcp [::1]:5432"),
        (Probe(ProbeKind.TCP, socket="/run/x.sock"), "tcp /run/x.sock"),
        (Probe(ProbeKind.EXEC, command=("/usr/bin/pg_isready", "-q")), "exec pg_isready"),
        (Probe(ProbeKind.HTTP, "http://h/" + "a" * 100), "http http://h/" + "a" * 46 + "…"),
    ],
)
def test_a_probe_is_named_shortly_and_without_secrets(probe, name):
    assert probing.name_of(probe) == name


def test_a_verdict_says_which_probe_how_often_and_why():
    assert probing.verdict(PROBE, Row(3), "connection refused") == (
        "http http://h/: 3 failures in a row: connection refused"
    )
    assert probing.verdict(PROBE, Row(1), "status 500") == "http http://h/: status 500"


def test_the_longest_verdict_keeps_its_reason_in_a_note():
    probe = Probe(ProbeKind.HTTP, "http://" + "h" * 200)
    assert len(probing.verdict(probe, Row(255), "connection refused").encode()) <= 120


@pytest.mark.parametrize(
    ("said", "line"),
    [("a\nb\tc\r\n", "a b c"), ("\x1b[31mred\0", "[31mred"), ("  ", ""), ("é" * 200, "é" * 79 + "…")],
)
def test_what_a_stranger_said_becomes_harmless(said, line):
    assert probing.one_line(said) == line


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([11, 11], 2),
        ([11, 10, 11], 1),
        ([11, None, 11], 2),
        ([None, None], 0),
        ([10, 10], 0),
    ],
)
def test_only_looks_over_the_limit_in_a_row_count_and_unknown_is_never_over(values, count):
    strikes = NO_STRIKES
    for value in values:
        strikes = probing.after_look(strikes, value, 10)
    assert strikes.count == count


def test_what_follows_follows_once_until_it_was_under_again():
    strikes = Strikes(2, told=False)
    assert not probing.is_too_much(strikes, 3)
    strikes = probing.after_look(strikes, 11, 10)
    assert probing.is_too_much(strikes, 3)
    told = probing.after_look(Strikes(strikes.count, told=True), 11, 10)
    assert not probing.is_too_much(told, 3)
    under = probing.after_look(told, 10, 10)
    assert under == NO_STRIKES


@pytest.mark.parametrize(
    ("what", "value", "limit", "times", "text"),
    [
        ("memory", 612 << 20, 500 << 20, 3, "memory 612MiB over 500MiB, 3 times in a row"),
        ("memory", 1536, 1000, 1, "memory 1.5KiB over 1000B"),
        ("memory", 5 << 40, 1 << 40, 1, "memory 5TiB over 1TiB"),
        ("cpu", 98.76, 90.0, 2, "cpu 98.76% over 90%, 2 times in a row"),
        ("descriptors", 1200, 1000, 1, "descriptors 1200 over 1000"),
    ],
)
def test_an_excess_in_words(what, value, limit, times, text):
    assert probing.excess(what, value, limit, times) == text


# ---------------------------------------------------------------- watched files

A, B, C = (1, 10, 100), (2, 10, 100), (3, 10, 101)


@pytest.mark.parametrize(
    ("looks", "changed"),
    [
        ([A, A, A], []),
        ([A, B], []),
        ([A, B, B], [2]),
        ([A, B, C], []),
        ([A, B, C, C], [3]),
        ([A, None, None, A, A], []),
        ([A, None, B], []),
        ([A, None, B, B], [3]),
        ([A, B, A, A], []),
        ([None, None, A, A], [3]),
        ([None, A], []),
    ],
)
def test_a_file_has_changed_when_it_is_another_one_for_two_looks(looks, changed):
    base, last, found = looks[0], looks[0], []
    for number, now in enumerate(looks):
        if probing.has_changed(Seen(base, last), now):
            found.append(number)
        last = now
    assert found == changed
