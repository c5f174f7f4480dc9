"""Which of a watcher's reserves keeps vigil (R13): exactly one of those that are ready. And crowds of children."""

from itertools import count
from types import SimpleNamespace

import pytest

from twinwatch.core.spec import Watch
from twinwatch.core.values import Identity
from twinwatch.linux.gate import Child
from twinwatch.watch import nursery as room
from twinwatch.watch.nursery import Nursery


@pytest.fixture
def nursery(monkeypatch):
    numbers = count(1000)

    def fork_gated(*_: object) -> Child:
        number = next(numbers)
        return Child(number, number, Identity(number), -1, -1)

    monkeypatch.setattr(room, "fork_gated", fork_gated)
    monkeypatch.setattr(room, "is_dead", lambda _pidfd: True)
    monkeypatch.setattr(Child, "close", lambda _child: None)
    monkeypatch.setattr(Child, "let_through", lambda *_: True)
    pair = SimpleNamespace(notify=None, spec=SimpleNamespace(watch=Watch(reserve=3)))
    loop = SimpleNamespace(add=lambda *_: None, remove=lambda _fd: None)
    made = Nursery(pair, loop, -1)  # type: ignore[arg-type]
    fill(made)
    return made


def fill(nursery: Nursery) -> None:
    while nursery.refill():
        continue


def vigils(nursery: Nursery) -> list[bool]:
    return [child.keeps_vigil for child in nursery._ready.values()]


def test_the_first_one_keeps_it(nursery):
    assert vigils(nursery) == [True, False, False]


def test_the_keeper_is_taken_last(nursery):
    taken = [nursery.take() for _ in range(3)]
    assert [child.keeps_vigil for child in taken] == [False, False, True]


def test_a_keeper_that_died_has_a_successor(nursery):
    keeper = next(pidfd for pidfd, child in nursery._ready.items() if child.keeps_vigil)
    nursery.died(keeper, lambda _pidfd: None)
    fill(nursery)
    assert vigils(nursery) == [False, False, True]


def test_one_whose_claim_was_lost_keeps_it_still(nursery):
    taken = [nursery.take() for _ in range(3)]
    for child in reversed(taken):
        nursery.give_back(child)
    fill(nursery)
    assert sorted(vigils(nursery)) == [False, False, True]


def test_one_forked_because_none_was_left_does_not(nursery):
    for _ in range(3):
        nursery.take()
    awaited = nursery.take()
    assert (awaited.is_awaited, awaited.keeps_vigil) == (True, False)
    nursery.give_back(awaited)
    fill(nursery)
    assert vigils(nursery) == [True, False, False]


def forked(nursery: Nursery, wanted: int) -> int:
    """How many more there are after one was taken, with none left before."""
    while nursery._ready:
        nursery.take()
    assert nursery.take(wanted)
    return len(nursery._ready)


def test_for_many_births_many_are_forked_in_a_row(nursery):
    assert [forked(nursery, wanted) for wanted in (1, 3, 500)] == [0, 2, room._CROWD - 1]
    assert not any(vigils(nursery))


def test_a_crowd_is_taken_before_another_is_forked(nursery, monkeypatch):
    left = forked(nursery, 500)
    monkeypatch.setattr(room, "fork_gated", None)
    assert all(nursery.take(500) for _ in range(left))


def test_what_is_left_of_a_crowd_leaves_when_the_reserves_are_there(nursery):
    left = forked(nursery, 500)
    told = []
    nursery._dismiss = lambda old: told.extend(old.values())
    for _ in range(3):
        assert nursery.refill()
        assert not told
    assert not nursery.refill()
    assert [child.is_awaited for child in told] == [True] * left
    assert vigils(nursery) == [True, False, False]


def test_what_of_a_crowd_can_be_forked_is_taken(nursery, monkeypatch):
    while nursery._ready:
        nursery.take()
    forks, fork = iter([True, True, False]), nursery._fork
    monkeypatch.setattr(nursery, "_fork", lambda **how: fork(**how) if next(forks) else None)
    assert nursery.take(500)
    assert len(nursery._ready) == 1


def test_renewed_reserves_have_a_keeper_of_their_own(nursery):
    nursery.renew()
    assert vigils(nursery) == [True, False, False]
