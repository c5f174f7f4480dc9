"""The record codec: values survive it, and no damage is believed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core import record
from twinwatch.core.record import Damage, Header, Heartbeat, Reserves, Slot
from twinwatch.core.spec import RESTART_LIMIT_MAX
from twinwatch.core.values import (
    Desired,
    Ending,
    Exit,
    ExitKind,
    Health,
    HookState,
    Identity,
    Met,
    Phase,
    Role,
    Stage,
)

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
BYTE = st.integers(0, 255)
NAME = st.text("abcdefghijklmnopqrstuvwxyzäß-_", max_size=record.NAME_MAX // 2)
IDENTITY = st.builds(
    Identity, U32, U64, U64, st.binary(max_size=record.HANDLE_MAX).map(lambda b: b.rstrip(b"\0"))
)
EXIT = st.builds(
    Exit,
    st.sampled_from(ExitKind),
    U64,
    st.integers(-(2**31), 2**31 - 1),
    BYTE,
    st.booleans(),
    st.booleans(),
    st.sampled_from(Stage),
    st.sampled_from(Ending),
    U64,
)
SLOT = st.builds(
    Slot,
    name=NAME,
    instance=U32,
    phase=st.sampled_from(Phase),
    desired=st.sampled_from(Desired),
    owner=st.sampled_from(Role),
    ending=st.sampled_from(Ending),
    killed=st.booleans(),
    ready=st.booleans(),
    health=st.sampled_from(Health),
    signed_off=st.booleans(),
    hook=st.sampled_from(HookState),
    met=st.builds(Met, st.integers(0, 7)),
    note=st.text("abc/äß. ", max_size=record.NOTE_MAX // 2),
    generation=U64,
    owner_generation=U64,
    config_generation=U64,
    birth_hash=U64,
    identity=IDENTITY,
    born_ns=U64,
    until_ns=U64,
    end_generation=U64,
    failures=U32,
    restarts=U32,
    exit=EXIT,
    births_ns=st.lists(U64, max_size=RESTART_LIMIT_MAX).map(tuple),
)
HEADER = st.builds(
    Header,
    pair=st.text("abcdefghijklmnopqrstuvwxyz-_", max_size=32),
    pair_id=st.binary(min_size=16, max_size=16),
    boot_id=st.binary(min_size=16, max_size=16),
    namespace_inode=U64,
    namespace_init=IDENTITY,
    owner_uid=U32,
    source=st.text("abc/äß.", max_size=record.SOURCE_MAX // 2),
    source_device=U64,
    source_inode=U64,
    config_generation=U64,
    desired=st.sampled_from(Desired),
    moved=st.booleans(),
    slots=U32,
)
VERSION = st.integers(1, 2**32 - 1)
SAMPLE = Slot(
    "web", 1, Phase.RUNNING, generation=7, identity=Identity(42, 4711, 99, b"handle"), births_ns=(1, 2)
)


def file_with(*versions: tuple[int, bytes]) -> bytearray:
    """A record to which these (version, body) were committed in turn."""
    data = bytearray(record.RECORD_SIZE)
    for version, body in versions:
        for at, piece in commit(version, body):
            data[at : at + len(piece)] = piece
    return data


def commit(version: int, body: bytes) -> list[tuple[int, bytes]]:
    """The two steps of a write."""
    return [
        (record.COPY_AT[version & 1], record.pack_copy(version, body)),
        (0, record.pack_selector(version)),
    ]


# ---------------------------------------------------------------- values survive


@given(SLOT)
def test_slot_round_trip(slot):
    assert record.unpack_slot(record.pack_slot(slot)) == slot


@given(HEADER)
def test_header_round_trip(header):
    assert record.unpack_header(record.pack_header(header)) == header


@given(st.builds(Heartbeat, U64, U64, U64, U32, U32))
def test_heartbeat_round_trip(beat):
    packed = record.pack_heartbeat(beat)
    assert len(packed) <= record.HEARTBEAT_SIZE
    assert record.unpack_heartbeat(packed) == beat


@given(st.builds(Reserves, U64, st.lists(IDENTITY, max_size=record.RESERVES_MAX).map(tuple)))
def test_reserves_round_trip(reserves):
    packed = record.pack_reserves(reserves)
    assert len(packed) <= record.RESERVES_SIZE
    assert record.unpack_reserves(packed.ljust(record.RESERVES_SIZE, b"\0")) == reserves


@given(SLOT, HEADER)
def test_the_largest_value_fits_into_a_copy(slot, header):
    full = replace(slot, births_ns=(2**64 - 1,) * RESTART_LIMIT_MAX)
    for body in (record.pack_slot(full), record.pack_header(replace(header, source="x" * record.SOURCE_MAX))):
        assert len(record.pack_copy(1, body)) <= record.COPY_SIZE


def test_only_the_newest_births_are_kept():
    births = tuple(range(RESTART_LIMIT_MAX + 5))
    assert record.unpack_slot(record.pack_slot(Slot(births_ns=births))).births_ns == births[5:]


@given(SLOT)
def test_the_identity_is_where_a_search_for_it_looks(slot):
    copy = record.pack_copy(1, record.pack_slot(slot))
    at = record.IDENTITY_AT
    assert copy[at : at + record.IDENTITY_SIZE] == record.pack_identity(slot.identity)


def test_a_body_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="body"):
        record.pack_copy(1, bytes(record.COPY_SIZE))
    with pytest.raises(ValueError, match="longer than"):
        record.pack_header(replace(unpacked_header(), source="x" * (record.SOURCE_MAX + 1)))


def unpacked_header() -> Header:
    return Header("p", bytes(16), bytes(16), 1, Identity(), 0, "/x", 1, 2, 3)


# ---------------------------------------------------------------- the layout does not overlap


def test_the_copies_lie_apart_and_within_the_record():
    assert record.COPY_AT[0] >= record.SELECTOR_SIZE
    assert record.COPY_AT[0] + record.COPY_SIZE <= record.COPY_AT[1]
    assert record.COPY_AT[1] + record.COPY_SIZE <= record.RECORD_SIZE
    assert record.RECORD_SIZE <= record.SEQUENCE_AT < record.HEARTBEAT_AT
    assert record.HEARTBEAT_AT + 3 * record.HEARTBEAT_SIZE <= record.JOURNAL_AT
    assert record.JOURNAL_AT + 4 * record.JOURNAL_ENTRIES <= record.RESERVES_AT
    assert record.RESERVES_AT + 3 * record.RESERVES_SIZE <= record.SLOTS_AT == record.slot_at(0)


# ---------------------------------------------------------------- damage


@given(VERSION, SLOT)
def test_a_record_is_read_as_it_was_written(version, slot):
    assert record.unpack_record(bytes(file_with((version, record.pack_slot(slot))))) == (
        version,
        record.pack_slot(slot),
    )


def every_flip(data: bytes):
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(flipped)


def read_or_damage(data: bytes) -> tuple[int | None, Slot | None]:
    """Version and value; no value for damage that was found."""
    try:
        version, body = record.unpack_record(data)
    except Damage as damage:
        return damage.version, None
    return version, record.unpack_slot(body)


@pytest.mark.parametrize("versions", [(1,), (1, 2), (6, 7), (2**32 - 2, 2**32 - 1)])
def test_no_flipped_bit_changes_a_value(versions):
    """Each is either found, or does no harm: the value stays the newest one."""
    slots = [replace(SAMPLE, generation=version) for version in versions]
    pieces = [(v, record.pack_slot(slot)) for v, slot in zip(versions, slots, strict=True)]
    found = 0
    for bit, data in every_flip(bytes(file_with(*pieces))):
        version, value = read_or_damage(data)
        found += value is None
        assert version == versions[-1], f"bit {bit}"
        assert value in (None, slots[-1]), f"bit {bit}"
    assert found >= 8 * len(pieces[-1][1])  # every bit of the current copy's body, at least


@given(SLOT, SLOT, VERSION)
def test_every_torn_write_leaves_the_old_or_the_new(old, new, version):
    """A writer that is killed after any byte of its two steps leaves no mixture."""
    following = record.next_version(version)
    before = file_with((version, record.pack_slot(old)))
    expected = [(version, record.pack_slot(old)), (following, record.pack_slot(new))]
    copy, selector = commit(following, record.pack_slot(new))
    at, piece = copy
    for length in {0, 1, 4, 8, 12, len(piece) // 2, len(piece) - 1, len(piece)}:
        torn = bytearray(before)
        torn[at : at + length] = piece[:length]
        assert record.unpack_record(bytes(torn)) == expected[0]
    at, piece = copy
    before[at : at + len(piece)] = piece
    for length in range(record.SELECTOR_SIZE + 1):
        torn = bytearray(before)
        torn[:length] = selector[1][:length]
        assert record.unpack_record(bytes(torn)) in expected


def test_a_torn_write_byte_by_byte():
    before = file_with((4, record.pack_slot(SAMPLE)))
    body = record.pack_slot(replace(SAMPLE, generation=8))
    for at, piece in commit(5, body):
        for count in range(len(piece) + 1):
            before[at : at + count] = piece[:count]
            version, found = record.unpack_record(bytes(before))
            assert (version, found) in ((4, record.pack_slot(SAMPLE)), (5, body))


@given(VERSION, SLOT, st.integers(0, 8 * 960 - 1))
def test_a_bad_current_copy_is_not_replaced_by_the_older_one(version, slot, bit):
    """The older copy may hold an older generation: to believe it would allow a second birth."""
    body, older = record.pack_slot(slot), record.pack_slot(replace(slot, generation=slot.generation ^ 1))
    data = file_with((version, older), (record.next_version(version), body))
    bit %= 8 * (12 + len(body))
    data[record.COPY_AT[record.next_version(version) & 1] + bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damage) as damage:
        record.unpack_record(bytes(data))
    assert damage.value.version == record.next_version(version)


def test_named_damage():
    whole = bytes(file_with((1, b"old"), (2, b"new")))
    assert what(whole[:-1]) == "cut short"
    assert what(bytes(record.RECORD_SIZE)) == "never written"
    assert what(record.pack_selector(2) + whole[8 : record.COPY_AT[0]] + bytes(record.RECORD_SIZE)) == (
        "checksum of the current copy"
    )
    assert what(record.pack_selector(4) + whole[8:]) == "version of the current copy"
    assert what(b"\1" + bytes(record.RECORD_SIZE)) == "selector and both copies"


def what(data: bytes) -> str:
    with pytest.raises(Damage) as damage:
        record.unpack_record(data)
    return damage.value.what


# ---------------------------------------------------------------- selector and version


@given(st.integers(1, 2**32 - 1))
def test_a_version_is_followed_by_one_of_the_other_copy(version):
    following = record.next_version(version)
    assert following & 1 != version & 1
    assert following not in (0, version)


def test_versions_wrap_past_zero_into_the_other_copy():
    """0 means never written; and the copy that is filled must not be the current one."""
    last = 2**32 - 1
    assert record.next_version(last) == 2
    data = file_with((last, b"old"))
    at, piece = commit(2, b"new")[0]
    data[at : at + len(piece)] = piece
    assert record.unpack_record(bytes(data)) == (last, b"old")


@given(VERSION, st.integers(0, 63))
def test_a_damaged_selector_is_seen_and_the_newest_copy_believed(version, bit):
    following = record.next_version(version)
    data = file_with((version, b"old"), (following, b"new"))
    data[bit // 8] ^= 1 << bit % 8
    assert not record.is_selector(bytes(data[:8]))
    expected = (following, b"new") if following > version else (version, b"old")
    assert record.unpack_record(bytes(data)) == expected


@given(VERSION)
def test_a_whole_selector(version):
    assert record.is_selector(record.pack_selector(version))


# ---------------------------------------------------------------- foreign values


def test_foreign_words_are_damage():
    body = bytearray(record.pack_slot(SAMPLE))
    for at in range(record.NAME_MAX + 4, record.NAME_MAX + 8):  # phase, desired, owner, ending
        foreign = body.copy()
        foreign[at] = 250
        with pytest.raises(Damage):
            record.unpack_slot(bytes(foreign))
    with pytest.raises(Damage):
        record.unpack_slot(bytes(body[:-1]))
    with pytest.raises(Damage):
        record.unpack_slot(b"\xff" + bytes(body[1:]))  # no UTF-8


def test_a_foreign_file_is_refused():
    body = bytearray(record.pack_header(unpacked_header()))
    with pytest.raises(Damage, match="magic"):
        record.unpack_header(b"x" + body[1:])
    body[8] = record.LAYOUT + 1
    with pytest.raises(Damage, match="layout version"):
        record.unpack_header(bytes(body))


def test_a_damaged_table_of_reserves_is_empty():
    for _, data in every_flip(record.pack_reserves(Reserves(3, (Identity(5, 6, 7, b"h"),)))):
        assert record.unpack_reserves(data.ljust(record.RESERVES_SIZE, b"\0")) == Reserves()
