"""A heartbeat puts into its file what docs/heartbeat.md says, and is silent where there is none."""

import asyncio
import errno
import os
import struct
import subprocess
import sys
import threading
import time

import pytest
from live_pair import until

import twinwatch
from twinwatch.client import heartbeat as module
from twinwatch.client.heartbeat import LAYOUT, SIZE, VARIABLE, Heartbeat

FIELDS = struct.Struct(LAYOUT)
LAST = (1 << 64) - 1
OFTEN_S = 0.001


def drummers():
    return [thread for thread in threading.enumerate() if thread.name == module._THREAD]


def read(path):
    return FIELDS.unpack(path.read_bytes())


def sequence(path):
    return read(path)[0]


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "heartbeat"
    path.write_bytes(bytes(SIZE))
    monkeypatch.setenv(VARIABLE, str(path))
    return path


# ------------------------------------------------------------ one beat


def test_a_beat_is_sequence_time_and_state(file):
    before = time.monotonic_ns()
    with Heartbeat() as heartbeat:
        assert heartbeat.is_watched
        assert file.read_bytes() == bytes(SIZE)  # to look is not to beat
        heartbeat.beat()
        number, beaten, progress, state = read(file)
        assert (number, progress, state) == (1, 0, module.ACTIVE)
        assert before <= beaten <= time.monotonic_ns()
        heartbeat.beat()
        assert sequence(file) == 2
    assert sequence(file) == 2
    assert file.read_bytes()[28:] == bytes(36)


def test_to_map_the_file_is_no_beat(file):
    made = file.stat().st_mtime_ns
    Heartbeat().close()
    assert file.stat().st_mtime_ns == made


def test_a_file_that_is_a_hole_is_filled_and_that_is_no_beat(file):
    file.write_bytes(b"")
    os.truncate(file, SIZE)
    os.utime(file, ns=(1, 1))
    Heartbeat().close()
    assert file.stat().st_blocks > 0
    assert file.stat().st_mtime_ns == 1


def test_progress(file):
    with Heartbeat(file) as heartbeat:
        heartbeat.beat(7)
        heartbeat.beat()
        assert read(file)[2] == 7
        heartbeat.advance()
        heartbeat.advance(10)
        assert (sequence(file), read(file)[2]) == (4, 18)
        heartbeat.beat(-1)
        assert read(file)[2] == LAST


def test_the_sequence_goes_round(file):
    file.write_bytes(FIELDS.pack(LAST, 5, LAST, 1))
    with Heartbeat() as heartbeat:
        heartbeat.advance()
    assert (sequence(file), read(file)[2]) == (0, 0)


def test_two_of_one_file_go_on_from_each_other(file):
    with Heartbeat() as one, Heartbeat() as other:
        for _ in range(3):
            one.beat()
            other.beat()
    assert sequence(file) == 6


def test_the_sequence_moves_last(file, monkeypatch):
    stored = []

    class Watched(list):
        def __setitem__(self, word, value):
            stored.append(word)

    with Heartbeat() as heartbeat:
        heartbeat._words = Watched([0] * 4)
        heartbeat.beat(1)
    assert stored[-1] == module.SEQUENCE
    assert sorted(stored) == [module.SEQUENCE, module.TIME, module.PROGRESS, module.STATE]


def test_signing_off_and_on(file):
    with Heartbeat() as heartbeat:
        heartbeat.activate()
        assert read(file)[3] == module.ACTIVE
        heartbeat.sign_off()
        assert read(file)[3] == module.SIGNED_OFF
        heartbeat.activate()
        assert read(file)[3] == module.ACTIVE


@pytest.mark.parametrize("every", [None, 0.001])
def test_leaving_signs_nothing_off(file, every):
    with Heartbeat(every=every) as heartbeat:
        heartbeat.beat()
    assert read(file)[3] == module.ACTIVE
    heartbeat.close()  # again
    seen = file.read_bytes()
    heartbeat.beat(3)
    heartbeat.advance()
    heartbeat.sign_off()
    assert not heartbeat.is_watched
    assert file.read_bytes() == seen


def test_big_endian_words_are_the_same_bytes(file):
    with Heartbeat() as heartbeat:
        heartbeat._words = module._words_of(heartbeat._words.obj, "big")
        heartbeat.beat(0x0102)
        assert read(file)[0] == 1 and read(file)[2:] == (0x0102, module.ACTIVE)
        heartbeat.beat()
        assert sequence(file) == 2


# ------------------------------------------------------------ nobody watches


def absent(path, monkeypatch):
    path.unlink()


def unnamed(path, monkeypatch):
    monkeypatch.delenv(VARIABLE)


