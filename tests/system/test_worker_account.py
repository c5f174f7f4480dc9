"""Whom a worker runs as: needs root, and something else than root to become."""

import grp
import os
import pwd
from pathlib import Path

import pytest
from worker_kit import SLEEP, LivePair, entry, kill_watchers, status_field, until, wait_running

pytestmark = pytest.mark.root


def account() -> pwd.struct_passwd:
    """A user that is a member of another group than its own, else just one that is not root."""
    members = {name for group in grp.getgrall() for name in group.gr_mem if group.gr_gid}
    others = [user for user in pwd.getpwall() if user.pw_uid and os.path.isdir(user.pw_dir)]
    return max(others, key=lambda user: user.pw_name in members)


def ids(pid: int) -> tuple[set[int], set[int], set[int]]:
    uids, gids, groups = (status_field(pid, name).split() for name in ("Uid", "Gid", "Groups"))
    return set(map(int, uids)), set(map(int, gids)), set(map(int, groups))


def test_user_with_all_its_groups(pair: LivePair):
    user = account()
    pair.configure(entry("w", SLEEP, user=user.pw_name, directory="/") + entry("root", SLEEP))
    pair.up()
    groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
    assert ids(wait_running(pair, "root")[0].identity.pid)[:2] == ({0}, {0})
    for generation in (1, 2):
        slot = wait_running(pair, "w", generation=generation)[0]
        assert ids(slot.identity.pid) == ({user.pw_uid}, {user.pw_gid}, groups)
        environ = Path(f"/proc/{slot.identity.pid}/environ").read_bytes().split(b"\0")
        for name, value in (
            ("HOME", user.pw_dir),
            ("USER", user.pw_name),
            ("LOGNAME", user.pw_name),
            ("SHELL", user.pw_shell),
        ):
            assert f"{name}={value}".encode() in environ
        kill_watchers(pair)
        if generation == 1:
            pair.kill(slot.identity)


def test_group_instead_of_the_users_own(pair: LivePair):
    user = account()
    other = next(group for group in grp.getgrall() if group.gr_gid not in (0, user.pw_gid))
    pair.configure(entry("w", SLEEP, user=user.pw_uid, group=other.gr_name, directory="/"))
    pair.up()
    uids, gids, _ = ids(wait_running(pair, "w")[0].identity.pid)
    assert (uids, gids) == ({user.pw_uid}, {other.gr_gid})


def test_it_writes_its_log_and_has_no_way_to_the_state(pair: LivePair):
    """The log is opened before the user is changed; the state file is not for workers."""
    user = account()
    script = f'id -u; cat "{pair.runtime}/state" >/dev/null 2>&1 || echo refused; exec sleep 100000'
    pair.configure(entry("w", ["sh", "-c", script], user=user.pw_name, directory="/"))
    pair.up()
    log = pair.kept / "log" / "w.log"
    until(lambda: log.read_text().count("\n") == 2, "it has written")
    assert log.read_text() == f"{user.pw_uid}\nrefused\n"


def test_folder_that_the_user_may_not_enter(pair: LivePair):
    """The step that fails is the folder, with the user's rights."""
    from twinwatch.core.values import Phase, Stage

    closed = pair.directory / "closed"
    closed.mkdir(0o700)
    user = account()
    pair.configure(
        entry(
            "w",
            SLEEP,
            user=user.pw_name,
            directory=str(closed),
            restart={"backoff": {"max": "1s", "initial": "1s"}},
        )
    )
    pair.call("up", str(pair.config), "--timeout", "2s", check=False)
    from worker_kit import wait_phase

    slot = wait_phase(pair, "w", Phase.BACKOFF)
    assert (slot.exit.stage, slot.exit.code) == (Stage.DIRECTORY, 13)


def test_stopped_and_signalled_though_it_is_another_user(pair: LivePair):
    user = account()
    pair.configure(entry("w", SLEEP, user=user.pw_name, directory="/"))
    pair.up()
    kill_watchers(pair)
    pair.call("stop", "-p", pair.name, "w")
    assert pair.worker("w").exit.signal == 15
