"""A watcher that revives a worker is struck at each of its system calls.

After each: the pair is whole, the killed worker was born again, nobody else was, nothing ran twice, and nobody
lives whom no record names.
"""

import pytest
from every_step_pair import (
    assert_only_recorded,
    assert_only_watchers,
    end_of_struck,
    gained,
    leaves_no_trace,
    strike_watching,
    watch,
)
from every_step_strike import Strike, all_steps, needs_ptrace
from live_pair import LivePair

from twinwatch.core.values import WATCHER_ROLES, Phase, Role

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_ptrace]

WORKERS = ("w0", "w1", "w2")


@pytest.mark.parametrize(("name", "every"), [("SIGKILL", 3), ("SIGSTOP", 7)])
def test_a_watcher_that_revives_a_worker(pair: LivePair, name: str, every: int) -> None:
    pair.configure("".join(pair.lone(worker) for worker in WORKERS), watch=watch(name))
    pair.up()
    pair.wait_whole()

    def play(nth: int) -> Strike:
        worker = WORKERS[nth % len(WORKERS)]
        before, slot = pair.generations(), pair.worker(worker)
        owner = slot.owner if slot.owner in WATCHER_ROLES else Role.A

        def is_over() -> bool:
            now = pair.worker(worker)
            return now.generation > slot.generation and now.phase is Phase.RUNNING and pair.is_whole()

        strike = Strike(name, nth, [pair.role(owner).identity])
        strike_watching(pair, strike, lambda: pair.kill(slot.identity), is_over)
        pair.wait_whole({worker: slot.generation + 1})
        end_of_struck(pair, strike)
        pair.wait_whole()
        births = gained(pair, before)
        number = births.pop(worker)
        # Stopped while it probes the worker's token it holds that lock, and no birth succeeds until it is ended.
        assert number in (1, 2) or (name == "SIGSTOP" and strike.struck), f"{strike}: {number} births"
        assert_only_watchers(births, {owner.label: 1} if strike.struck else {}, name, strike)
        pair.wait_at_work(worker)
        pair.assert_never_double()
        assert_only_recorded(pair, strike)
        return strike

    with leaves_no_trace(pair):
        all_steps(play, f"a watcher revives a worker, {name}", every, least=20)
