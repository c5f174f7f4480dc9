"""Signals and exit statuses through pidfds."""

import os
import signal
from dataclasses import replace

import pytest
from scene import Actor, act, adopting_orphans, rest, until

from twinwatch.linux import process
from twinwatch.linux.identity import is_dead

ENDINGS = {
    "code 0": (lambda: os._exit(0), 0),
    "code 7": (lambda: os._exit(7), 7 << 8),
    "code 255": (lambda: os._exit(255), 255 << 8),
    "TERM": (lambda: signal.raise_signal(signal.SIGTERM), signal.SIGTERM),
    "KILL": (lambda: signal.raise_signal(signal.SIGKILL), signal.SIGKILL),
}


@pytest.fixture(autouse=True)
def orphans():
    with adopting_orphans():
        yield


@pytest.fixture(params=ENDINGS)
def ending(request):
    return ENDINGS[request.param]


def ended(end) -> Actor:
    actor = act(lambda _say: end())
    assert process.wait_dead(actor.pidfd, 30_000)
    return actor


def test_a_childs_status_is_looked_at_without_collecting_it(ending):
    end, status = ending
    actor = ended(end)
    assert process.child_status(actor.pidfd, reap=False) == status
    assert process.child_status(actor.pidfd, reap=False) == status
    assert process.child_status(actor.pidfd, reap=True) == status
    assert process.child_status(actor.pidfd, reap=True) is None
    actor.close()


def test_a_living_child_has_no_status():
    actor = act(lambda _say: rest())
    assert process.child_status(actor.pidfd, reap=False) is None
    assert process.stranger_status(actor.pidfd, actor.identity) is None
    assert not process.wait_dead(actor.pidfd, 0)
    actor.kill()
    actor.close()


def test_a_strangers_status_while_it_is_a_zombie(ending):
    """Seen by one that is not its parent: a process beside it."""
    end, status = ending
    actor = ended(end)
    beside = act(lambda say: say(process.stranger_status(actor.pidfd, actor.identity)))
    assert beside.hear() == str(status)
    assert process.child_status(actor.pidfd, reap=False) == status  # it was not collected
    actor.close()
    beside.close()


def test_a_strangers_status_after_it_was_collected(ending):
    end, status = ending
    actor = ended(end)
    os.waitid(os.P_PIDFD, actor.pidfd, os.WEXITED)
    if (found := process.stranger_status(actor.pidfd, actor.identity)) is None:
        pytest.skip("kernel lacks PIDFD_GET_INFO of a collected process")
    assert found == status
    actor.close()


def test_a_zombie_that_has_the_pid_of_another_tells_nothing():
    """The record's process was collected, its PID is a zombie's now: its status is not believed."""
    actor = ended(lambda: os._exit(7))
    recorded = replace(actor.identity, start_ticks=actor.identity.start_ticks - 1)
    own = os.pidfd_open(os.getpid())
    assert process.stranger_status(own, recorded) is None
    os.close(own)
    actor.close()


def test_send_to_the_living_and_the_dead():
    actor = act(lambda _say: rest())
    assert process.send(actor.pidfd, signal.SIGCONT)
    assert process.send(actor.pidfd, signal.SIGTERM)
    assert process.wait_dead(actor.pidfd, 30_000)
    os.waitid(os.P_PIDFD, actor.pidfd, os.WEXITED)
    assert not process.send(actor.pidfd, signal.SIGTERM)
    assert not process.end(actor.identity)
    actor.close()


def test_end_signals_only_the_recorded_process():
    actor = act(lambda _say: rest())
    assert not process.end(replace(actor.identity, start_ticks=1, inode=0, handle=b""))
    assert not actor.is_dead
    assert process.end(actor.identity)
    assert process.wait_dead(actor.pidfd, 30_000)
    actor.close()


def leader_with_member() -> tuple[Actor, int]:
    """The leader of a group, and a pidfd of a member that it forked."""

    def lead(say):
        os.setsid()
        pid = os.fork()
        if pid == 0:
            rest()
        say(pid)
        rest()

    leader = act(lead)
    return leader, os.pidfd_open(int(leader.hear()))


@pytest.mark.parametrize("state", ["alive", "zombie", "collected"])
def test_a_group_is_reached_through_its_leader(state):
    leader, member = leader_with_member()
    if state != "alive":
        leader.kill()
    if state == "collected":
        os.waitid(os.P_PIDFD, leader.pidfd, os.WEXITED)
    if (sent := process.send_group(leader.pidfd, signal.SIGKILL)) is None:
        pytest.skip("kernel lacks the group signal of a pidfd")
    assert sent
    if state != "collected":
        os.waitid(os.P_PIDFD, leader.pidfd, os.WEXITED)
    os.waitid(os.P_PIDFD, member, os.WEXITED)  # an orphan comes to the test
    assert process.send_group(leader.pidfd, signal.SIGKILL) is False
    os.close(member)
    leader.close()


def test_who_leads_no_group_reaches_nobody():
    """A child that is still in the test's own group."""
    actor = act(lambda _say: rest())
    assert process.send_group(actor.pidfd, signal.SIGKILL) in (False, None)
    assert not actor.is_dead
    actor.kill()
    actor.close()


def test_death_is_a_readable_pidfd_even_of_a_zombie():
    actor = act(lambda _say: rest())
    assert not is_dead(actor.pidfd)
    actor.send(signal.SIGKILL)
    until(lambda: is_dead(actor.pidfd))
    actor.close()