def empty_name(path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")


def impossible_name(path, monkeypatch):
    monkeypatch.setenv(VARIABLE, f"{path}/{'x' * 5000}")


def directory(path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(path.parent))


def device(path, monkeypatch):
    monkeypatch.setenv(VARIABLE, os.devnull)


def empty(path, monkeypatch):
    path.write_bytes(b"")


def short(path, monkeypatch):
    path.write_bytes(bytes(SIZE - 1))


def somebody_elses(path, monkeypatch):
    path.write_bytes(b"precious " * 100)


def fifo(path, monkeypatch):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "harm",
    [absent, unnamed, empty_name, impossible_name, directory, device, empty, short, somebody_elses, fifo],
)
def test_without_its_file_every_call_does_nothing(file, monkeypatch, harm):
    harm(file, monkeypatch)
    was = file.read_bytes() if file.is_file() else None
    heartbeat = Heartbeat(every=0.001)
    assert not heartbeat.is_watched
    with heartbeat:
        heartbeat.activate()
        heartbeat.beat(4)
        heartbeat.advance()
        heartbeat.sign_off()
        heartbeat.close()
        assert not drummers()
    assert (file.read_bytes() if file.is_file() else None) == was


def test_a_path_with_a_zero_byte():
    assert not Heartbeat("a\0b").is_watched


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "no memory"), ValueError("cut off meanwhile")])
def test_a_file_that_cannot_be_mapped(file, monkeypatch, error):
    def fail(_fd):
        raise error

    monkeypatch.setattr(module, "_map_all", fail)
    heartbeat = Heartbeat()
    heartbeat.beat()
    assert not heartbeat.is_watched
    assert file.read_bytes() == bytes(SIZE)


def test_an_impossible_rhythm_is_refused():
    for every in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="every"):
            Heartbeat("", every=every)


# ------------------------------------------------------------ another file at the path


def test_a_new_file_at_the_path_is_followed(file, monkeypatch):
    clock = [1]
    monkeypatch.setattr(module, "_now_ns", lambda: clock[0])
    with Heartbeat() as heartbeat:
        heartbeat.beat()
        old = file.rename(file.with_name("old"))
        clock[0] += module._LOOK_NS
        heartbeat.beat()  # nothing there yet
        assert sequence(old) == 2
        new = file.with_name("new")
        new.write_bytes(bytes(SIZE))
        new.rename(file)
        heartbeat.beat()  # too early to look again
        assert (sequence(old), sequence(file)) == (3, 0)
        clock[0] += module._LOOK_NS
        heartbeat.beat()
        assert (sequence(old), sequence(file)) == (3, 1)


def test_a_file_that_does_not_fit_is_not_followed(file, monkeypatch):
    clock = [1]
    monkeypatch.setattr(module, "_now_ns", lambda: clock[0])
    with Heartbeat() as heartbeat:
        old = file.rename(file.with_name("old"))
        file.write_bytes(b"")
        clock[0] += module._LOOK_NS
        heartbeat.beat()
        assert sequence(old) == 1 and file.read_bytes() == b""


# ------------------------------------------------------------ a thread that beats


def test_a_thread_beats_until_the_end_of_the_block(file):
    with Heartbeat(every=OFTEN_S):
        until(lambda: sequence(file) > 3, "it beats")
    until(lambda: not drummers(), "the thread has ended")
    seen = file.read_bytes()
    assert seen[24] == module.ACTIVE


def test_starting_twice_is_one_thread(file):
    with Heartbeat(every=OFTEN_S) as heartbeat:
        heartbeat.start()
        assert len(drummers()) == 1
    until(lambda: not drummers())


def test_a_thread_beats_only_while_true(file):
    asked, is_well = [], [True]

    def is_at_work():
        asked.append(0)
        return is_well[0]

    with Heartbeat(every=OFTEN_S, while_true=is_at_work):
        until(lambda: sequence(file) > 0)
        is_well[0] = False
        seen = len(asked) + 1  # the one that is being asked may have been told yes
        until(lambda: len(asked) > seen)
        standing = sequence(file)
        seen = len(asked) + 3
        until(lambda: len(asked) > seen, "it was asked several times more")
        assert sequence(file) == standing
        is_well[0] = True
        until(lambda: sequence(file) > standing, "it beats again")
    until(lambda: not drummers())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_whose_question_fails_is_missed(file):
    with Heartbeat(every=OFTEN_S, while_true=lambda: 1 / 0):
        until(lambda: not drummers(), "the thread has ended")
        assert sequence(file) == 0


def test_signing_off_wins_over_a_beat_on_its_way(file):
    """The thread has been told to beat when the worker signs off."""
    asked, answer = threading.Event(), threading.Event()

    def is_at_work():
        asked.set()
        return answer.wait()

    with Heartbeat(every=OFTEN_S, while_true=is_at_work) as heartbeat:
        asked.wait()
        heartbeat.sign_off()
        answer.set()
        until(lambda: not drummers())
        assert (sequence(file), read(file)[3]) == (1, module.SIGNED_OFF)


