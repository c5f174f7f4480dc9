"""`anchor install`, `uninstall` and `print` on real files: below a root of their own, and told to real commands."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from twinwatch.anchor.inits import NAMES, inittab
from twinwatch.anchor.inits.recipe import Block
from twinwatch.cli.main import main
from twinwatch.control import install, site
from twinwatch.control.errors import USAGE
from twinwatch.control.site import Site

ODD = 'it\'s a "shop" 100% $HOME `id` %n \\ #1;*[a]{b}~é'
CONFIG = """\
pair: shop
watch: {interval: 500ms, timeout: 10s}
workers:
  w:
    command: [/bin/true]
anchor: {stop_timeout: 90500ms, keep_workers: true}
"""
INITTAB = b"id:2:initdefault:\n# \xe9 of another time\n1:2345:respawn:/sbin/getty 38400 tty1"
SHELLS = [[name] for name in ("sh", "dash", "bash") if shutil.which(name)]
SHELLS += [["busybox", "sh"]] if shutil.which("busybox") else []


@pytest.fixture(autouse=True)
def user(monkeypatch):
    """No command is run below a root, and nothing of the caller's environment is taken for the pair's."""

    def never(step, _limit_s):
        pytest.fail(f"ran {step.command}")

    monkeypatch.setattr(install, "_trouble", never)
    for name in ("TWINWATCH_RUNTIME_DIR", "TWINWATCH_STATE_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/srv/x")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text(CONFIG)
    path.chmod(0o644)
    return str(path)


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "root"
    (made / "etc/systemd/system").mkdir(parents=True)
    (made / "etc/inittab").write_bytes(INITTAB)
    return made


def call(verb, init, root, *words):
    return main(["anchor", verb, "--init", init, "--root", str(root), *words])


def tree(root):
    """What is there: mode and contents of files, targets of links."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found


# ---------------------------------------------------------------------- there and back


@pytest.mark.parametrize("init", NAMES)
def test_twice_is_once_and_undone_is_untouched(init, root, config, capsys):
    before = tree(root)
    assert call("install", init, root, config) == 0
    said = capsys.readouterr().out
    new = {name: what for name, what in tree(root).items() if before.get(name) != what}
    assert new
    assert all(f"{root}/{name}\n" in said for name in new)
    times = {name: (root / name).lstat().st_mtime_ns for name in new}

    assert call("install", init, root, config) == 0
    assert capsys.readouterr().out == f"nothing to do: {init} has all that the anchor of pair shop needs\n"
    assert {name: (root / name).lstat().st_mtime_ns for name in new} == times

    assert main(["-p", "shop", "anchor", "uninstall", "--init", init, "--root", str(root)]) == 0
    assert tree(root) == before
    capsys.readouterr()
    assert call("uninstall", init, root, config) == 0
    assert capsys.readouterr().out == f"nothing to do: {init} has nothing of pair shop\n"


@pytest.mark.parametrize("init", NAMES)
def test_print_shows_what_install_writes(init, root, config, capsys):
    assert call("print", init, root, config) == 0
    shown = capsys.readouterr().out
    assert call("install", init, root, config) == 0
    before = {"etc/inittab"}
    for name, what in tree(root).items():
        if isinstance(what, str):
            assert f"# ---- /{name}, a link to {what}\n" in shown
        elif name not in before:
            mode, data = what
            assert f"# ---- /{name}, mode {mode:04o}\n{data.decode()}" in shown
        else:
            lines = what[1].removeprefix(INITTAB).removesuffix(INITTAB).strip()
            assert lines.decode() in shown


@pytest.mark.parametrize("init", NAMES)
def test_a_changed_configuration_changes_files(init, root, config, capsys):
    assert call("install", init, root, config) == 0
    before = tree(root)
    moved = Path(config).with_name("moved.yaml")
    shutil.copy(config, moved)
    assert call("install", init, root, str(moved)) == 0
    assert tree(root) != before
    assert tree(root).keys() == before.keys()
    assert call("install", init, root, config) == 0
    assert tree(root) == before


def test_modes_do_not_depend_on_the_umask(root, config):
    before = os.umask(0o077)
    try:
        assert call("install", "openrc", root, config) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "etc/init.d/twinwatch-shop").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "etc/runlevels/default").stat().st_mode) == 0o755


