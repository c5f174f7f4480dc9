"""Each fault alone, against a throw-away pair: it is done, it is taken back, and nothing broke."""

import pytest
from chaos_kit import call, quick, what_broke

from twinwatch.chaos import menu
from twinwatch.chaos.needs import Allowed

STRIKES = 2
ALONE = [fault.name for fault in menu.MENU if fault.name not in {"clock-step", "pid-reuse"}]
TERMS = menu.Terms(own=True, workers=True, revive=True, allowed=Allowed())


def need(name: str) -> None:
    if why := menu.offer(menu.BY_NAME[name], TERMS).why:
        pytest.skip(why if why.startswith(("not root", "kernel lacks")) else f"kernel lacks: {why}")


def kept(tmp_path, name: str, strikes: int, seed: int = 1) -> dict[str, object]:
    need(name)
    arguments = ("--fault", name, "--strikes", str(strikes), "--pause", "50ms", "--duration", "10m")
    done, found = quick(tmp_path, *arguments, "--seed", str(seed))
    assert (done.returncode, found["verdict"]) == (0, "kept"), what_broke(found) + done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    assert len(found["events"]) + found["missed"] == strikes
    assert found["events"]
    return found


@pytest.mark.parametrize("name", ALONE)
def test_a_fault_breaks_nothing(tmp_path, name: str):
    found = kept(tmp_path, name, STRIKES)
    assert {event["fault"] for event in found["events"]} == {name}
    assert all(event["whole_ms"] is not None for event in found["events"])


def test_pids_that_belong_to_strangers(tmp_path):
    found = kept(tmp_path, "pid-reuse", 1)
    (event,) = found["events"]
    assert event["outcome"] == "extinct"
    assert event["revived"]


def test_a_machine_whose_clock_must_not_be_stepped():
    done = call("--throw-away", "--fault", "clock-step")
    assert (done.returncode, done.stdout) == (2, "")
    assert "only with --allow-clock" in done.stderr
