"""`up` is struck at each call that changes something."""

import pytest
from every_step_command import RUNNING, Played, assert_down, assert_whole, begin
from every_step_pair import file_names
from every_step_strike import Strike, all_steps, needs_ptrace
from live_pair import LivePair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_ptrace]


@pytest.mark.parametrize(("name", "every"), [("SIGKILL", 9), ("SIGSTOP", 18)])
def test_up(pair: LivePair, name: str, every: int) -> None:
    begin(pair)
    pair.down()
    names = file_names(pair)

    def play(nth: int) -> Strike:
        births = {label: len(pair.births(label)) for label in RUNNING}
        strike = Played(pair, name, nth, "up", str(pair.config)).play()
        assert_whole(pair, strike)
        for label in RUNNING:
            assert len(pair.births(label)) == births[label] + 1, f"{strike}: {label} was started twice"
        pair.down()
        assert_down(pair, strike)
        assert file_names(pair) <= names, f"{strike}: left {file_names(pair) - names}"
        return strike

    all_steps(play, f"up, {name}", every, least=20)