def test_a_wrong_configuration_is_refused(root, config, capsys):
    Path(config).write_text("pair: shop\nworkers: 5\n")
    before = tree(root)
    assert call("install", "systemd", root, config) == USAGE
    assert tree(root) == before
    assert "shop.yaml" in capsys.readouterr().err


def test_figures_and_places_are_those_of_the_configuration(root, config, monkeypatch):
    monkeypatch.setenv("TWINWATCH_RUNTIME_DIR", "/srv/a b")
    monkeypatch.setenv("XDG_STATE_HOME", "/srv/state")
    assert call("install", "systemd-user", root, config) == 0
    unit = (root / "srv/x/.config/systemd/user/twinwatch-shop.service").read_text()
    assert "\nTimeoutStopSec=106\n" in unit, "91 s, and what the anchor may need afterwards"
    assert "\nWatchdogSec=40\n" in unit
    assert "\nRestartKillSignal=SIGQUIT\n" in unit
    assert '\nEnvironment="TWINWATCH_RUNTIME_DIR=/srv/a b"\nEnvironment=XDG_STATE_HOME=/srv/state\n' in unit


def test_a_configuration_below_the_root_is_named_as_it_is_there(root, config):
    inside = root / "etc/twinwatch/shop.yaml"
    inside.parent.mkdir()
    shutil.copy(config, inside)
    assert call("install", "cron", root, str(inside)) == 0
    assert "anchor /etc/twinwatch/shop.yaml </dev/null" in (root / "etc/twinwatch/shop.cron").read_text()


# ---------------------------------------------------------------------- what is not ours

FOREIGN = [
    ("systemd", "etc/systemd/system/twinwatch-shop.service"),
    ("systemd", "etc/systemd/system/multi-user.target.wants/twinwatch-shop.service"),
    ("cron", "etc/twinwatch/shop.cron"),
    ("openrc", "etc/init.d/twinwatch-shop"),
    ("s6", "etc/sv/twinwatch-shop/notification-fd"),
    ("runit", "etc/service/twinwatch-shop"),
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=" ".join)
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_foreign_file_is_refused(foreign, kind, root, config, capsys):
    init, name = foreign
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_text("somebody's own\n")
    else:
        path.symlink_to("/dev/null")
    before = tree(root)
    assert call("install", init, root, config) == 1
    assert f"twinwatch: {path} is not ours: move it away" in capsys.readouterr().err
    assert tree(root) == before

    assert call("uninstall", init, root, config) == 0
    assert f"left {path}: it is not ours\n" in capsys.readouterr().out
    assert tree(root) == before

    assert call("install", init, root, config, "--force") == 0
    capsys.readouterr()
    assert call("install", init, root, config) == 0
    assert capsys.readouterr().out.startswith("nothing to do")


def test_what_another_init_has_is_refused(root, config, capsys):
    assert call("install", "runit", root, config) == 0
    assert call("install", "daemontools", root, config) == 1
    assert "is that of pair shop, init runit: uninstall that first" in capsys.readouterr().err
    assert call("uninstall", "daemontools", root, config) == 0
    assert (root / "etc/sv/twinwatch-shop/run").exists()


def test_what_a_supervisor_has_put_there_stays(root, config, capsys):
    assert call("install", "s6", root, config) == 0
    (root / "etc/sv/twinwatch-shop/supervise").mkdir()
    capsys.readouterr()
    assert call("uninstall", "s6", root, config) == 0
    folder = root / "etc/sv/twinwatch-shop"
    assert f"left {folder}: there is something else in it\n" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["supervise"]


def test_a_number_beside_our_run_is_ours(root, config):
    assert call("install", "s6", root, config) == 0
    (root / "etc/sv/twinwatch-shop/timeout-kill").write_text("5\n")
    assert call("install", "s6", root, config) == 0
    assert (root / "etc/sv/twinwatch-shop/timeout-kill").read_text() == "106000\n"


def test_the_helper_stays_while_another_pair_needs_it(root, config, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("pair: shop", "pair: other"))
    assert call("install", "release-agent", root, config) == 0
    assert call("install", "release-agent", root, str(other)) == 0
    agent = root / "etc/twinwatch/release-agent"
    capsys.readouterr()
    assert call("uninstall", "release-agent", root, config) == 0
    assert f"left {agent}: another pair needs it\n" in capsys.readouterr().out
    assert call("uninstall", "release-agent", root, str(other)) == 0
    assert not agent.exists()


