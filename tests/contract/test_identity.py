"""Whether a process is still the one that was recorded: each means alone, and what none can tell."""

import os
import signal
from dataclasses import replace

import pytest
from scene import Actor, act, adopting_orphans, rest, taken_out

from twinwatch.core.values import NOBODY, Identity
from twinwatch.linux import identity as identity_module
from twinwatch.linux.identity import (
    IdentityUnknown,
    ProcessGone,
    identify_self,
    is_alive,
    is_dead,
    is_stopped,
    open_process,
)

MEANS = {
    "handle": {"start_ticks": 0, "inode": 0},
    "inode": {"start_ticks": 0, "handle": b""},
    "start_ticks": {"inode": 0, "handle": b""},
}


@pytest.fixture
def other():
    """A process that lives."""
    with adopting_orphans():
        actor = act(lambda _say: rest())
        yield actor
        actor.close()


@pytest.fixture(params=MEANS)
def only(request, other):
    """The name of one means, and a record that has no other."""
    record = replace(other.identity, **MEANS[request.param])
    if not getattr(record, request.param):
        pytest.skip(f"kernel lacks {request.param} of a pidfd")
    return request.param, record


def opens(record: Identity) -> bool:
    """Whether it opens; the same process is meant by the caller."""
    pidfd = open_process(record)
    os.close(pidfd)
    return True


def reap(actor: Actor) -> None:
    actor.kill()
    os.waitid(os.P_PIDFD, actor.pidfd, os.WEXITED)


def test_a_living_process_by_each_means(only, other):
    _, record = only
    assert opens(record)
    assert is_alive(record)


def test_a_zombie_opens_and_is_dead(only, other):
    _, record = only
    other.kill()
    pidfd = open_process(record)
    assert is_dead(pidfd)
    os.close(pidfd)
    assert not is_alive(record)


def test_one_that_was_collected_is_gone(only, other):
    _, record = only
    reap(other)
    with pytest.raises(ProcessGone):
        open_process(record)
    assert not is_alive(record)


def test_a_reused_pid_is_another_process(only):
    """The PID lives, and is not the recorded process: simulated by a record that differs in one means."""
    name, record = only
    if name == "handle":
        stranger = replace(record, handle=identify_self().handle, pid=record.pid)
        pidfd = open_process(stranger)  # the handle finds its process, whatever the PID
        assert not is_dead(pidfd)
        os.close(pidfd)
        stranger = replace(record, handle=bytes(len(record.handle)))
    else:
        stranger = replace(record, **{name: getattr(record, name) + 1})
    with pytest.raises(ProcessGone):
        open_process(stranger)
    assert not is_alive(stranger)


@pytest.mark.parametrize("name", ["inode", "start_ticks"])
def test_any_mismatch_is_another_process(other, name):
    """Also where the other means agree."""
    with pytest.raises(ProcessGone):
        open_process(replace(other.identity, **{name: getattr(other.identity, name) + 1}))


def test_the_pid_alone_is_not_enough(other):
    bare = Identity(other.pid)
    with pytest.raises(IdentityUnknown):
        open_process(bare)
    assert is_alive(bare)  # cannot be told apart: it counts as alive, and is left alone


def test_the_pid_alone_of_a_dead_process(other):
    reap(other)
    with pytest.raises(ProcessGone):
        open_process(Identity(other.pid))


def test_a_means_that_the_reader_lacks_is_absent_not_death(other):
    """EPERM for handles (a container's seccomp profile), no pidfs, no /proc: the others decide."""
    with (
        taken_out(identity_module, "_open_handle", lambda _handle: None),
        taken_out(identity_module, "_inode_of", lambda _pidfd: 0),
    ):
        assert opens(other.identity)
        with taken_out(identity_module, "stat_fields", lambda _pid: []):
            with pytest.raises(IdentityUnknown):
                open_process(other.identity)
            assert is_alive(other.identity)
    with taken_out(identity_module, "stat_fields", lambda _pid: []):
        assert opens(other.identity)


def test_nobody_is_not_alive():
    assert not is_alive(NOBODY)


def test_an_identity_outlives_an_exec(other):
    """It is taken before a gated child executes its program."""
    actor = act(lambda _say: os.execvp("sleep", ["sleep", "1000"]))
    before = actor.identity
    comm = f"/proc/{actor.pid}/comm"

    def has_executed() -> bool:
        with open(comm) as file:
            return file.read() == "sleep\n"

    from scene import until

    until(has_executed)
    assert is_alive(before)
    pidfd = os.pidfd_open(actor.pid)
    assert identity_module.identify(actor.pid, pidfd) == before
    os.close(pidfd)
    actor.kill()
    actor.close()


def test_two_processes_differ_in_every_means(other):
    mine, theirs = identify_self(), other.identity
    assert mine.pid != theirs.pid
    assert not mine.inode or mine.inode != theirs.inode
    assert not mine.handle or mine.handle != theirs.handle


def test_stopped(other):
    assert not is_stopped(other.pid)
    other.stop()
    assert is_stopped(other.pid)
    assert not is_dead(other.pidfd)
    other.send(signal.SIGKILL)
