"""`doctor`: what is found here, and what would be found elsewhere."""

import json
import os
import platform

import pytest

from twinwatch.cli.doctor import command, kernel, limits, places
from twinwatch.cli.doctor.finding import Finding, Verdict, has
from twinwatch.cli.main import main
from twinwatch.cli.table import plain
from twinwatch.linux.paths import Paths

RELEASE = tuple(map(int, platform.release().split(".")[:2]))
MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw,hidepid=invisible 0 0
tmpfs /run tmpfs rw 0 0
cgroup2 /sys/fs/cgroup cgroup2 rw 0 0
/dev/vdb /mnt/my\\040disk xfs rw 0 0
"""
OK, DEGRADED, MISSING = Verdict.OK, Verdict.DEGRADED, Verdict.MISSING


def test_everything_here():
    found = command.examine()
    assert len({one.name for one in found}) == len(found) >= 15
    for one in found:
        assert one.found
        assert bool(one.cost) == bool(one.advice) == (one.verdict is not OK)
    assert {one.name for one in found if one.is_required} >= {"kernel", "pidfd_open", "python"}


@pytest.mark.parametrize(
    ("check", "since"),
    [
        (kernel.waits_for_pidfd, (5, 4)),
        (kernel.closes_ranges, (5, 9)),
        (kernel.numbers_processes, (6, 9)),
        (kernel.signals_groups, (6, 9)),
    ],
)
def test_a_new_kernel_has_it(check, since):
    if since > RELEASE:
        pytest.skip(f"kernel lacks what {since} brought")
    assert check().verdict is OK


def test_features_that_a_sandbox_may_forbid():
    for check in (kernel.opens_handles, kernel.keeps_exits):
        assert check().verdict in (OK, MISSING)


def test_orphans_are_looked_at_within_bounds():
    assert kernel.collects_orphans().verdict in (OK, DEGRADED)


@pytest.mark.parametrize(("after_ms", "verdict"), [(0, OK), (100, OK), (101, DEGRADED), (None, DEGRADED)])
def test_the_heir_of_orphans(after_ms, verdict):
    found = kernel.collected(1, after_ms)
    assert found.verdict is verdict
    assert "PID 1" in found.found


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("6.18.4-x", OK),
        ("5.4.0", OK),
        ("10.0", OK),
        ("5.3.9", MISSING),
        ("4.19.0-27", MISSING),
        ("?", MISSING),
    ],
)
def test_release(text, verdict):
    found = kernel.release(text)
    assert (found.verdict, found.is_fatal) == (verdict, verdict is MISSING)


def test_without_pidfds_nothing_more_is_tried(monkeypatch):
    monkeypatch.setattr(kernel, "_opens_pidfd", lambda: False)
    assert [one.is_fatal for one in kernel.findings()] == [False, True]


# --- places


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/etc", "ext4"), ("/run/x", "tmpfs"), ("/running", "ext4"), ("/mnt/my disk/x", "xfs"), ("/", "ext4")],
)
def test_file_system(path, kind, monkeypatch):
    monkeypatch.setattr(os.path, "realpath", lambda path: path)
    assert places.file_system(path, MOUNTS) == kind


def test_a_directory_is_looked_at_and_not_made(tmp_path):
    path = tmp_path / "a" / "b"
    found = places.directory("x", str(path), MOUNTS)
    assert (found.verdict, path.parent.exists()) == (OK, False)


def test_a_directory_of_others(tmp_path):
    tmp_path.chmod(0o777)
    found = places.directory("x", str(tmp_path), MOUNTS)
    assert found.is_fatal
    assert "chmod go-w" in found.advice


def test_a_directory_behind_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert "symlink" in places.directory("x", str(tmp_path / "link"), MOUNTS).advice


def test_a_dangling_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert places.directory("x", str(tmp_path / "link"), MOUNTS).is_fatal


def test_a_directory_that_may_not_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert places.directory("x", str(tmp_path / "x"), MOUNTS).is_fatal


def test_what_a_reboot_forgets(monkeypatch):
    monkeypatch.setattr(os.path, "realpath", lambda path: path)
    fine = Finding("state directory", OK, "x")
    assert places.kept(fine, "/run", MOUNTS).verdict is DEGRADED
    assert places.kept(fine, "/etc", MOUNTS) is fine


@pytest.mark.parametrize(
    ("base", "uid", "lingers", "verdict"),
    [
        ("/run/user/7/twinwatch", 7, False, DEGRADED),
        ("/run/user/7/twinwatch", 7, True, OK),
        ("/run/twinwatch", 0, False, OK),
        ("/tmp/twinwatch-7", 7, True, DEGRADED),
    ],
)
def test_lifetime(base, uid, lingers, verdict):
    environ = {"XDG_RUNTIME_DIR": "/run/user/7"}
    assert places.lifetime(Paths("x", base, "/s"), environ, uid, lingers=lingers).verdict is verdict


def test_no_place_at_all(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    assert [one.is_fatal for one in places.findings({"HOME": "nowhere"}, MOUNTS)] == [True]


# --- limits


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (limits.python((3, 11), "x"), OK),
        (limits.python((3, 10), "x"), MISSING),
        (limits.account(0), OK),
        (limits.account(5), DEGRADED),
        (limits.descriptors(-1), OK),
        (limits.descriptors(1024), OK),
        (limits.descriptors(64), DEGRADED),
        (limits.processes(10, 0), OK),
        (limits.processes(10, 5), DEGRADED),
        (limits.pids(4194304), OK),
        (limits.pids(300), DEGRADED),
        (limits.sight(MOUNTS, 0), OK),
        (limits.sight(MOUNTS, 5), DEGRADED),
        (limits.sight(MOUNTS.replace("invisible", "0"), 5), OK),
        (limits.sight("", 5), OK),
        (limits.cgroup(""), MISSING),
    ],
)
def test_limits(found, verdict):
    assert found.verdict is verdict


def test_own_cgroup():
    assert limits._own_cgroup(MOUNTS, "1:cpu:/\n0::/user.slice\n") == "/sys/fs/cgroup/user.slice"
    assert limits._own_cgroup(MOUNTS, "0::/\n") == "/sys/fs/cgroup"
    assert limits._own_cgroup("", "0::/\n") == ""
    assert limits._own_cgroup(MOUNTS, "1:cpu:/\n") == ""


def test_a_cgroup_of_our_own(tmp_path):
    (tmp_path / "cgroup.procs").touch()
    assert limits.cgroup(str(tmp_path)).verdict is OK


# --- the command

FEW = [
    has("good", given=True, since="1", cost="x"),
    has("bad", given=False, since="6.9", cost="much", is_required=True),
]


def test_what_to_do_stands_below():
    assert plain(command.blocks(FEW)).splitlines() == [
        "CHECK  VERDICT  FOUND",
        "good   ok       yes",
        "bad    missing  no",
        "",
        "bad: missing",
        "  costs: much",
        "  to do: Linux 6.9 has it, unless a sandbox forbids it",
    ]


@pytest.mark.parametrize(("found", "code"), [(FEW[:1], 0), (FEW, 1)])
def test_the_command(found, code, monkeypatch, capsys):
    monkeypatch.setattr(command, "examine", lambda: found)
    assert main(["doctor"]) == code
    assert "good" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["findings"][0]["verdict"]) == (code == 0, "ok")


def test_it_opens_no_lock(monkeypatch, tmp_path):
    """A POSIX lock is lost by any close: a doctor beside a pair must not even look."""
    opened = []
    monkeypatch.setattr(
        "builtins.open", lambda name, *a, _open=open, **h: opened.append(str(name)) or _open(name, *a, **h)
    )
    monkeypatch.setattr(
        os, "open", lambda name, *a, _open=os.open, **h: opened.append(str(name)) or _open(name, *a, **h)
    )
    command.examine()
    assert opened
    assert [name for name in opened if not name.startswith("/proc/")] == []
