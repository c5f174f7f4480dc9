"""What workers say in the protocol of sd_notify: every word of it, and every way to say it wrongly."""

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twinwatch.core.notice import DATAGRAM_MAX, PID_MAX, SPAN_MAX_NS, STATUS_MAX, Notice, parse

FOREVER = (1 << 64) - 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", {}),
        (b"READY=1", {"ready": True}),
        (b"READY=1\n", {"ready": True}),
        (b"READY=1\0", {"ready": True}),
        (b"\n\nREADY=1\r\n", {"ready": True}),
        (b"RELOADING=1\nMONOTONIC_USEC=5", {"reloading": True, "unknown": ("MONOTONIC_USEC",)}),
        (b"STOPPING=1", {"stopping": True}),
        (b"WATCHDOG=1", {"watchdog": True}),
        (b"WATCHDOG=trigger", {"watchdog_trigger": True}),
        (b"WATCHDOG_USEC=2000000", {"watchdog_ns": 2_000_000_000}),
        (b"WATCHDOG_USEC=0", {"watchdog_ns": 0}),
        (b"WATCHDOG_USEC=%d" % FOREVER, {"watchdog_ns": 0}),
        (b"WATCHDOG_USEC=%d" % (FOREVER - 1), {"watchdog_ns": SPAN_MAX_NS}),
        (b"EXTEND_TIMEOUT_USEC=1", {"extend_ns": 1000}),
        (b"EXTEND_TIMEOUT_USEC=%d" % (FOREVER - 1), {"extend_ns": SPAN_MAX_NS}),
        (b"MAINPID=4711", {"main_pid": 4711}),
        (b"MAINPID=%d" % PID_MAX, {"main_pid": PID_MAX}),
        (b"ERRNO=2", {"errno": 2}),
        (b"ERRNO=0", {"errno": 0}),
        (b"STATUS=Completed 66% of it", {"status": "Completed 66% of it"}),
        (b"STATUS=a=b", {"status": "a=b"}),
        (b"STATUS=", {"status": ""}),
        (b"FDSTORE=1\nFDNAME=x", {"fdstore": True, "unknown": ("FDNAME",)}),
        (b"BARRIER=1", {"barrier": True}),
        (b"BARRIER=1\n", {"barrier": True}),
        (b"READY=1\nSTATUS=up\nMAINPID=7", {"ready": True, "status": "up", "main_pid": 7}),
        (b"STATUS=first\nSTATUS=second", {"status": "first"}),
        (b"X_MY=1\nREADY=1", {"ready": True, "unknown": ("X_MY",)}),
    ],
)
def test_what_is_said(data, said):
    assert parse(data) == Notice(**said)


@pytest.mark.parametrize(
    "data",
    [
        *(b"READY=0", b"READY=", b"READY", b"READY=11", b" READY=1", b"READY =1", b"ready", b"=1", b"="),
        *(b"WATCHDOG=0", b"WATCHDOG=Trigger", b"WATCHDOG_USEC=", b"WATCHDOG_USEC=-1", b"WATCHDOG_USEC=1s"),
        *(b"WATCHDOG_USEC=%d" % (FOREVER + 1), b"WATCHDOG_USEC=0x10", b"WATCHDOG_USEC=" + b"9" * 4000),
        *(b"EXTEND_TIMEOUT_USEC=0", b"EXTEND_TIMEOUT_USEC=%d" % FOREVER, b"EXTEND_TIMEOUT_USEC=1.5"),
        *(b"MAINPID=0", b"MAINPID=-1", b"MAINPID=%d" % (PID_MAX + 1), b"MAINPID= 7", b"MAINPID=7_0"),
        *(b"MAINPID=" + b"7".zfill(11), b"ERRNO=" + b"1".zfill(4000)),
        *(b"MAINPID=\xc2\xb2", "MAINPID=\u0667".encode(), b"ERRNO=-2", b"ERRNO=4096", b"ERRNO=ENOENT"),
        *(b"BARRIER=0", b"FDSTORE=0", b"\xff=1", b"A B=1", b"A-B=1", "É=1".encode()),
    ],
)
def test_what_counts_as_not_said(data):
    assert parse(data) == Notice()
    assert parse(data + b"\nSTOPPING=1").stopping, "it takes nothing else with it"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"READY=1\nSTATUS=" + b"x" * DATAGRAM_MAX, "longer than 4096 bytes"),
        (b"READY=1\0STATUS=x", "a NUL in it"),
        (b"READY=1\0\0", "a NUL in it"),
        (b"BARRIER=1\nREADY=1", "BARRIER=1 with other assignments"),
        (b"X_OTHER=1\nBARRIER=1", "BARRIER=1 with other assignments"),
    ],
)
def test_what_spoils_a_whole_datagram(data, fault):
    assert parse(data) == Notice(fault=fault)


