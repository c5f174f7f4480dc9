"""200 kills of each kind: whole again every time, one birth for each death, and nothing grows."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from live_pair import LivePair, until

from twinwatch.core.values import WATCHER_ROLES, Role
from twinwatch.linux.identity import is_alive

KILLS = 200
LOOKS = 20  # sizes are taken after each of the first and of the last kills, and their minima compared
WORKERS = ("web", "db", "mail")
# What a fork copies varies by chance, by up to 3 MiB, so only the least of many looks is compared. A stack that
# grew by the frames of one birth (4 KiB) would add 700 KiB; measured without growth: within 350 KiB.
RSS_TOLERANCE_KIB = 512
# What `until` waits for a passing descriptor (a /proc file in use) to be gone again.
SETTLE_S = 15.0


def descriptors(pair: LivePair, role: Role) -> int:
    try:
        return len(list(Path(f"/proc/{pair.role(role).identity.pid}/fd").iterdir()))
    except FileNotFoundError:
        return -1


def rss_kib(pair: LivePair, role: Role) -> int:
    text = Path(f"/proc/{pair.role(role).identity.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def started(pair: LivePair) -> LivePair:
    pair.configure("".join(map(pair.lone, WORKERS)))
    pair.up()
    pair.wait_whole()
    pair.wait_at_work(*WORKERS)
    return pair


def kill_once(pair: LivePair, labels: list[str]) -> None:
    """Kill what has these labels in one burst; each is born again once, and nothing else is."""
    before = pair.generations()
    slots = {role.label: pair.role(role) for role in WATCHER_ROLES} | pair.workers()
    pair.kill(*(slots[label].identity for label in labels))
    wanted = before | {label: before[label] + 1 for label in labels}
    pair.wait_whole(wanted)
    pair.wait_at_work(*set(WORKERS).intersection(labels))
    assert pair.generations() == wanted
    now = pair.workers()
    for label in WORKERS:
        if label not in labels:
            assert now[label].identity == slots[label].identity, f"{label} has another process"
    pair.assert_never_double()


def kill_some(pair: LivePair, count: int, choose: Callable[[], list[str]]) -> dict[Role, int]:
    """The least that each watcher had resident after one of these kills, in KiB."""
    least = dict.fromkeys(WATCHER_ROLES, 1 << 40)
    for _ in range(count):
        kill_once(pair, choose())
        least = {role: min(kib, rss_kib(pair, role)) for role, kib in least.items()}
    return least


@pytest.mark.slow
@pytest.mark.parametrize(
    "choose",
    [
        pytest.param(lambda: ["a"], id="a"),
        pytest.param(lambda: ["b"], id="b"),
        pytest.param(lambda: ["a", "b"], id="both"),
        pytest.param(lambda: [random.choice(WORKERS)], id="worker"),
    ],
)
def test_two_hundred_kills(pair: LivePair, choose: Callable[[], list[str]]):
    started(pair)
    rss_before = kill_some(pair, LOOKS, choose)
    pair.wait_beats()
    open_before = {role: descriptors(pair, role) for role in WATCHER_ROLES}
    kill_some(pair, KILLS - 2 * LOOKS, choose)
    rss_after = kill_some(pair, LOOKS, choose)
    for role in WATCHER_ROLES:
        until(
            lambda role=role: descriptors(pair, role) == open_before[role],
            f"{role.label} has {open_before[role]} descriptors again",
            SETTLE_S,
        )
        grown = rss_after[role] - rss_before[role]
        print(f"{role.label}: {open_before[role]} descriptors, {rss_before[role]} KiB {grown:+} KiB")
        assert grown < RSS_TOLERANCE_KIB
    for label in WORKERS:
        born = pair.births(label)
        slot = pair.worker(label)
        assert [int(generation) for _, generation in born] == list(range(1, slot.generation + 1))
        assert int(born[-1][0]) == slot.identity.pid
        assert slot.restarts == slot.generation - 1


@pytest.mark.smoke
def test_one_kill_of_each(pair: LivePair):
    started(pair)
    for labels in (["a"], ["b"], ["a", "b"], ["web"]):
        kill_once(pair, labels)
    assert {label: len(pair.births(label)) for label in WORKERS} == {"web": 2, "db": 1, "mail": 1}


def test_watchers_and_workers_in_one_burst(pair: LivePair):
    started(pair)
    for _ in range(10):
        kill_once(pair, ["a", "b", *WORKERS])
    for label in WORKERS:
        assert len(pair.births(label)) == pair.worker(label).generation


def test_a_killed_reserve_is_replaced(pair: LivePair):
    started(pair)
    before = pair.generations()
    for role in WATCHER_ROLES:
        reserves = pair.reserves(role)
        pair.kill(*reserves)
        until(lambda reserves=reserves: not any(map(is_alive, reserves)), "they are dead")
    pair.wait_whole()
    assert pair.generations() == before


def test_no_guard_is_left_over(pair: LivePair):
    """What a killed watcher leaves behind its gate either takes its role over or leaves."""
    started(pair)
    for labels in (["a"], ["a", "b"], ["b"], ["a", "b"]) * 5:
        kill_once(pair, labels)
    until(lambda: len(pair.guards()) == len(pair.everyone()) == 6, "two watchers with two reserves each")
