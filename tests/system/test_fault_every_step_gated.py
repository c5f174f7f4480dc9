"""A gated child is struck at each system call between its gate and its program.

Everything that such a child may do is asked of it: heartbeat file, cgroup, limits, user, directory, hook. It is
held before the order comes; its exec ends the operation. A killed one is followed by the next generation, a stopped
one is ended when it did not get through its gate in time (R07).
"""

import os
from pathlib import Path

import pytest
from every_step_pair import assert_only_recorded, end_of_struck, gained, leaves_no_trace, strike_watching
from every_step_strike import Strike, all_steps, needs_ptrace
from live_pair import LivePair, until

from twinwatch.core.values import WATCHER_ROLES, Role
from twinwatch.linux import cgroup

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_ptrace]

WHOLE_LIFE = """    restart: {{backoff: {{burst: 1000}}}}
    directory: {directory}
    umask: 027
    rlimits: {{core: 0}}
    before_start: [sh, -c, 'echo $TWINWATCH_GENERATION >>{directory}/hooks']
"""


def demanding(pair: LivePair) -> str:
    text = WHOLE_LIFE.format(directory=pair.directory)
    text += "    user: root\n" if os.geteuid() == 0 else ""
    text += "    cgroup: {}\n" if cgroup.parent() else ""
    return pair.lone("w", extra=text)


def cgroups(pair: LivePair) -> list[str]:
    above = cgroup.parent()
    return sorted(path.name for path in Path(above).glob(f"*{pair.name}*")) if above else []


@pytest.mark.parametrize(("name", "every"), [("SIGKILL", 3), ("SIGSTOP", 5)])
def test_a_gated_child_on_its_way_to_exec(pair: LivePair, name: str, every: int) -> None:
    """The owner has one reserve: the one that is held is the one that is let through.

    One that is traced looks stopped at times, and has an interval's time then. For SIGKILL that is long; for SIGSTOP
    it is what the test waits for, and on a slow machine a child may be ended too early: one birth more.
    """
    interval = "400ms" if name == "SIGSTOP" else "5s"
    pair.configure(demanding(pair), watch=f"{{interval: {interval}, timeout: 20s, reserve: 1}}")
    pair.up()
    until(lambda: pair.is_whole(1), "the pair is whole")
    number_of_cgroups = len(cgroups(pair))

    def play(nth: int) -> Strike:
        before, slot = pair.generations(), pair.worker("w")
        (child,) = pair.reserves(slot.owner if slot.owner in WATCHER_ROLES else Role.A)
        strike = Strike(name, nth, [child])
        strike_watching(pair, strike, lambda: pair.kill(slot.identity), lambda: False)
        until(lambda: pair.worker("w").generation > slot.generation and pair.is_whole(1), "whole again")
        end_of_struck(pair, strike)
        until(lambda: pair.is_whole(1), f"whole after {strike}")
        births = gained(pair, before)
        least = 2 if strike.struck else 1
        assert births.keys() == {"w"} and births["w"] in (least, least + 1), f"{strike}: {births}"
        pair.wait_at_work("w")
        hooks = (pair.directory / "hooks").read_text().split()
        assert len(hooks) == len(set(hooks)), f"{strike}: a hook ran twice"
        pair.assert_never_double()
        assert_only_recorded(pair, strike)
        until(lambda: len(cgroups(pair)) <= number_of_cgroups, f"no cgroup is left: {cgroups(pair)}")
        return strike

    with leaves_no_trace(pair, 1):
        all_steps(play, f"a gated child on its way to exec, {name}", every, least=20)