def test_no_unit_where_there_is_no_systemd(root, config):
    (root / "etc/systemd/system").rmdir()
    assert call("install", "release-agent", root, config) == 0
    assert not (root / "etc/systemd/system").exists()
    assert (root / "etc/twinwatch/shop.release-agent").exists()


# ---------------------------------------------------------------------- a shared inittab


@pytest.mark.parametrize("init", ["sysvinit", "busybox"])
def test_the_inittab_keeps_what_it_has(init, root, config):
    tab = root / "etc/inittab"
    tab.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(tab, 1, 2)
    before = tab.stat()
    assert call("install", init, root, config) == 0
    data = tab.read_bytes()
    assert data.replace(INITTAB, b"", 1).strip().startswith(b"# >>> ")
    assert INITTAB in data
    after = tab.stat()
    kept = ("st_mode", "st_uid", "st_gid")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert call("uninstall", init, root, config) == 0
    assert tab.read_bytes() == INITTAB


def test_a_link_stays_a_link(root, config):
    tab, real = root / "etc/inittab", root / "usr/inittab"
    real.parent.mkdir()
    tab.rename(real)
    tab.symlink_to("/usr/inittab")
    assert call("install", "busybox", root, config) == 0
    assert tab.is_symlink()
    assert b"::respawn:/etc/twinwatch/shop.busybox\n" in real.read_bytes()


def test_no_inittab_is_made(root, config, capsys):
    (root / "etc/inittab").unlink()
    before = tree(root)
    assert call("install", "busybox", root, config) == 1
    assert f"there is no {root}/etc/inittab" in capsys.readouterr().err
    assert tree(root) == before
    assert call("uninstall", "busybox", root, config) == 0


def test_an_id_of_somebody_else_is_left_to_him(root, config):
    first, second = next(zip(inittab.ids("shop"), list(inittab.ids("shop"))[1:], strict=False))
    (root / "etc/inittab").write_text(f"{first}:3:once:/bin/true\n")
    assert call("install", "sysvinit", root, config) == 0
    assert f"\n{second}:2345:respawn:/etc/twinwatch/shop.sysvinit\n" in (root / "etc/inittab").read_text()


def test_torn_lines_are_not_touched(root, config, capsys):
    assert call("install", "sysvinit", root, config) == 0
    tab = root / "etc/inittab"
    tab.write_bytes(tab.read_bytes().replace(b"# <<<", b"# <"))
    before = tree(root)
    for verb in ("install", "uninstall", "print"):
        assert call(verb, "sysvinit", root, config) == 1
        assert "remove them by hand" in capsys.readouterr().err
    assert tree(root) == before


def test_which_block_is_looked_for(root):
    """A pair whose name another one's begins with."""
    at = Site("sysvinit", str(root))
    one, other = (Block("/etc/inittab", name, "sysvinit", ("{id}:2:once:/x",)) for name in ("shop", "shop-2"))
    site.lay(other, at)
    assert site.look(one, at) is site.Found.NOTHING
    assert site.look(other, at) is site.Found.SAME


# ---------------------------------------------------------------------- places


@pytest.mark.parametrize("target", ["/run/service", "../run/service"])
def test_no_link_leads_out_of_the_root(root, config, target):
    (root / "etc/service").symlink_to(target)
    (root / "run/service").mkdir(parents=True)
    assert call("install", "s6", root, config) == 0
    assert os.readlink(root / "run/service/twinwatch-shop") == "/etc/sv/twinwatch-shop"
    assert call("uninstall", "s6", root, config) == 0
    assert list((root / "run/service").iterdir()) == []


def test_links_in_a_circle(root, config, capsys):
    (root / "etc/service").symlink_to("/etc/service")
    assert call("install", "s6", root, config) == 1
    assert "Too many levels of symbolic links" in capsys.readouterr().err


def test_the_scan_directory_that_is_there_is_taken(root, config):
    (root / "var/service").mkdir(parents=True)
    assert call("install", "runit", root, config) == 0
    assert (root / "var/service/twinwatch-shop").is_symlink()
    (root / "etc/service").mkdir()
    assert call("uninstall", "runit", root, config) == 0
    assert list((root / "var/service").iterdir()) == []


