"""Reading on across rotation and truncation: every line once, in the order of the files."""

import contextlib
import os

import pytest

from twinwatch.cli import follow
from twinwatch.cli.follow import Follower


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def opened():
    with contextlib.ExitStack() as stack:
        yield lambda *args, **how: stack.enter_context(contextlib.closing(Follower(*map(str, args), **how)))


def append(path, data):
    with open(path, "ab") as file:
        file.write(data)


def rotate(path, kept=3):
    for number in range(kept, 1, -1):
        if os.path.exists(f"{path}.{number - 1}"):
            os.rename(f"{path}.{number - 1}", f"{path}.{number}")
    os.rename(path, f"{path}.1")


def step(follower):
    return [line.decode() for line in follower.step()]


def test_what_is_there_then_what_is_added(path, opened):
    append(path, b"1\n2\n")
    follower = opened(path)
    assert step(follower) == ["1", "2"]
    assert step(follower) == []
    append(path, b"3\n")
    assert step(follower) == ["3"]


def test_a_line_is_given_when_it_is_whole(path, opened):
    append(path, b"1\n2")
    follower = opened(path)
    assert step(follower) == ["1"]
    assert follower.rest() == b"2"
    append(path, b"2\n")
    assert step(follower) == ["22"]
    assert follower.rest() == b""


def test_a_file_that_comes_later(path, opened):
    follower = opened(path)
    assert (follower.is_open, step(follower), follower.rest()) == (False, [], b"")
    append(path, b"1\n")
    assert step(follower) == ["1"]


def test_backups_come_first_and_oldest_first(path, opened):
    for number, name in enumerate([f"{path}.3", f"{path}.2", f"{path}.1", path]):
        append(name, b"%d\n" % number)
    assert step(opened(path, backups=3)) == ["0", "1", "2", "3"]


def test_one_rotation(path, opened):
    append(path, b"1\n")
    follower = opened(path, backups=3)
    step(follower)
    append(path, b"2\n")
    rotate(path)
    append(path, b"3\n")
    assert step(follower) == ["2", "3"]


def test_a_writer_that_is_late_for_the_rotation(path, opened):
    append(path, b"1\n")
    follower = opened(path, backups=3)
    step(follower)
    rotate(path)
    append(path, b"3\n")
    assert step(follower) == ["3"]
    append(f"{path}.1", b"2\n")
    assert step(follower) == ["2"]


def test_several_rotations_between_two_steps(path, opened):
    append(path, b"1\n")
    follower = opened(path, backups=3)
    step(follower)
    for number in (b"2", b"3", b"4"):
        rotate(path)
        append(path, number + b"\n")
    assert step(follower) == ["2", "3", "4"]
    assert step(follower) == []


def test_in_the_middle_of_a_rotation(path, opened):
    append(path, b"1\n")
    follower = opened(path, backups=3)
    step(follower)
    append(path, b"2\n")
    rotate(path)
    assert step(follower) == ["2"]
    append(path, b"3\n")
    assert step(follower) == ["3"]


def test_many_rotations_keep_few_files_open(path, opened):
    follower = opened(path, backups=3)
    for number in range(9):
        append(path, b"%d\n" % number)
        assert step(follower) == [str(number)]
        rotate(path)
    assert len(follower._tails) <= 2


def test_a_file_that_was_cut_short(path, opened):
    append(path, b"1\n2\nhalf")
    follower = opened(path)
    step(follower)
    os.truncate(path, 0)
    append(path, b"3\n")
    assert step(follower) == ["3"]


def test_an_endless_line_comes_in_pieces(path, opened, monkeypatch):
    monkeypatch.setattr(follow, "LINE_MAX", 8)
    monkeypatch.setattr(follow, "BLOCK", 4)
    append(path, b"x" * 30)
    follower = opened(path)
    assert "".join(step(follower)) + follower.rest().decode() == "x" * 30
    assert len(follower.rest()) <= 8


LAST_LINES = [
    (b"", 2, []),
    (b"1\n", 2, ["1"]),
    (b"1\n2\n3\n", 2, ["2", "3"]),
    (b"1\n\n\n", 2, ["", ""]),
    (b"1\n2\nhalf", 2, ["2"]),
    (b"1\n2\n", 0, []),
    (b"1\n2\n", 9, ["1", "2"]),
]


@pytest.mark.parametrize("block", [1, 2, 3, 1 << 16])
@pytest.mark.parametrize("case", LAST_LINES)
def test_the_last_lines(path, opened, monkeypatch, block, case):
    data, last, expected = case
    monkeypatch.setattr(follow, "BLOCK", block)
    append(path, data)
    assert step(opened(path, last=last)) == expected
