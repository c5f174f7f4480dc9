"""`reload` is struck at each call that changes something."""

import pytest
from every_step_command import Played, assert_whole, begin, configure
from every_step_pair import file_names, gained
from every_step_strike import Strike, all_steps, needs_ptrace
from live_pair import LivePair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_ptrace]


@pytest.mark.parametrize(("name", "every"), [("SIGKILL", 3), ("SIGSTOP", 8)])
def test_reload(pair: LivePair, name: str, every: int) -> None:
    """Of the workers only the changed one is born again, once; the watchers live on."""
    begin(pair)
    names = file_names(pair)
    steps = iter(range(1, 10_000))

    def play(nth: int) -> Strike:
        before = pair.generations()
        step = next(steps)
        configure(pair, step)
        strike = Played(pair, name, nth, "reload", "-p", pair.name).play()
        assert_whole(pair, strike)
        assert gained(pair, before) == {"w1": 1}, str(strike)
        assert f"STEP={step}" in environ_of(pair, "w1"), f"{strike}: the old command runs"
        assert file_names(pair) <= names, f"{strike}: left {file_names(pair) - names}"
        return strike

    all_steps(play, f"reload, {name}", every, least=10)


def environ_of(pair: LivePair, label: str) -> list[str]:
    with open(f"/proc/{pair.worker(label).identity.pid}/environ", encoding="utf-8") as file:
        return file.read().split("\0")
