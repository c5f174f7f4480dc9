"""The birth of a watcher is struck at each system call of who gives it: its twin, or its reserve that takes over."""

import signal
from collections import Counter

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
from live_pair import LivePair, until

from twinwatch.core.values import WATCHER_ROLES
from twinwatch.linux.identity import is_alive, is_stopped

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_ptrace]


def begin(pair: LivePair, name: str, reserve: int) -> None:
    pair.configure("".join(pair.lone(worker) for worker in ("w0", "w1")), watch=watch(name, reserve))
    pair.up()
    until(lambda: pair.is_whole(reserve), "the pair is whole")
    pair.wait_at_work("w0", "w1")


@pytest.mark.parametrize(("name", "every"), [("SIGKILL", 3), ("SIGSTOP", 9)])
def test_a_watcher_that_revives_its_twin(pair: LivePair, name: str, every: int) -> None:
    """The dead one's reserves die with it: else one of them is faster. A KILL leaves the survivor's reserves."""
    begin(pair, name, 2)

    def play(nth: int) -> Strike:
        survivor = WATCHER_ROLES[nth % 2]
        dead = survivor.twin
        before = pair.generations()
        strike = Strike(name, nth, [pair.role(survivor).identity])
        strike_watching(
            pair,
            strike,
            lambda: pair.kill(*pair.reserves(dead), pair.role(dead).identity),
            lambda: pair.role(dead).generation > before[dead.label] and pair.is_whole(),
        )
        pair.wait_whole({dead.label: before[dead.label] + 1})
        end_of_struck(pair, strike)
        pair.wait_whole()
        check(
            pair, before, strike, {survivor.label: 1, dead.label: 1} if strike.struck else {}, {dead.label: 1}
        )
        return strike

    with leaves_no_trace(pair):
        all_steps(play, f"a watcher revives its twin, {name}", every, least=20)


@pytest.mark.parametrize(("name", "every"), [("SIGKILL", 6), ("SIGSTOP", 15)])
def test_a_reserve_that_takes_over(pair: LivePair, name: str, every: int) -> None:
    """Both watchers die at once. One reserve of each is left, and one of the two stands still until the other
    has taken over and given birth to its twin, or was struck at that: then it goes on, and all hangs on it.
    """
    begin(pair, name, 1)

    def play(nth: int) -> Strike:
        role = WATCHER_ROLES[nth % 2]
        before = pair.generations()
        (heir,), (other,) = pair.reserves(role), pair.reserves(role.twin)
        watchers = [pair.role(each).identity for each in WATCHER_ROLES]
        strike = Strike(name, nth, [heir])
        still = [*watchers, other]  # one watcher that saw the other one die would record the heir as its twin
        pair.kill(*still, number=signal.SIGSTOP)
        until(lambda: all(is_stopped(each.pid) for each in still), "they stand still")

        def is_over() -> bool:
            return pair.role(role).generation > before[role.label] and pair.is_whole(1)

        strike_watching(pair, strike, lambda: pair.kill(*watchers), is_over)
        pair.kill(other, number=signal.SIGCONT)
        both = {each.label: before[each.label] + 1 for each in WATCHER_ROLES}
        until(lambda: is_whole_again(pair, both), f"whole after {strike}")
        end_of_struck(pair, strike)
        until(lambda: is_whole_again(pair, both), f"whole after {strike}")
        until(lambda: not is_alive(other) or is_watcher(pair, other), "the late reserve has left")
        check(pair, before, strike, {role.label: 1} if strike.struck else {}, dict.fromkeys(both, 1))
        return strike

    with leaves_no_trace(pair, 1):
        all_steps(play, f"a reserve takes over, {name}", every, least=20)


def is_whole_again(pair: LivePair, at_least: dict[str, int]) -> bool:
    now = pair.generations()
    return all(now[label] >= number for label, number in at_least.items()) and pair.is_whole(1)


def is_watcher(pair: LivePair, identity: object) -> bool:
    return any(pair.role(role).identity == identity for role in WATCHER_ROLES)


def check(
    pair: LivePair, before: dict[str, int], strike: Strike, struck: dict[str, int], killed: dict[str, int]
) -> None:
    """Who was killed was born at least once; who was struck, or whose birth was, once more at most."""
    births = gained(pair, before)
    assert all(births.get(label, 0) >= number for label, number in killed.items()), f"{strike}: {births}"
    assert_only_watchers(births, Counter(struck) + Counter(killed), strike.name, strike)
    assert len(pair.births("w0")) == len(pair.births("w1")) == 1
    pair.assert_never_double()
    assert_only_recorded(pair, strike)
