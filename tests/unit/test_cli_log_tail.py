"""Lines of a log that was rotated in place: from its backups, whatever has become of them."""

import contextlib
import gzip
import os

import pytest

from twinwatch.cli import log_backups
from twinwatch.cli.follow import Follower
from twinwatch.cli.log_backups import backups_of
from twinwatch.cli.log_tail import LogTail
from twinwatch.core.rotating import Record, Stage
from twinwatch.linux import rotation_record


@pytest.fixture
def log(tmp_path):
    return tmp_path / "web.log"


def keep(log, segments, *, start, base, stage=Stage.REST, sequence=1):
    """A record as the rotator leaves it."""
    status = log.stat()
    record = Record(
        str(log), status.st_dev, status.st_ino, 0, base, start, segments, stage=stage, sequence=sequence
    )
    rotation_record.save(f"{log}.record", record)


@pytest.fixture
def opened(log):
    with contextlib.ExitStack() as stack:

        def follow(last=None):
            tail = lambda fd: LogTail(fd, str(log), f"{log}.record")  # noqa: E731
            return stack.enter_context(contextlib.closing(Follower(str(log), last=last, tail=tail)))

        yield follow


def step(follower):
    return b"|".join(follower.step()).decode()


@pytest.fixture
def three(log):
    """a to f in backups, the older one packed and cut within a line, g to i in the file."""
    log.with_name("web.log.2.gz").write_bytes(gzip.compress(b"a\nb\nc"))
    log.with_name("web.log.1").write_bytes(b"c\ndd\nee\nf")
    log.write_bytes(b"f\ng\nh\ni\n")
    keep(log, (9, 5), start=14, base=14)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, "a|b|cc|dd|ee|ff|g|h|i"),
        (0, ""),
        (1, "i"),
        (3, "g|h|i"),
        (4, "ff|g|h|i"),
        (6, "dd|ee|ff|g|h|i"),
        (7, "cc|dd|ee|ff|g|h|i"),
        (8, "b|cc|dd|ee|ff|g|h|i"),
        (9, "a|b|cc|dd|ee|ff|g|h|i"),
        (99, "a|b|cc|dd|ee|ff|g|h|i"),
    ],
)
def test_the_last_lines_are_in_backups_too(three, opened, last, expected):
    assert step(opened(last)) == expected


def test_a_hole_is_skipped(log, opened):
    log.with_name("web.log.1").write_bytes(b"a\n")
    log.write_bytes(bytes(2) + b"b\n")
    keep(log, (2,), start=2, base=0)
    assert step(opened()) == "a|b"
    assert step(opened(1)) == "b"
    assert step(opened(2)) == "a|b"


def test_a_hole_without_a_record(log, opened):
    with log.open("wb") as file:
        file.seek(8192)
        file.write(b"a\n")
    assert step(opened()) == "a"


def test_backups_that_are_gone_are_said_to_be(three, log, opened):
    follower = opened()
    follower._tails[0].position = 2
    log.with_name("web.log.2.gz").unlink()
    assert step(follower) == "c|dd|ee|ff|g|h|i"
    assert follower.lost == 3
    assert step(opened()) == "c|dd|ee|ff|g|h|i", "it begins with what is there"


def test_one_in_the_middle_is_gone(log, opened):
    for number, data in ((1, b"e\nf\n"), (3, b"a\n")):
        log.with_name(f"web.log.{number}").write_bytes(data)
    log.write_bytes(b"g\n")
    keep(log, (4, 6, 2), start=12, base=12)
    follower = opened()
    assert step(follower) == "a|e|f|g"
    assert follower.lost == 6


@pytest.mark.parametrize("damage", [b"", b"nothing packed", None])
def test_a_damaged_backup_is_left_out(three, log, opened, damage):
    path = log.with_name("web.log.2.gz")
    packed = path.read_bytes()
    path.write_bytes(packed[:11] + b"\xff\xff" + packed[13:] if damage is None else damage)
    follower = opened()
    follower._tails[0].position = 0
    assert step(follower) == "c|dd|ee|ff|g|h|i"
    assert follower.lost == 5
    assert step(opened(99)).endswith("dd|ee|ff|g|h|i")


def test_strangers_among_the_backups(three, log, opened):
    log.with_name("web.log.3").write_bytes(b"another length\n")
    log.with_name("web.log.4").mkdir()
    os.mkfifo(log.with_name("web.log.5"))
    assert step(opened()) == "a|b|cc|dd|ee|ff|g|h|i"


def test_a_new_file_goes_on_behind_the_backups(three, log, opened):
    follower = opened()
    assert step(follower).endswith("|i")
    os.rename(log, log.with_name("old"))
    log.write_bytes(b"j\n")
    assert step(follower) == "j"
    status = log.stat()
    renewed = Record(str(log), status.st_dev, status.st_ino, 14, 14, 14, (9, 5), sequence=2)
    rotation_record.save(f"{log}.record", renewed)
    with log.open("ab") as file:
        file.write(b"k\n")
    assert step(follower) == "k"
    assert step(opened()) == "a|b|cc|dd|ee|fj|k", "of the deleted file nothing is left"


def test_a_file_that_comes_later(log, opened):
    follower = opened()
    assert (follower.is_open, step(follower)) == (False, "")
    log.with_name("web.log.1").write_bytes(b"a\n")
    log.write_bytes(b"b\n")
    keep(log, (2,), start=2, base=2)
    assert step(follower) == "a|b", "and was rotated before it was seen"


def test_renumbered_while_it_looks(log, monkeypatch):
    """Each backup once, newest first, also when all get the next number in between."""
    names = (".web.log.head", "web.log.1", "web.log.2")  # their contents, too
    for name in names:
        log.with_name(name).write_text(name)
    lengths = tuple(map(len, names))
    opener, calls = log_backups._opener, []

    def renumbering(path, flags):
        fd = opener(path, flags)
        if not calls:
            for old, new in (("web.log.2", "web.log.3"), ("web.log.1", "web.log.2"), (names[0], "web.log.1")):
                os.rename(log.with_name(old), log.with_name(new))
        calls.append(path)
        return fd

    monkeypatch.setattr(log_backups, "_opener", renumbering)
    found = list(backups_of(str(log), sum(lengths), lengths, has_head=True))
    assert [backup.read().decode() for backup in found] == list(names)
    assert [(backup.first, backup.end) for backup in found] == [(18, 31), (9, 18), (0, 9)]
    for backup in found:
        backup.close()
