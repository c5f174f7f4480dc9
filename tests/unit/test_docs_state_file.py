"""docs/state-file.md says of every byte what the code says of it."""

import re
import struct
import subprocess
import sys
from dataclasses import fields, replace
from enum import IntEnum, IntFlag
from pathlib import Path

import pytest

from twinwatch.core import record, values
from twinwatch.core.record import Header, Heartbeat, Ping, Reserves, Slot
from twinwatch.core.spec import RESTART_LIMIT_MAX
from twinwatch.core.values import Desired, Exit, ExitKind, Identity, Phase, Role, Stage
from twinwatch.linux import lock, statefile

TEXT = (Path(__file__).resolve().parents[2] / "docs/state-file.md").read_text("utf-8")
CODE = re.compile(r"(\d*)([a-zA-Z])")
PADDING = "-"


def section(title: str) -> str:
    """The text under a heading, up to the next one."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, f"no heading {title}"
    return found[1]


def table(title: str) -> list[list[str]]:
    """Cells of the rows of a section's table, without its head."""
    rows = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def places(title: str) -> dict[str, tuple[int, int]]:
    """Field to (offset, size), in the order of the table; padding left out."""
    return {field: (int(offset), int(size)) for offset, size, field, *_ in table(title) if field != PADDING}


def layout(packed: struct.Struct) -> list[tuple[int, int]]:
    """(offset, size) of each value of a format without alignment."""
    found, at = [], 0
    for number, letter in CODE.findall(packed.format.lstrip("<")):
        if letter in "xs":
            size = int(number or 1)
            found += [(at, size)] if letter == "s" else []
            at += size
            continue
        size = struct.calcsize(f"<{letter}")
        for _ in range(int(number or 1)):
            found.append((at, size))
            at += size
    return found


def test_rows_follow_each_other():
    for title in ("Selector", "Copy", "Header", "Slot", "Identity", "Exit", "Heartbeat", "Ping", "Reserves"):
        at = 0
        for offset, size, *_ in table(title):
            assert int(offset) == at, f"{title}: a gap or an overlap at {offset}"
            at += int(size)


def test_map():
    found = {field: (int(at), size) for at, size, field, _ in table("Map of the file")}
    assert found == {
        "header": (record.HEADER_AT, str(record.RECORD_SIZE)),
        "sequence": (record.SEQUENCE_AT, "8"),
        "heartbeats": (record.HEARTBEAT_AT, str(3 * record.HEARTBEAT_SIZE)),
        "journal": (record.JOURNAL_AT, str(4 * record.JOURNAL_ENTRIES)),
        "reserves": (record.RESERVES_AT, str(3 * record.RESERVES_SIZE)),
        "slots": (record.SLOTS_AT, f"{record.RECORD_SIZE} each"),
    }
    assert [role.slot for role in (Role.A, Role.B, Role.ANCHOR)] == [0, 1, 2]
    assert values.FIRST_WORKER_SLOT == 3


def test_record():
    assert places("Record") == {
        "selector": (0, record.SELECTOR_SIZE),
        "ping": (record.PING_AT, record.PING_SIZE),
        "copy 0": (record.COPY_AT[0], record.COPY_SIZE),
        "copy 1": (record.COPY_AT[1], record.COPY_SIZE),
    }
    assert record.COPY_AT[1] + record.COPY_SIZE == record.RECORD_SIZE
    assert record.next_version(0) == 1
    assert record.next_version(4294967295) == 2


# What `struct` does not know of: texts and lists behind the fixed part; the unused byte and number.
@pytest.mark.parametrize(
    ("title", "packed", "more"),
    [
        ("Selector", record._SELECTOR, {}),
        ("Copy", record._COPY, {"body": (record._COPY.size, record.COPY_SIZE - record._COPY.size)}),
        ("Header", record._HEADER, {"source": (record._HEADER.size, record.SOURCE_MAX)}),
        ("Slot", record._SLOT, {"births_ns": (record._SLOT.size, 8 * RESTART_LIMIT_MAX)}),
        ("Identity", record._IDENTITY, {}),
        ("Exit", record._EXIT, {}),
        ("Heartbeat", record._HEARTBEAT, {}),
        ("Ping", record._PING, {}),
        ("Reserves", record._RESERVES, {"identities": (16, record.RESERVES_MAX * record.IDENTITY_SIZE)}),
    ],
)
def test_offsets_and_sizes(title, packed, more):
    unused = {"Header": [(12, 4)]}.get(title, [])
    expected = [place for place in layout(packed) if place not in unused] + list(more.values())
    assert list(places(title).values()) == expected


