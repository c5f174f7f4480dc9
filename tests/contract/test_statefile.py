"""The state file on the real kernel: killed writers, full disks, the journal, a moved file."""

import os
import resource
import shutil
import signal
from dataclasses import replace

import pytest
from scene import JOB, Scene, die_at_write

from twinwatch.core import record
from twinwatch.core.record import Damage, Heartbeat, Reserves, Slot
from twinwatch.core.values import Desired, Identity, Phase, Role
from twinwatch.linux import statefile
from twinwatch.linux.identity import identify_self
from twinwatch.linux.statefile import Read, StateMoved

WRITES_OF_A_SLOT, WRITES_OF_A_HEADER = 4, 2


def kill_at_each_write(scene: Scene, change, look) -> list[object]:
    """What `look` finds after a process that was killed before write 1, 2, … of `change`, until it is not."""
    found = []
    for number in range(1, 20):

        def act(_say, number=number):
            state = scene.open()
            with state.lock:
                die_at_write(number)
                change(state)

        if scene.act(act).status() != signal.SIGKILL:
            return [*found, look()]
        found.append(look())
    raise AssertionError("a change that never ends")


def test_a_killed_writer_of_a_slot(scene):
    before = scene.state.read(JOB)
    after = replace(before.slot, generation=9, births_ns=(1, 2, 3))
    found = kill_at_each_write(
        scene,
        lambda state: state.write(JOB, after, before.version),
        lambda: scene.open_and(lambda s: s.slot(JOB)),
    )
    assert found == [before.slot] * WRITES_OF_A_SLOT + [after]


def test_a_killed_writer_of_the_header(scene):
    before = scene.state.header()
    after = replace(before, desired=Desired.STOP, config_generation=9)
    found = kill_at_each_write(
        scene, lambda state: state.write_header(after), lambda: scene.open_and(lambda s: s.header())
    )
    assert found == [before] * WRITES_OF_A_HEADER + [after]


def test_after_a_killed_writer_the_next_one_writes(scene):
    """Over what the dead one left of its copy."""
    for number in range(1, WRITES_OF_A_SLOT + 1):
        read = scene.state.read(JOB)

        def act(_say, number=number, read=read):
            state = scene.open()
            with state.lock:
                die_at_write(number)
                state.write(JOB, replace(read.slot, name="torn"), read.version)

        assert scene.act(act).status() == signal.SIGKILL
        assert scene.record(JOB, failures=number).slot == scene.slot()
        assert (scene.slot().name, scene.slot().failures) == ("job", number)


# ---------------------------------------------------------------- no room


def test_a_file_that_may_not_grow(scene):
    """All room was allocated when it was made: what exists can be written whatever the limit."""

    def write(say):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
        state = scene.open()
        try:
            scene.record(JOB, failures=5)
        except OSError as error:
            say(error.errno)
        say(state.slot(JOB).failures)

    # A limit on the size of files is looked at by every write behind it, allocated or not.
    actor = scene.act(write)
    assert actor.hear() == "27"  # EFBIG
    assert actor.hear() == "0"
    assert scene.slot().failures == 0