def test_closing_does_not_sign_off_a_beat_on_its_way(file):
    asked, answer = threading.Event(), threading.Event()

    def is_at_work():
        asked.set()
        return answer.wait()

    with Heartbeat(every=OFTEN_S, while_true=is_at_work) as heartbeat:
        heartbeat.beat()
        asked.wait()
    answer.set()
    until(lambda: not drummers())
    assert (sequence(file), read(file)[3]) == (1, module.ACTIVE)


def test_closing_amid_a_beat_does_not_sign_off(file):
    with Heartbeat() as heartbeat:

        def beat_amid_a_close():
            Heartbeat.beat(heartbeat)
            heartbeat._silence()  # the first half of `close`

        heartbeat.beat = beat_amid_a_close
        heartbeat._beat_in_rhythm()
    assert (sequence(file), read(file)[3]) == (1, module.ACTIVE)


def test_after_signing_off_a_thread_can_begin_again(file):
    with Heartbeat(every=OFTEN_S) as heartbeat:
        heartbeat.sign_off()
        heartbeat.activate()
        heartbeat.start()  # the thread that was told to end may not have heard of it yet
        seen = sequence(file)
        until(lambda: sequence(file) > seen + 2)
        assert read(file)[3] == module.ACTIVE
    until(lambda: not drummers())


# ------------------------------------------------------------ an event loop that beats


async def turn_until(is_true):
    for _ in range(10_000):
        if is_true():
            return
        await asyncio.sleep(OFTEN_S)
    raise AssertionError("the loop turned in vain")


def test_a_loop_beats_while_it_turns_and_not_while_it_is_blocked(file):
    async def main():
        async with Heartbeat(every=OFTEN_S):
            await turn_until(lambda: sequence(file) > 2)
            standing = sequence(file)
            until_late = time.monotonic_ns() + 50 * 1_000_000  # fifty beats are due: it blocks
            while time.monotonic_ns() < until_late:
                assert sequence(file) == standing
            await turn_until(lambda: sequence(file) > standing)
            assert not drummers()

    asyncio.run(main())
    assert read(file)[3] == module.ACTIVE


def test_run_is_a_task_that_ends_when_signed_off(file):
    async def main():
        with Heartbeat() as heartbeat:
            heartbeat._every = OFTEN_S
            beating = asyncio.create_task(heartbeat.run())
            await turn_until(lambda: sequence(file) > 2)
            heartbeat.sign_off()
            await beating
            assert read(file)[3] == module.SIGNED_OFF

    asyncio.run(main())


def test_signing_off_before_the_task_has_begun(file):
    async def main():
        async with Heartbeat(every=OFTEN_S) as heartbeat:
            heartbeat.sign_off()
            await heartbeat._task
            assert (sequence(file), read(file)[3]) == (0, module.SIGNED_OFF)

    asyncio.run(main())


def test_a_block_leaves_no_task(file):
    async def main():
        async with Heartbeat(every=1000):
            assert len(asyncio.all_tasks()) == 2
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_unwatched_a_task_runs_on(file, monkeypatch):
    monkeypatch.delenv(VARIABLE)

    async def main():
        async with Heartbeat(every=OFTEN_S) as heartbeat:
            done, _ = await asyncio.wait([heartbeat._task], timeout=0.02)
            assert not done  # whoever waits for the first task to end does not end for this one

    asyncio.run(main())


# ------------------------------------------------------------ what it loads


def loaded_by(code, **environment):
    command = [sys.executable, "-S", "-c", f"{code}; import sys; print(*sys.modules)"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return set(run.stdout.split())


def test_a_program_pays_for_what_it_uses(file):
    bare = loaded_by("import os")
    alone = loaded_by("import twinwatch") - bare
    assert alone == {"twinwatch"}
    unwatched = loaded_by("import twinwatch; twinwatch.Heartbeat('').beat()") - bare
    assert {name for name in unwatched if not name.startswith("twinwatch")} == set()
    watched = loaded_by("import twinwatch; twinwatch.Heartbeat().beat()") - bare
    assert {name for name in watched if not name.startswith("twinwatch")} == {"mmap"}
    quiet = loaded_by("import twinwatch; twinwatch.notify('READY=1')", NOTIFY_SOCKET="") - bare
    assert {name for name in quiet if not name.startswith("twinwatch")} == set()


def test_the_package_gives_its_names():
    assert twinwatch.Heartbeat is Heartbeat
    assert all(callable(getattr(twinwatch, name)) for name in twinwatch.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Hartbeat'"):
        _ = twinwatch.Hartbeat