SLOT = Slot(name="w", births_ns=(1,))
HEADER = Header("p", b"", b"", 0, Identity(), 0, "s", 0, 0, 0)


def changes(plain, packed, field, value) -> tuple[int, int]:
    """First and last byte that another value of one field moves."""
    before, after = packed(plain), packed(replace(plain, **{field: value}))
    assert len(before) == len(after)
    moved = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert moved, field
    return moved[0], moved[-1]


@pytest.mark.parametrize(
    ("title", "plain", "packed"),
    [
        ("Slot", SLOT, record.pack_slot),
        ("Header", HEADER, record.pack_header),
        ("Identity", Identity(handle=b"\0" * 16), record.pack_identity),
        ("Exit", Exit(), record._pack_exit),
        ("Heartbeat", Heartbeat(), record.pack_heartbeat),
        ("Ping", Ping(), record.pack_ping),
    ],
)
def test_each_field_is_where_the_table_says(title, plain, packed):
    found = places(title)
    others = {"birth_hash": 7, "name": "x", "source": "t", "pair": "q", "births_ns": (2,), "note": "n"}
    for field in fields(plain):
        old = getattr(plain, field.name)
        match old:
            case bool():
                value: object = not old
            case IntEnum() | IntFlag():
                value = type(old)(1 if old == 0 else 0)
            case int():
                value = old + 1
            case bytes():
                value = b"\1" * 16
            case Identity():
                value = Identity(1, 2, 3, b"\1" * 16)
            case Exit():
                value = Exit(ExitKind.SIGNAL, 3, 4, 5, stage=Stage.EXEC, at_ns=6)
            case _:
                value = others[field.name]
        first, last = changes(plain, packed, field.name, value)
        at, size = found.pop(field.name)
        assert at <= first <= last < at + size, field.name
    assert {name for name in found if not name.endswith("length")} <= {"magic", "layout"}


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Role", Role),
        ("Phase", Phase),
        ("Desired", Desired),
        ("Ending", values.Ending),
        ("Exit kind", ExitKind),
        ("Stage", Stage),
        ("Health", values.Health),
        ("Met", values.Met),
        ("Hook state", values.HookState),
    ],
)
def test_numbers(title, words):
    assert {int(number): name for number, name in table(title)} == {
        one.value: one.name.lower() for one in words.__members__.values()
    }


def test_constants_in_the_text():
    assert f"`{record.MAGIC.decode()}`" in section("Header")
    assert table("Header")[1][3].startswith(f"{record.LAYOUT}:")
    assert f"3072 + {record.HEARTBEAT_SIZE} N" in section("Heartbeat")
    assert f"8192 + {record.RESERVES_SIZE} N" in section("Reserves")
    assert f"at most {record.RESERVES_MAX}" in section("Reserves")
    assert f"n % {record.JOURNAL_ENTRIES}" in section("Journal")
    assert section("The lock").count(str(lock.LOCK_BYTE)) == 2
    assert lock.LOCK_BYTE == 1 << 62


def test_the_reader_in_the_text_reads(tmp_path):
    program = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    slots = {
        0: Slot("a", phase=Phase.RUNNING, generation=9, identity=Identity(77)),
        3: Slot("web", 1, Phase.BACKOFF, generation=1 << 40),
    }
    statefile.create(str(tmp_path), replace(HEADER, pair_id=b"i" * 16, boot_id=b"b" * 16, slots=5), slots)
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "state")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert run.stdout.splitlines() == ["0 a 0 3 9 77 True", f"3 web 1 5 {1 << 40} 0 True"]


def test_reserves_table_in_bytes():
    packed = record.pack_reserves(Reserves(5, (Identity(1), Identity(2))))
    at = places("Reserves")
    assert struct.unpack_from("<I", packed, at["count"][0]) == (2,)
    assert struct.unpack_from("<Q", packed, at["generation"][0]) == (5,)
    assert struct.unpack_from("<I", packed, at["identities"][0]) == (1,)