def test_the_old_record_stands_when_a_write_is_refused(scene, monkeypatch):
    """ENOSPC, EIO or a short write at each of the writes of a change."""
    pwrite = os.pwrite
    for number in range(1, WRITES_OF_A_SLOT + 1):
        for answer in (28, 5, None):
            left = iter(range(number, 0, -1))

            def refuse(fd, data, at, left=left, answer=answer):
                if next(left, 0) != 1:
                    return pwrite(fd, data, at)
                if answer is None:
                    return pwrite(fd, data[: len(data) // 2], at)
                raise OSError(answer, os.strerror(answer))

            before = scene.state.read(JOB)
            monkeypatch.setattr(os, "pwrite", refuse)
            if number == WRITES_OF_A_SLOT and answer is None:
                monkeypatch.setattr(os, "pwrite", pwrite)
                continue  # eight bytes within a page are written or not
            with pytest.raises(OSError, match=r"."), scene.state.lock:
                scene.state.write(JOB, replace(before.slot, failures=77), before.version)
            monkeypatch.setattr(os, "pwrite", pwrite)
            assert scene.state.read(JOB) == before
            assert scene.record(JOB, failures=number).slot.failures == number


def test_there_are_no_holes_in_the_file(scene):
    """A write into a hole can fail for want of space long after `up`."""
    status = os.fstat(scene.state.fileno())
    assert status.st_size == record.file_size(JOB + 1)
    assert status.st_blocks * 512 >= status.st_size
    scene.state.extend(JOB + 100)
    status = os.fstat(scene.state.fileno())
    assert status.st_blocks * 512 >= status.st_size == record.file_size(JOB + 100)
    assert scene.state.read(JOB + 99) == Read(Slot(), 0)
    scene.state.extend(JOB)
    assert os.fstat(scene.state.fileno()).st_size == status.st_size


def test_a_file_that_was_cut_short_is_an_error_and_no_crash(scene):
    os.truncate(scene.state.path, record.slot_at(JOB) + 100)
    with pytest.raises(Damage, match="cut short"):
        scene.state.slot(JOB)
    assert scene.slot(Role.A.slot).name == "a"


# ---------------------------------------------------------------- the journal


def test_the_journal_tells_every_slot_that_changed(scene):
    since = scene.state.sequence()
    assert scene.state.changes(since) == (since, set())
    scene.record(JOB, failures=1)
    scene.record(Role.B.slot, failures=1)
    now, changed = scene.state.changes(since)
    assert (now, changed) == (since + 2, {JOB, Role.B.slot})
    assert scene.state.changes(now) == (now, set())
    assert scene.state.journal_tail(2) == [JOB, Role.B.slot]


def test_who_is_too_far_behind_looks_at_all(scene):
    since = scene.state.sequence()
    for number in range(record.JOURNAL_ENTRIES):
        scene.record(JOB if number else Role.A.slot, failures=number % 250)
    assert scene.state.changes(since)[1] == {JOB, Role.A.slot}
    scene.record(JOB, failures=251)
    assert scene.state.changes(since)[1] is None
    assert scene.state.changes(scene.state.sequence() + 5)[1] is None  # a sequence that went back


def test_a_reader_never_runs_ahead_of_a_change(scene):
    """It sees the journal entry of a writer in the middle of a change, and waits for the change."""
    before = scene.state.read(JOB)
    go, start = os.pipe()

    def write(say):
        state = scene.open()
        pwrite = os.pwrite

        def slow(fd, data, at):
            if at >= record.SLOTS_AT:
                os.pwrite = pwrite
                say("told")
                os.read(go, 1)
            return pwrite(fd, data, at)

        with state.lock:
            os.pwrite = slow
            state.write(JOB, replace(before.slot, failures=9), before.version)

    since = scene.state.sequence()
    writer = scene.act(write)
    assert writer.hear() == "told"
    assert scene.state.sequence() == since + 1
    scene.state.lock.on_wait = lambda: os.write(start, b"x")  # it waits: only now let the writer go on
    assert scene.state.changes(since)[1] == {JOB}
    assert scene.slot().failures == 9
    os.close(go)
    os.close(start)


# ---------------------------------------------------------------- who is named


def test_naming(scene):
    me = identify_self()
    assert scene.state.naming(me, JOB + 1) is None
    for index in (Role.A.slot, JOB):
        scene.record(index, identity=me)
        assert scene.state.naming(me, JOB + 1) == index
        scene.record(index, identity=Identity(1, 2, 3, b"x"))  # the older copy still has it
        assert scene.state.naming(me, JOB + 1) is None
    scene.record(JOB, identity=replace(me, pid=me.pid + 1))
    assert scene.state.naming(me, JOB + 1) is None


# ---------------------------------------------------------------- is_current, mend


def test_is_current(scene):
    read = scene.state.read(JOB)
    assert scene.state.is_current(JOB, read.version)
    assert not scene.state.is_current(JOB, -1)
    assert not scene.state.is_current(JOB, 0)
    after = scene.record(JOB, failures=1)
    assert not scene.state.is_current(JOB, read.version)
    assert scene.state.is_current(JOB, after.version)
    scene.state.extend(JOB + 2)
    assert scene.state.is_current(JOB + 1, 0)  # never written
    assert not scene.state.is_current(JOB + 1, 1)


def flip(scene: Scene, at: int) -> None:
    byte = os.pread(scene.state.fileno(), 1, at)[0]
    os.pwrite(scene.state.fileno(), bytes([byte ^ 4]), at)


@pytest.mark.parametrize("byte", range(record.SELECTOR_SIZE))
def test_a_slot_with_a_damaged_selector_can_be_changed(scene, byte):
    scene.record(JOB, failures=1)
    read = scene.state.read(JOB)
    flip(scene, record.slot_at(JOB) + byte)
    assert scene.state.read(JOB) == read
    assert scene.state.is_current(JOB, read.version)
    assert not scene.state.is_current(JOB, read.version - 1)
    assert scene.record(JOB, failures=2).slot.failures == 2
    assert record.is_selector(os.pread(scene.state.fileno(), 8, record.slot_at(JOB)))


def test_neighbours_that_are_as_they_were_are_seen_in_one_call(scene):
    first = JOB - 2
    versions = [scene.state.read(index).version for index in (first, JOB - 1, JOB)]
    assert scene.state.are_intact(first, versions) == [True, True, True]
    assert scene.state.are_intact(first, [-1, versions[1] + 1, 0]) == [False, False, False]
    version = versions[2]
    for byte in (0, 5, record.COPY_AT[version & 1] + 40):  # selector, its complement, the current copy
        flip(scene, record.slot_at(JOB) + byte)
        assert scene.state.are_intact(first, versions) == [True, True, False]
        assert not scene.state.is_intact(record.slot_at(JOB))
        flip(scene, record.slot_at(JOB) + byte)
    assert scene.state.is_intact(record.slot_at(JOB))
    flip(scene, record.slot_at(JOB) + record.COPY_AT[version + 1 & 1] + 40)  # the former one
    assert scene.state.is_intact(record.slot_at(JOB))
    assert scene.state.are_intact(JOB, [version, 1]) == [True, False], "beyond the file's end"


def test_a_damaged_copy_is_mended_by_who_knows_that_version(scene):
    older = scene.state.read(JOB)
    known = scene.record(JOB, failures=1)
    flip(scene, record.slot_at(JOB) + record.COPY_AT[known.version & 1] + 50)
    with pytest.raises(Damage):
        scene.state.slot(JOB)
    assert not scene.state.mend(JOB, older)
    with pytest.raises(Damage):
        scene.state.slot(JOB)
    assert scene.state.mend(JOB, known)
    assert scene.state.slot(JOB) == known.slot


def test_a_damaged_header_is_mended_by_who_knows_it(scene):
    known = scene.state.header()
    version = int.from_bytes(os.pread(scene.state.fileno(), 4, 0), "little")
    flip(scene, record.COPY_AT[version & 1] + 50)
    other = scene.open()
    with pytest.raises(Damage):
        other.header()
    with pytest.raises(Damage):
        other.mended_header()
    assert scene.state.header() == known  # it has not looked
    assert scene.state.mended_header() == known
    assert other.header() == known
    other.close()


# ---------------------------------------------------------------- single-writer records, create, move


def test_heartbeats_and_reserves_of_each_role(scene):
    for role in (Role.A, Role.B):
        beat = Heartbeat(role.value, 2, 3, 4, 5)
        scene.state.beat(role, beat)
        scene.state.list_reserves(role, Reserves(role.value, (identify_self(),)))
    for role in (Role.A, Role.B):
        assert scene.state.heartbeat(role).generation == role.value
        assert scene.state.reserves(role) == Reserves(role.value, (identify_self(),))


def test_an_existing_file_is_left_alone(scene):
    header = scene.state.header()
    with pytest.raises(FileExistsError):
        statefile.create(scene.paths.runtime, scene.make_header(), {})
    assert scene.open_and(lambda state: state.header()) == header
    assert os.listdir(scene.paths.runtime) == ["state"]


def test_where_there_is_no_pair(tmp_path):
    with pytest.raises(FileNotFoundError):
        statefile.StateFile(str(tmp_path), 1)


def test_a_symlink_is_refused(scene):
    os.rename(scene.state.path, f"{scene.state.path}.real")
    os.symlink("state.real", scene.state.path)
    with pytest.raises(OSError, match="symbolic"):
        scene.open()


def test_a_file_knows_whether_it_is_at_its_path(scene):
    assert scene.state.is_at_path()
    os.rename(scene.state.path, f"{scene.state.path}.away")
    assert not scene.state.is_at_path()
    os.rename(f"{scene.state.path}.away", scene.state.path)
    assert scene.state.is_at_path()
    shutil.copy(scene.state.path, f"{scene.state.path}.copy")
    os.rename(f"{scene.state.path}.copy", scene.state.path)
    assert not scene.state.is_at_path()
    shutil.rmtree(scene.paths.runtime)
    assert not scene.state.is_at_path()


def move(scene: Scene) -> None:
    with scene.state.lock:
        statefile.move(scene.state)


def test_a_lost_file_is_rebuilt_from_the_open_one(scene):
    scene.record(JOB, generation=7, phase=Phase.RUNNING)
    before = scene.state.header()
    shutil.rmtree(scene.paths.runtime)
    move(scene)
    successor = scene.open()
    assert successor.header() == before
    assert successor.slot(JOB) == scene.slot()
    assert successor.sequence() == scene.state.sequence()
    assert scene.state.header().moved
    with pytest.raises(StateMoved):
        scene.state.check_not_moved()
    assert os.listdir(scene.paths.runtime) == ["state"]
    with successor.lock:
        successor.write(JOB, replace(successor.slot(JOB), failures=3), successor.read(JOB).version)
    successor.close()


def test_the_second_mover_leaves_the_first_ones_file_alone(scene):
    shutil.rmtree(scene.paths.runtime)
    move(scene)
    inode = os.stat(scene.state.path).st_ino
    move(scene)
    assert os.stat(scene.state.path).st_ino == inode


def test_a_killed_mover_leaves_no_two_files_in_force(scene):
    """At each of its writes: the old one is in force, or marked, and then its successor can be made."""
    for number in range(1, 20):
        shutil.rmtree(scene.paths.runtime, ignore_errors=True)

        def act(_say, number=number):
            with scene.state.lock:
                die_at_write(number)
                statefile.move(scene.state)

        status = scene.act(act).status()
        old = not scene.state.header().moved
        new = os.path.exists(scene.state.path) and not scene.open_and(lambda state: state.header().moved)
        assert not (old and new)
        if status != signal.SIGKILL:
            assert new
            return
        move(scene)
        assert not scene.open_and(lambda state: state.header().moved)
    raise AssertionError("a move that never ends")


@pytest.mark.parametrize("size", [0, record.HEARTBEAT_AT + 8, record.RESERVES_AT + 8])
def test_a_file_that_was_cut_short_crashes_no_reader(scene, size):
    """Both watchers read it at every tick: what is not there is damage, or says nothing."""
    state = scene.state
    state.beat(Role.A, Heartbeat(1, 2, 3))
    state.list_reserves(Role.A, Reserves(1, (identify_self(),)))
    state.read(JOB)
    os.truncate(state.path, size)
    assert state.heartbeat(Role.B) == Heartbeat() and state.reserves(Role.B) == Reserves()
    assert state.heartbeat(Role.A) in (Heartbeat(), Heartbeat(1, 2, 3))
    assert state.ping(JOB) == record.Ping()
    with pytest.raises(Damage):
        state.read(JOB)
    state.journal_tail(4)
    assert state.naming(identify_self(), JOB + 1) is None
