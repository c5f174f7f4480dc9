"""What chaos has found, each played by itself. The command that found it stands beside it."""

import os

import pytest
from live_pair import LivePair, until

from twinwatch.core import record
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Role


@pytest.mark.parametrize("role", WATCHER_ROLES, ids=["a", "b"])
def test_a_damaged_list_of_reserves_is_written_anew(pair: LivePair, role: Role):
    """twinwatch chaos --throw-away --faults all --seed 7 --duration 150s --pause 100ms"""
    before = pair.reserves(role)
    at = record.RESERVES_AT + role.slot * record.RESERVES_SIZE + 40
    flip(pair, at)
    assert pair.reserves(role) == []
    until(lambda: pair.reserves(role) == before, "the reserves are listed again")


RECORDS = {
    "header": record.HEADER_AT,
    "role": record.slot_at(Role.B.slot),
    "worker": record.slot_at(FIRST_WORKER_SLOT),
}


@pytest.mark.parametrize("at", RECORDS.values(), ids=RECORDS)
def test_a_damaged_selector_is_written_anew(pair: LivePair, at: int):
    """twinwatch chaos --throw-away --fault flip-bits --strikes 120 --seed 12 --duration 200s --pause 5ms

    The newest copy was believed, and its selector left as it was until the record's next change: one more flipped
    bit meanwhile, and nobody could believe the record any more.
    """
    before = pair.generations()
    flip(pair, at)
    until(lambda: is_named(pair, at), "the selector is whole")
    flip(pair, at)
    until(lambda: is_named(pair, at), "the selector is whole once more")
    pair.wait_beats()
    assert pair.generations() == before


def flip(pair: LivePair, at: int) -> None:
    with open(pair.runtime / "state", "r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, at)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 4]), at)


def is_named(pair: LivePair, at: int) -> bool:
    with open(pair.runtime / "state", "rb", buffering=0) as file:
        return record.is_selector(os.pread(file.fileno(), record.SELECTOR_SIZE, at))
