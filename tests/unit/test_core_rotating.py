"""When a log is rotated, and what follows from what a killed rotation left."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core import rotating
from twinwatch.core.rotating import Record, Sight, Stage, Step
from twinwatch.core.spec import Rotate

BLOCK = 4096
RECORD = Record("/l/web.log", device=1, inode=2)
HOLED = replace(RECORD, start=BLOCK)  # as where a hole stays


@pytest.mark.parametrize(
    ("rotate", "record", "size", "now_ns", "due"),
    [
        (Rotate(size=100), RECORD, 99, 0, False),
        (Rotate(size=100), RECORD, 100, 0, True),
        (Rotate(size=100), HOLED, BLOCK + 99, 0, False),
        (Rotate(size=100), HOLED, BLOCK + 100, 0, True),
        (Rotate(age_ns=10), replace(RECORD, since_ns=5), 1, 14, False),
        (Rotate(age_ns=10), replace(RECORD, since_ns=5), 1, 15, True),
        (Rotate(age_ns=10), RECORD, 1, 99, False),  # nobody knows yet how old it is
        (Rotate(age_ns=10), replace(RECORD, since_ns=5), 0, 99, False),
        (Rotate(size=1, age_ns=1), replace(HOLED, since_ns=5), BLOCK, 99, False),  # all of it is a hole
        (Rotate(size=100, age_ns=10), replace(RECORD, since_ns=5), 100, 6, True),
    ],
)
def test_when(rotate, record, size, now_ns, due):
    assert rotating.is_due(rotate, record, size, now_ns) is due


@pytest.mark.parametrize(
    ("record", "size", "length"),
    [
        (RECORD, 0, 0),
        (RECORD, BLOCK, 0),  # a file that ends with the block is not collapsed
        (RECORD, BLOCK + 1, BLOCK),
        (RECORD, 2 * BLOCK, BLOCK),
        (HOLED, BLOCK + 1, 0),
        (HOLED, 3 * BLOCK, BLOCK),
        (replace(HOLED, start=5 * BLOCK), BLOCK, 0),
    ],
)
def test_how_much(record, size, length):
    assert rotating.head_length(record, size, BLOCK) == length


@pytest.mark.parametrize(
    ("since", "size", "now", "expected"),
    [(0, 0, 7, 0), (0, 1, 7, 7), (5, 1, 7, 5), (9, 1, 7, 7), (0, BLOCK, 7, 0)],
)
def test_the_time_of_its_first_byte(since, size, now, expected):
    record = replace(HOLED if size == BLOCK else RECORD, since_ns=since)
    assert rotating.dated(record, size, now).since_ns == expected


# ---------------------------------------------------------------- what a killed rotation left

CUT = rotating.cutting(RECORD, BLOCK, head=9, now_ns=7, keep=5)
COLLAPSE = rotating.collapsing(CUT)
SAME = Sight(is_same=True)


@pytest.mark.parametrize(
    ("record", "sight", "step"),
    [
        (RECORD, SAME, Step.NOTHING),
        (RECORD, replace(SAME, has_head=True), Step.DROP_HEAD),
        (RECORD, Sight(is_same=False), Step.RENEW),
        (CUT, replace(SAME, has_head=True, is_copied=True), Step.NAME_HEAD),
        (CUT, replace(SAME, is_copied=True), Step.PUNCH),
        (CUT, replace(SAME, is_hole=True), Step.PUNCH),
        (CUT, replace(SAME, is_hole=True, has_head=True), Step.NAME_HEAD),
        (CUT, SAME, Step.UNCUT),  # the backup is lost, the bytes are not
        (CUT, replace(SAME, has_head=True), Step.UNCUT),
        (CUT, Sight(is_same=False, has_head=True), Step.NAME_HEAD),
        (CUT, Sight(is_same=False), Step.RENEW),
        (COLLAPSE, replace(SAME, is_hole=True), Step.COLLAPSE),
        (COLLAPSE, SAME, Step.SETTLE),
        (COLLAPSE, Sight(is_same=False), Step.RENEW),
    ],
)
def test_what_is_next(record, sight, step):
    assert rotating.next_step(record, sight) is step


def test_a_record_from_step_to_step():
    assert (CUT.start, CUT.base, CUT.segments, CUT.head, CUT.since_ns) == (BLOCK, 0, (BLOCK,), 9, 7)
    assert rotating.uncut(CUT) == replace(RECORD, since_ns=7, sequence=2)
    assert COLLAPSE.hole == BLOCK
    done = rotating.settled(COLLAPSE, collapsed=True)
    assert (done.base, done.start, done.stage, done.sequence) == (BLOCK, BLOCK, Stage.REST, 3)
    holed = rotating.settled(COLLAPSE, collapsed=False)
    assert (holed.base, holed.start, holed.stage) == (0, BLOCK, Stage.REST)
    assert (rotating.emptied(holed).base, rotating.emptied(holed).start) == (BLOCK, BLOCK)


def test_another_file_goes_on_where_the_backups_end():
    other = rotating.renewed(rotating.settled(CUT, collapsed=False), 1, 3)
    assert (other.inode, other.origin, other.base, other.start) == (3, BLOCK, BLOCK, BLOCK)
    assert (other.segments, other.since_ns, other.stage) == ((BLOCK,), 0, Stage.REST)
    assert rotating.renewed(other, 1, 3) == other


def test_lengths_of_backups_that_are_gone_are_forgotten():
    record = RECORD
    for _ in range(9):
        record = rotating.cutting(record, BLOCK, 9, 7, keep=3)
    assert len(record.segments) == 4


# ---------------------------------------------------------------- names


def test_names_of_backups():
    entries = [
        *("web.log", "web.log.1", "web.log.2", "web.log.2.gz", "web.log.10.gz", "web.log.gz", "web.log.x"),
        *(
            "web.log.01",
            "web.log.-1",
            "web.log.1.gz.gz",
            "xweb.log.1",
            ".web.log.head",
            "web.log.²",
            "web.log.",
        ),
    ]
    found = rotating.numbered("web.log", reversed(entries))
    assert found == {1: ["web.log.1"], 2: ["web.log.2", "web.log.2.gz"], 10: ["web.log.10.gz"]}
    assert rotating.doubled(found) == ["web.log.2"]


@given(st.sets(st.integers(1, 9)), st.integers(0, 9), st.sets(st.integers(1, 9)))
def test_renumbering_may_end_at_any_rename(numbers, done, packed):
    """Going on after a kill gives what going through gives; the order never changes, nothing is overwritten."""
    names = {f"l.{number}{'.gz' if number in packed else ''}": number for number in numbers}
    whole = rename(names, rotating.renames("l", rotating.numbered("l", names)))
    begun = rename(names, rotating.renames("l", rotating.numbered("l", names))[:done])
    assert order(begun) == order(names)
    if 1 in rotating.numbered("l", begun):  # else number 1 is free, and that was all
        begun = rename(begun, rotating.renames("l", rotating.numbered("l", begun)))
    assert begun == whole
    assert 1 not in rotating.numbered("l", whole)


def rename(names, moves):
    names = dict(names)
    for old, new in moves:
        assert new not in names
        names[new] = names.pop(old)
    return names


def order(names):
    found = rotating.numbered("l", names)
    return [names[found[number][0]] for number in sorted(found)]


def test_the_oldest_go_first():
    found = rotating.numbered("l", ["l.1", "l.3", "l.4.gz", "l.9", "l.9.gz"])
    assert rotating.surplus(found, 2) == ["l.9", "l.9.gz", "l.4.gz"]
    assert rotating.surplus(found, 4) == []
    assert rotating.surplus(found, 0)[-1] == "l.1"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], ""),
        (["l.1"], ""),
        (["l.1", "l.2"], "l.2"),
        (["l.1", "l.2", "l.3", "l.4.gz"], "l.3"),
        (["l.1", "l.2", "l.2.gz"], ""),
        (["l.2", "l.3.gz"], ""),  # the newest stays as it is, whatever its number
    ],
)
def test_what_is_compressed(entries, expected):
    assert rotating.to_compress(rotating.numbered("l", entries)) == expected