def test_a_scan_directory_of_ones_own(root, config, capsys):
    assert call("install", "daemontools", root, config, "--scan-dir", "/my/scan") == 0
    assert (root / "my/scan/twinwatch-shop").is_symlink()
    assert call("uninstall", "daemontools", root, config, "--scan-dir", "/my/scan") == 0
    assert not (root / "my/scan/twinwatch-shop").is_symlink()
    assert call("install", "cron", root, config, "--scan-dir", "/my/scan") == USAGE
    assert "cron scans no directory" in capsys.readouterr().err


# ---------------------------------------------------------------------- the programs they are for


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A configuration and an interpreter at places that need quotes; the latter tells how it was called."""
    folder = tmp_path / ODD
    folder.mkdir()
    (folder / "shop.yaml").write_text(CONFIG)
    (folder / "shop.yaml").chmod(0o644)
    program = folder / "python3"
    program.write_text(
        f"#!{sys.executable} -IS\nimport os, sys\n"
        f"open({str(tmp_path / 'told')!r}, 'w').write(repr((sys.argv[1:], os.getcwd(), os.environ['PATH'], "
        "os.environ['TWINWATCH_STATE_DIR'], sys.stdin.read())))\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("TWINWATCH_STATE_DIR", str(folder))
    return folder


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    "started",
    [
        ("sysvinit", "etc/twinwatch/shop.sysvinit"),
        ("busybox", "etc/twinwatch/shop.busybox"),
        ("runit", "etc/sv/twinwatch-shop/run"),
        ("s6", "etc/sv/twinwatch-shop/run"),
        ("daemontools", "etc/sv/twinwatch-shop/run"),
        ("openrc", "etc/twinwatch/shop.openrc"),
        ("dinit", "etc/twinwatch/shop.dinit"),
        ("cron", "etc/twinwatch/shop.cron"),
    ],
    ids=" ".join,
)
def test_the_script_starts_the_anchor(shell, started, root, odd, tmp_path):
    init, script = started
    assert call("install", init, root, str(odd / "shop.yaml")) == 0
    text = (root / script).read_text().replace("/var/log/", f"{tmp_path}/")
    done = subprocess.run(
        [*shell, "-c", text], input="x", capture_output=True, text=True, env={}, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    words, directory, search, state, given = eval((tmp_path / "told").read_text())
    assert words[:5] == ["-P", "-m", "twinwatch", "anchor", str(odd / "shop.yaml")]
    assert (directory, state, given) == ("/", str(odd), "")
    assert search == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert (tmp_path / "twinwatch-shop.log").exists() == (init in ("sysvinit", "busybox", "openrc", "dinit"))


def test_a_log_that_cannot_be_opened_keeps_nothing_from_starting(root, odd, tmp_path):
    assert call("install", "sysvinit", root, str(odd / "shop.yaml")) == 0
    text = (root / "etc/twinwatch/shop.sysvinit").read_text().replace("/var/log/", f"{tmp_path}/none/")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, env={}, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "told").exists()


def test_busybox_hands_stop_on_as_down(root, odd, tmp_path):
    assert call("install", "busybox", root, str(odd / "shop.yaml")) == 0
    text = (root / "etc/twinwatch/shop.busybox").read_text().replace("/var/log/", f"{tmp_path}/")
    subprocess.run(["sh", "-c", text, "shop.busybox", "stop"], env={}, check=True)
    words = eval((tmp_path / "told").read_text())[0]
    assert words == ["-P", "-m", "twinwatch", "-p", "shop", "down", "--temporary", "--timeout", "106s"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="interpreter absent: systemd-analyze")
@pytest.mark.parametrize("init", ["systemd", "release-agent"])
def test_systemd_finds_nothing_wrong(init, root, odd, monkeypatch):
    program = odd.with_name("a program, 100% odd; #1")
    shutil.copy(odd / "python3", program)
    monkeypatch.setattr(sys, "executable", str(program))
    assert call("install", init, root, str(odd / "shop.yaml")) == 0
    (unit,) = (root / "etc/systemd/system").glob("*.service")
    unit.write_text(unit.read_text().replace("=/etc/twinwatch/", f"={root}/etc/twinwatch/"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
