"""`down` is struck at each call that changes something."""

import pytest
from every_step_command import RUNNING, Played, assert_down, begin
from every_step_pair import file_names
from every_step_strike import Strike, all_steps, needs_ptrace
from live_pair import LivePair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_ptrace]


@pytest.mark.parametrize(("name", "every"), [("SIGKILL", 5), ("SIGSTOP", 10)])
def test_down(pair: LivePair, name: str, every: int) -> None:
    begin(pair)
    pair.down()
    names = file_names(pair)

    def play(nth: int) -> Strike:
        pair.up()
        pair.wait_at_work(*RUNNING)
        pair.forget_state()
        strike = Played(pair, name, nth, "down", "-p", pair.name).play()
        assert_down(pair, strike)
        assert file_names(pair) <= names, f"{strike}: left {file_names(pair) - names}"
        return strike

    all_steps(play, f"down, {name}", every, least=10)
