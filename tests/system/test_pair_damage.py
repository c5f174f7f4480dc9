"""Flipped bits and garbage in the state file: said, repaired from a living memory, never guessed at."""

import os
import random
from collections.abc import Callable

import pytest
from live_pair import LivePair, until

from twinwatch.core import record
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Role
from twinwatch.linux.identity import is_alive

NAMES = ("web", "db")


@pytest.fixture
def running(pair: LivePair) -> LivePair:
    pair.configure("".join(map(pair.lone, NAMES)))
    pair.up()
    pair.wait_whole()
    pair.wait_at_work(*NAMES)
    return pair


def overwrite(pair: LivePair, at: int, data: bytes) -> None:
    with open(pair.runtime / "state", "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), data, at)


def read(pair: LivePair, at: int, size: int) -> bytes:
    with open(pair.runtime / "state", "rb", buffering=0) as file:
        return os.pread(file.fileno(), size, at)


def flip(pair: LivePair, at: int) -> None:
    """Flip one bit of a byte."""
    overwrite(pair, at, bytes([read(pair, at, 1)[0] ^ 1 << random.randrange(8)]))


def current_copy(pair: LivePair, at: int) -> int:
    """Offset of the current copy of the record at `at`."""
    version = int.from_bytes(read(pair, at, 4), "little")
    return at + record.COPY_AT[version & 1]


def in_body(pair: LivePair, at: int) -> None:
    flip(pair, current_copy(pair, at) + 12 + random.randrange(200))


def in_both_copies(pair: LivePair, at: int) -> None:
    for copy_at in record.COPY_AT:
        flip(pair, at + copy_at + 12 + random.randrange(200))


def in_checksum(pair: LivePair, at: int) -> None:
    flip(pair, current_copy(pair, at) + random.randrange(4))


def in_version(pair: LivePair, at: int) -> None:
    flip(pair, current_copy(pair, at) + 4 + random.randrange(4))


def in_selector(pair: LivePair, at: int) -> None:
    flip(pair, at + random.randrange(8))


def whole_record(pair: LivePair, at: int) -> None:
    overwrite(pair, at, random.randbytes(record.RECORD_SIZE))


def zeros(pair: LivePair, at: int) -> None:
    """What a lost block reads as, and also what a slot reads as that was never used."""
    overwrite(pair, at, bytes(record.RECORD_SIZE))


LOSSES = pytest.mark.parametrize("lose", [whole_record, zeros], ids=["garbage", "zeros"])


RECORDS = {
    "header": record.HEADER_AT,
    "role a": record.slot_at(Role.A.slot),
    "role b": record.slot_at(Role.B.slot),
    "worker": record.slot_at(FIRST_WORKER_SLOT),
}


def is_sound(pair: LivePair) -> bool:
    """Every record can be believed, by who has only the file."""
    size = record.file_size(FIRST_WORKER_SLOT + len(NAMES))
    data = read(pair, 0, size)
    try:
        for at in (record.HEADER_AT, *(record.slot_at(index) for index in (0, 1, 3, 4))):
            record.unpack_record(data[at : at + record.RECORD_SIZE])
    except record.Damage:
        return False
    return True


def assert_as_before(pair: LivePair, before: dict[str, int], workers: dict[str, object]) -> None:
    pair.forget_state()
    pair.wait_whole()
    pair.wait_beats()
    assert pair.generations() == before
    assert {label: slot.identity for label, slot in pair.workers().items()} == workers
    assert [len(pair.births(name)) for name in NAMES] == [1, 1]


@pytest.mark.parametrize("at", RECORDS.values(), ids=RECORDS)
def test_a_flipped_bit_is_repaired(running: LivePair, at: int):
    before = running.generations()
    workers = {label: slot.identity for label, slot in running.workers().items()}
    for count, harm in enumerate((in_body, in_checksum, in_version, in_both_copies), 1):
        harm(running, at)
        until(lambda: is_sound(running), f"it is repaired: {harm.__name__}")
        until(lambda count=count: repairs(running) >= count, f"the repair is told: {harm.__name__}")
        running.wait_beats()  # what one watcher wrote anew, the other one knows too
    assert_as_before(running, before, workers)


def repairs(pair: LivePair) -> int:
    return sum(event["event"] == "repaired" for event in pair.events())


@pytest.mark.parametrize("at", RECORDS.values(), ids=RECORDS)
def test_a_flipped_bit_in_a_selector(running: LivePair, at: int):
    """The newest whole copy is believed; the next change writes a sound selector."""
    before = running.generations()
    workers = {label: slot.identity for label, slot in running.workers().items()}
    in_selector(running, at)
    running.wait_beats()
    assert_as_before(running, before, workers)


@pytest.mark.parametrize("role", WATCHER_ROLES, ids=["a", "b"])
@LOSSES
def test_the_slot_of_a_role_is_lost(running: LivePair, role: Role, lose: Callable[[LivePair, int], None]):
    """No version is left to compare, but a role's living holder knows that nobody has claimed it."""
    before = running.generations()
    workers = {label: slot.identity for label, slot in running.workers().items()}
    lose(running, record.slot_at(role.slot))
    until(lambda: is_sound(running), "it is repaired")
    assert_as_before(running, before, workers)
    running.kill(running.role(role).identity)
    running.wait_whole({role.label: before[role.label] + 1})


@LOSSES
def test_the_slot_of_a_worker_is_lost(running: LivePair, lose: Callable[[LivePair, int], None]):
    """Nobody can prove to know the newest version: that slot is refused and reported, the others go on."""
    web, db = running.worker("web"), running.worker("db")
    index = next(i for i in (FIRST_WORKER_SLOT, FIRST_WORKER_SLOT + 1) if running.state.slot(i).name == "web")
    lose(running, record.slot_at(index))
    running.wait_beats()
    assert is_alive(web.identity)
    until(lambda: "damaged" in {event["event"] for event in running.events()}, "it is reported")
    running.kill(db.identity, web.identity)
    until(lambda: running.births("db")[1:], "the other worker is born again")
    running.wait_beats()
    assert len(running.births("web")) == 1
    phases = {worker["name"]: worker["phase"] for worker in running.status()["workers"]}
    assert phases.pop("web", "damaged") == "damaged"  # who never read it takes zeros for a free slot
    assert phases == {"db": "running"}


def test_a_worker_dies_with_a_damaged_slot(running: LivePair):
    before, identity = running.generations(), running.worker("web").identity
    in_body(running, record.slot_at(FIRST_WORKER_SLOT))
    running.kill(identity)
    until(lambda: is_sound(running), "it is repaired")
    running.forget_state()
    running.wait_whole({"web": before["web"] + 1})
    running.wait_at_work("web")
    assert len(running.births("web")) == 2


def test_flips_all_over(running: LivePair):
    before = running.generations()
    workers = {label: slot.identity for label, slot in running.workers().items()}
    for _ in range(10):
        in_body(running, random.choice(list(RECORDS.values())))
        until(lambda: is_sound(running), "it is repaired")
        running.wait_beats()  # what one watcher wrote anew, the other one knows too
    assert_as_before(running, before, workers)


def test_damage_that_nobody_remembers(running: LivePair):
    """All guards are gone: `up` sets the file aside, says so, and no worker gets a second instance."""
    workers = [slot.identity for slot in running.workers().values()]
    running.extinguish()
    whole_record(running, record.HEADER_AT)
    running.forget_state()
    done = running.call("up", str(running.config), check=False)
    assert done.returncode == 1
    assert [event for event in running.events() if event["event"] == "state-replaced"]
    assert list(running.kept.glob("state.damaged.*"))
    assert all(map(is_alive, workers))
    assert [len(running.births(name)) for name in NAMES] == [1, 1]


def kill_all_of_the_pair(pair: LivePair) -> None:
    """Both watchers and every reserve, until none is left to take over."""
    while everyone := pair.everyone():
        pair.kill(*everyone)
        until(lambda known=everyone: not any(map(is_alive, known)), "they are dead")


def test_down_ends_a_worker_whose_record_nobody_can_repair(running: LivePair):
    """Its slot names nobody any more; the token that it holds does (P8). Generations only grow."""
    web = running.worker("web").identity
    for _ in range(3):
        db = running.worker("db")
        running.kill(db.identity)
        running.wait_whole({"db": db.generation + 1})
    before = running.generations()
    kill_all_of_the_pair(running)
    in_both_copies(running, record.slot_at(FIRST_WORKER_SLOT))
    in_both_copies(running, record.slot_at(FIRST_WORKER_SLOT + 1))
    running.call("up", str(running.config), check=False)
    assert is_alive(web)
    running.down()
    assert not is_alive(web)
    running.up()
    running.wait_whole()
    assert running.generations()["a"] > before["a"]


def nothing(_size: int) -> bytes:
    return b""


@pytest.mark.parametrize("content", [nothing, random.randbytes], ids=["emptied", "garbage"])
@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_the_whole_file_is_lost(running: LivePair, content: Callable[[int], bytes], how: str):
    """The watchers live on and write it anew; what nobody can be sure of is refused, and nothing is doubled."""
    workers = {label: slot.identity for label, slot in running.workers().items()}
    watchers = [running.role(role).identity for role in WATCHER_ROLES]
    running.forget_state()
    path = running.runtime / "state"
    wrong = content(path.stat().st_size)
    if how == "replaced":
        path.unlink()
    path.write_bytes(wrong)
    until(lambda: roles_are_sound(running), "header and roles are there again")
    running.wait_beats()
    assert all(map(is_alive, watchers))
    assert all(map(is_alive, workers.values()))
    assert [len(running.births(name)) for name in NAMES] == [1, 1]
    running.down()
    assert not any(map(is_alive, (*watchers, *workers.values())))


def roles_are_sound(pair: LivePair) -> bool:
    try:
        data = read(pair, 0, record.file_size(2))
        for at in (record.HEADER_AT, record.slot_at(0), record.slot_at(1)):
            record.unpack_record(data[at : at + record.RECORD_SIZE])
    except (record.Damage, FileNotFoundError):
        return False
    return True
