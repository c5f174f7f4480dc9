"""Snapshots: what is written is what is read, and damage is never taken for a configuration."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.config import snapshot
from twinwatch.config.snapshot import SnapshotError, decode, encode, read, write
from twinwatch.core.spec import Account, Alert, Anchor, Group, PairSpec, Watch, WorkerSpec

# What no configuration can hold: the readers refuse it.
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
TEXTS = st.text(max_size=8) | st.sampled_from(["\udc80", "{instance}"])
WORKERS = st.lists(st.from_type(WorkerSpec), max_size=2).map(tuple)


SPECS = st.builds(
    PairSpec,
    name=TEXTS,
    watch=st.builds(Watch),
    anchor=st.builds(Anchor),
    workers=WORKERS,
    groups=st.lists(st.from_type(Group), max_size=2).map(tuple),
    alerts=st.lists(st.from_type(Alert), max_size=2).map(tuple),
    environment=st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple),
    places=st.lists(st.tuples(st.integers(), TEXTS, st.integers()), max_size=3).map(tuple),
)

SPEC = PairSpec(
    "shop", workers=(WorkerSpec("w", ("sh",), account=Account(1, 2, (2, 3), "n", "/", "/bin/sh")),)
)


@given(SPECS)
def test_a_snapshot_says_what_was_published(spec):
    data = encode(spec)
    assert decode(data) == spec
    assert encode(decode(data)) == data


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_other_bytes_are_refused(data):
    with pytest.raises(SnapshotError):
        decode(data)


def test_no_flipped_or_missing_byte_is_missed():
    data = encode(SPEC)
    for at in range(len(data) - 1):  # but for the newline
        with pytest.raises(SnapshotError):
            decode(data[:at])
        with pytest.raises(SnapshotError):
            decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_another_layout_and_another_shape_say_so():
    document = json.loads(encode(SPEC))
    with pytest.raises(SnapshotError, match=r"has layout 3, this version reads 2: publish it again"):
        decode(json.dumps(document | {"layout": 3}).encode())
    body = document["spec"] | {"colour": "red"}
    strange = {"layout": 2, "checksum": snapshot._checksum(body), "spec": body}
    with pytest.raises(SnapshotError, match="does not fit this version"):
        decode(json.dumps(strange).encode())


def test_written_and_read_back(tmp_path):
    spec = replace(SPEC, generation=7)
    path = write(str(tmp_path), spec)
    assert path == f"{tmp_path}/config.7.json"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert read(str(tmp_path), 7) == spec
    assert os.listdir(tmp_path) == ["config.7.json"]


def test_the_last_three_are_kept(tmp_path):
    (tmp_path / "config.notes.json").touch()
    for generation in range(8, 13):
        write(str(tmp_path), replace(SPEC, generation=generation))
    expected = ["config.10.json", "config.11.json", "config.12.json", "config.notes.json"]
    assert sorted(os.listdir(tmp_path)) == expected


def test_what_a_killed_writer_left_is_overwritten(tmp_path):
    (tmp_path / "config.draft").write_text("x" * 100_000)
    write(str(tmp_path), SPEC)
    assert read(str(tmp_path), 0) == SPEC


def test_a_refusal_names_the_file(tmp_path):
    with pytest.raises(SnapshotError, match=r"config\.3\.json: cannot be read: No such file or directory"):
        read(str(tmp_path), 3)
    os.rename(write(str(tmp_path), SPEC), tmp_path / "config.3.json")
    with pytest.raises(SnapshotError, match=r"config\.3\.json: holds generation 0"):
        read(str(tmp_path), 3)
    (tmp_path / "config.4.json").write_text("{")
    with pytest.raises(SnapshotError, match=r"config\.4\.json: damaged: not JSON"):
        read(str(tmp_path), 4)


def test_reading_a_snapshot_loads_nothing_heavy():
    heavy = "{'yaml', 'hashlib', 'pwd', 'shlex', 'twinwatch.config.load'}"
    code = f"import sys, twinwatch.config.snapshot; print(sorted({heavy} & sys.modules.keys()))"
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert run.stdout == "[]\n"
