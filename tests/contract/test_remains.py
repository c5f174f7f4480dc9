"""What a dead leader left: its group, its token, and whose processes are left alone."""

import os
import signal
from pathlib import Path

import pytest
from scene import Actor, act, adopting_orphans, rest, taken_out, until

from twinwatch.linux import process, remains
from twinwatch.linux import token as token_lock
from twinwatch.linux.gate import COMM_RESERVE, set_comm
from twinwatch.linux.launch import generation_variable


@pytest.fixture
def token(tmp_path: Path):
    with adopting_orphans():
        yield str(Path(os.path.realpath(tmp_path)) / "job.0")


def lead_group(token: str, *, member_has_token: bool = True) -> tuple[Actor, Actor]:
    """A leader with the token, and a member of its group."""

    def lead(say):
        os.setsid()
        if member_has_token:
            token_lock.take(token)
        pid = os.fork()
        if pid == 0:
            rest()
        say(pid)
        rest()

    leader = act(lead)
    pid = int(leader.hear())
    pidfd = os.pidfd_open(pid)
    from twinwatch.linux.identity import identify

    return leader, Actor(pid, pidfd, identify(pid, pidfd), os.open(os.devnull, os.O_RDONLY))


def bury(actor: Actor) -> None:
    actor.kill()
    os.waitid(os.P_PIDFD, actor.pidfd, os.WEXITED)


# ---------------------------------------------------------------- token


def test_a_token_that_nobody_made_is_not_held(token):
    assert not token_lock.is_held(token)


def test_a_token_is_held_as_long_as_anybody_has_it(token):
    leader, member = lead_group(token)
    assert token_lock.is_held(token)
    assert sorted(remains.token_holders(token)) == sorted([leader.pid, member.pid])
    bury(leader)
    assert token_lock.is_held(token)
    assert remains.token_holders(token) == [member.pid]
    bury(member)
    assert not token_lock.is_held(token)
    leader.close()
    member.close()


def test_an_exec_keeps_the_token(token):
    def execute(say):
        token_lock.take(token)
        say("taken")
        os.execvp("sleep", ["sleep", "1000"])

    actor = act(execute)
    assert actor.hear() == "taken"
    until(lambda: Path(f"/proc/{actor.pid}/comm").read_text() == "sleep\n")
    assert token_lock.is_held(token)
    bury(actor)
    actor.close()


def test_a_token_that_nobody_took_is_free(token):
    os.close(os.open(token, os.O_CREAT | os.O_RDWR, 0o600))
    assert not token_lock.is_held(token)


def test_a_second_generation_is_refused(token):
    first = act(lambda say: (token_lock.take(token), say("taken"), rest()))
    assert first.hear() == "taken"

    def try_it(say):
        try:
            token_lock.take(token)
        except OSError as error:
            say(error.errno)

    second = act(try_it)
    assert second.hear() == "16"  # EBUSY
    first.kill()
    first.close()
    second.close()


# ---------------------------------------------------------------- the group


def test_the_rest_of_a_group_is_ended_through_its_dead_leader(token):
    leader, member = lead_group(token)
    bury(leader)
    assert remains.end_group(leader.identity, leader.pidfd, token) in (True, False)
    until(lambda: member.is_dead, "the member is dead")
    assert not remains.end_group(leader.identity, leader.pidfd, token)
    leader.close()
    member.close()


@pytest.mark.parametrize("has_token", [True, False])
def test_without_a_pidfd_only_who_holds_the_token_is_ended(token, has_token):
    """A guard that came later: the group's number proves nothing, the token does."""
    leader, member = lead_group(token, member_has_token=has_token)
    bury(leader)
    assert remains.end_group(leader.identity, -1, token) is has_token
    if has_token:
        assert process.wait_dead(member.pidfd, 30_000)
    assert member.is_dead is has_token
    bury(member)
    assert not remains.end_group(leader.identity, -1, token)
    leader.close()
    member.close()


def test_on_an_older_kernel_too(token):
    leader, member = lead_group(token)
    bury(leader)
    with taken_out(process, "send_group", lambda *_: None):
        assert remains.end_group(leader.identity, leader.pidfd, token)
    assert process.wait_dead(member.pidfd, 30_000)
    leader.close()
    member.close()


# ---------------------------------------------------------------- what escaped


def escape(token: str) -> Actor:
    """A process that left its group and its parent, and has the token."""

    def run(say):
        token_lock.take(token)
        os.setsid()
        say("away")
        rest()

    actor = act(run)
    assert actor.hear() == "away"
    return actor


def test_what_holds_the_token_is_ended_wherever_it_went(token):
    escaped = escape(token)
    stranger = act(lambda _say: rest())
    assert remains.end_token_holders(token, lambda: True) == 1
    assert process.wait_dead(escaped.pidfd, 30_000)
    assert not stranger.is_dead
    assert not token_lock.is_held(token)
    stranger.kill()
    stranger.close()
    escaped.close()


def test_nobody_is_ended_when_things_have_changed(token):
    escaped = escape(token)
    assert remains.end_token_holders(token, lambda: False) == 0
    assert not escaped.is_dead
    escaped.kill()
    escaped.close()


def test_who_looks_is_no_holder_of_its_own(token):
    fd = os.open(token, os.O_CREAT | os.O_RDWR, 0o600)
    assert remains.token_holders(token) == []
    assert remains.end_token_holders(token, lambda: True) == 0
    os.close(fd)


def test_another_token_is_another_matter(token):
    escaped = escape(token)
    other = f"{token}0"
    assert remains.token_holders(other) == []
    assert remains.end_token_holders(other, lambda: True) == 0
    assert not escaped.is_dead
    escaped.kill()
    escaped.close()


def test_a_holder_that_is_stopped_is_ended_as_well(token):
    escaped = escape(token)
    escaped.stop()
    assert remains.end_token_holders(token, lambda: True) == 1
    assert escaped.status() == signal.SIGKILL
    escaped.close()


# ---------------------------------------------------------------- has it become its program


def test_a_program_is_told_by_its_environment_or_its_name(token):
    gated = act(lambda _say: (set_comm(COMM_RESERVE), rest()))
    variable = generation_variable(7)
    until(lambda: Path(f"/proc/{gated.pid}/comm").read_text() == f"{COMM_RESERVE}\n", "it has its name")
    assert not remains.has_program(gated.pid, variable)
    program = act(
        lambda _say: os.execvpe("sleep", ["sleep", "1000"], {**os.environ, "TWINWATCH_GENERATION": "7"})
    )
    until(lambda: remains.has_program(program.pid, variable), "it executed")
    assert remains.has_program(program.pid, generation_variable(77)), "also one whose environment hides it"
    bury(program)
    assert not remains.has_program(program.pid, variable)
    gated.kill()
    gated.close()
    program.close()
