"""SIGKILL or SIGSTOP at the N-th system call of whoever is giving birth, for N = 1, 2, 3 …

`strace` injects the signal at the entry of the call, so the call itself does not happen. After each: the
pair is whole again, the killed worker was born once more, the others were left alone, nothing ran twice.
"""

import pytest
from live_pair import LivePair
from strace_kit import Injection, needs_strace

from twinwatch.core.values import WATCHER_ROLES, Role

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_strace]

WORKERS = ("w0", "w1", "w2")


@pytest.fixture
def trio(pair: LivePair) -> LivePair:
    pair.configure("".join(pair.lone(name) for name in WORKERS), watch="{interval: 100ms, timeout: 1s}")
    pair.up()
    pair.wait_whole()
    return pair


@pytest.mark.parametrize(("name", "last"), [("SIGKILL", 75), ("SIGSTOP", 20)])
def test_a_watcher_that_revives_a_worker(trio: LivePair, name: str, last: int) -> None:
    first = trio.generations()
    for nth in range(1, last):
        before = trio.generations()
        worker = WORKERS[nth % len(WORKERS)]
        slot = trio.worker(worker)
        owner = slot.owner if slot.owner in WATCHER_ROLES else Role.A
        with Injection([trio.role(owner).identity], name, nth) as injection:
            trio.kill(slot.identity)
            trio.wait_whole({worker: before[worker] + 1})
            injection.wait_struck()
        trio.wait_whole()
        assert_born_once(trio, before, {worker}, nth)
    struck = sum(trio.generations()[role.label] - first[role.label] for role in WATCHER_ROLES)
    assert struck >= last - 1, "each injection ended a watcher"


def test_a_reserve_that_takes_over(trio: LivePair) -> None:
    for nth in range(1, 50):
        before = trio.generations()
        role = WATCHER_ROLES[nth % 2]
        with Injection(trio.reserves(role), "SIGKILL", nth):
            trio.kill(trio.role(role).identity)
            trio.wait_whole({role.label: before[role.label] + 1})
        trio.wait_whole()
        assert_born_once(trio, before, set(), nth)


def assert_born_once(pair: LivePair, before: dict[str, int], killed: set[str], nth: int) -> None:
    """Killed workers gained one generation (or more, where a newborn was hit too), others none."""
    after = pair.generations()
    for worker in WORKERS:
        gained = after[worker] - before[worker]
        assert gained >= 1 if worker in killed else gained == 0, f"step {nth}: {worker} gained {gained}"
    pair.assert_never_double()
