"""What cannot be done is said, with its reason; never dropped in silence."""

import pytest

from twinwatch.chaos import hierarchy, menu, needs
from twinwatch.chaos.needs import Allowed

OWN = menu.Terms(own=True, workers=True, revive=True, allowed=Allowed())
THEIRS = menu.Terms(own=False, workers=False, revive=False, allowed=Allowed())
DESTRUCTIVE = {
    *("freeze", "oom", "fork-failure", "disk-full", "descriptors", "lose-directory", "flip-bits"),
    *("clock-step", "pid-reuse"),
}


def whys(terms):
    return {one.fault.name: one.why for one in menu.offers(terms)}


def without(monkeypatch, **files):
    """This machine with these files saying something else."""
    texts = {name.replace("_", "/"): text for name, text in files.items()}
    real = hierarchy.read
    monkeypatch.setattr(hierarchy, "read", lambda path: texts.get(path, real(path)))


def test_the_menu_is_the_whole_of_it():
    assert len(menu.BY_NAME) == len(menu.MENU) == 18
    assert whys(OWN).keys() == whys(THEIRS).keys() == menu.BY_NAME.keys()


def test_a_pair_of_a_users_is_struck_at_its_watchers_alone():
    free = {name for name, why in whys(THEIRS).items() if not why}
    assert free == {"kill-a", "kill-b", "kill-both", "kill-group", "kill-session", "stop-cont"}


def test_what_destroys_is_for_throw_away_pairs_whatever_is_allowed():
    terms = menu.Terms(own=False, workers=True, revive=True, allowed=Allowed(clock=True))
    found = whys(terms)
    assert {name for name, why in found.items() if "--throw-away" in why} == DESTRUCTIVE


def test_workers_and_the_last_guard_are_struck_only_when_that_is_allowed():
    found = whys(THEIRS)
    assert "--workers" in found["kill-worker"]
    assert "--revive" in found["kill-watchers"]
    assert "--revive" in found["kill-by-name"]
    with_anchor = menu.Terms(own=False, workers=True, revive=True, allowed=Allowed())
    assert not any(whys(with_anchor)[name] for name in ("kill-worker", "kill-watchers", "kill-by-name"))


def test_the_clock_is_stepped_only_when_that_is_allowed(monkeypatch):
    assert "--allow-clock" in whys(OWN)["clock-step"]
    monkeypatch.setattr(needs.os, "geteuid", lambda: 0)
    assert needs.clock(Allowed(clock=True)) == ""
    monkeypatch.setattr(needs.os, "geteuid", lambda: 1000)
    assert needs.clock(Allowed(clock=True)) == "not root"


def test_nobody_but_root_mounts_and_chooses_pids(monkeypatch):
    monkeypatch.setattr(needs.os, "geteuid", lambda: 1000)
    assert needs.tmpfs(Allowed()).startswith("not root")
    assert needs.last_pid(Allowed()).startswith(("not root", "kernel lacks"))


def test_a_mount_that_is_refused_is_told(monkeypatch):
    monkeypatch.setattr(needs.os, "geteuid", lambda: 0)
    monkeypatch.setattr(needs.private, "may_mount", lambda: "Operation not permitted")
    assert needs.tmpfs(Allowed()) == "no small file system can be mounted: Operation not permitted"


def test_no_cgroups_at_all(monkeypatch):
    without(monkeypatch, _proc_mounts="proc /proc proc rw 0 0\n")
    monkeypatch.setattr(needs.os, "geteuid", lambda: 0)
    assert needs.freezer(Allowed()).startswith("no cgroup freezer")
    assert needs.memory(Allowed()).startswith("no memory cgroup")
    assert "RLIMIT_NPROC does not bind root" in needs.forks(Allowed())
    monkeypatch.setattr(needs.os, "geteuid", lambda: 1000)
    assert needs.forks(Allowed()) == ""


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """v2 with pids for its children, v1 with memory and freezer."""
    two, one = tmp_path / "two", tmp_path / "one"
    for directory in (two / "own", one):
        directory.mkdir(parents=True)
    for directory in (two, two / "own"):
        (directory / "cgroup.subtree_control").write_text("pids\n" if directory == two else "")
    without(
        monkeypatch,
        _proc_mounts=f"cgroup2 {two} cgroup2 rw 0 0\ncgroup {one} cgroup rw,memory,freezer 0 0\n",
        _proc_self_cgroup="5:memory,freezer:/\n0::/own\n",
    )
    return two, one


def test_v2_is_taken_where_it_has_the_controller(mounts):
    two, one = mounts
    assert hierarchy.find("pids") == hierarchy.Hierarchy(
        "pids", 2, str(two)
    )  # `own` has none for its children
    assert hierarchy.find("memory") == hierarchy.Hierarchy("memory", 1, str(one))
    assert hierarchy.find("cpu") is None


def test_both_freezers_are_found(mounts):
    two, one = mounts
    assert [(one.version, one.directory) for one in hierarchy.freezers()] == [
        (2, f"{two}/own"),
        (1, str(one)),
    ]
    freezing = [found.group("g").freezing(on=True) for found in hierarchy.freezers()]
    assert freezing == [(f"{two}/own/g/cgroup.freeze", "1"), (f"{one}/g/freezer.state", "FROZEN")]


def test_limits_as_each_version_writes_them(mounts):
    two, one = mounts
    table = hierarchy.Hierarchy("memory", 1, str(one)).group("t")
    assert table.memory(1 << 20) == (f"{one}/t/memory.limit_in_bytes", "1048576")
    assert table.memory(None) == (f"{one}/t/memory.limit_in_bytes", "-1")
    table = hierarchy.Hierarchy("memory", 2, str(two)).group("t")
    assert table.memory(1 << 20) == (f"{two}/t/memory.max", "1048576")
    assert table.processes(None) == (f"{two}/t/pids.max", "max")