def test_the_longest_datagram_counts():
    data = b"READY=1\nX=" + b"x" * (DATAGRAM_MAX - 10)
    assert len(data) == DATAGRAM_MAX
    assert parse(data).ready


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\xff\xfeloading", "��loading"),
        ("größer".encode(), "größer"),
        (b"\x1b[31mred\x07", "[31mred"),
        ("a\u202eb\u2028c\x85d".encode(), "a b c d"),
        (b"\tup ", "up"),
        (b"x" * 4000, "x" * STATUS_MAX),
    ],
)
def test_a_status_can_be_shown_anywhere(raw, shown):
    assert parse(b"STATUS=" + raw).status == shown


def test_unknown_names_are_bounded():
    found = parse(b"\n".join(b"%s%d=1" % (b"N" * 100, number) for number in range(30))).unknown
    assert found == ("N" * 64,) * 16


WORDS = st.sampled_from(
    [
        *(b"READY", b"RELOADING", b"STOPPING", b"WATCHDOG", b"WATCHDOG_USEC", b"EXTEND_TIMEOUT_USEC"),
        *(b"MAINPID", b"STATUS", b"BARRIER", b"FDSTORE", b"ERRNO", b"X", b"", b"\n", b"=", b"\0", b"\r"),
        *(b"1", b"trigger", b"0", b"18446744073709551615", b"4294967295", b"-1"),
    ]
)
DATAGRAMS = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(WORDS, st.binary(max_size=5)), max_size=30).map(b"".join),
    st.lists(st.tuples(WORDS, st.one_of(WORDS, st.binary(max_size=30))), max_size=8).map(
        lambda pairs: b"\n".join(b"%s=%s" % pair for pair in pairs)
    ),
)


@given(DATAGRAMS)
@example(b"\xff" * DATAGRAM_MAX)
@example(b"=" * (DATAGRAM_MAX + 1))
@example(b"STATUS=\xed\xa0\x80")
def test_anything_can_be_sent(data):
    """It never raises, and all that comes out has bounds and can be shown."""
    notice = parse(data)
    assert notice.watchdog_ns is None or 0 <= notice.watchdog_ns <= SPAN_MAX_NS
    assert notice.extend_ns is None or 0 < notice.extend_ns <= SPAN_MAX_NS
    assert notice.main_pid is None or 0 < notice.main_pid <= PID_MAX
    assert notice.errno is None or 0 <= notice.errno < 4096
    assert notice.status is None or (notice.status.isprintable() and len(notice.status) <= STATUS_MAX)
    assert all(name.isprintable() and name.isascii() and len(name) <= 64 for name in notice.unknown)
    assert not notice.fault or notice == Notice(fault=notice.fault)
    assert not notice.barrier or notice == Notice(barrier=True)


@given(DATAGRAMS)
def test_a_newline_at_its_end_changes_nothing(data):
    if not data.endswith(b"\0") and len(data) < DATAGRAM_MAX:
        assert parse(data + b"\n") == parse(data)


def test_it_is_a_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse(b"READY=1").ready = False
