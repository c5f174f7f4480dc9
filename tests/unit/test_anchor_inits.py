"""What each init is given: right for its format, whatever the paths, and with its traps named."""

import re
import shlex
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.anchor.inits import NAMES, catalog, inittab, quoting, release_agent
from twinwatch.anchor.inits.recipe import MARK, SCRIPT, TEXT, Block, Duty, File, Link, Unfit
from twinwatch.linux import cgroup

SHOP = Duty(
    "shop",
    config="/etc/twinwatch/shop.yaml",
    python="/usr/bin/python3",
    stop_timeout_s=60,
    scan_dir="/etc/service",
    units="/srv/x/.config/systemd/user",
)
ODD = """/srv/it's a "shop" 100% $HOME `id` \\%n \\ #1;*[a]{b}~é"""
LONGEST = "p" * 32


def items(init, duty=SHOP):
    return catalog.recipe(init, duty).items


def files(init, duty=SHOP):
    return [item for item in items(init, duty) if isinstance(item, File)]


def links(init, duty=SHOP):
    return {item.path: item.target for item in items(init, duty) if isinstance(item, Link)}


def text(init, path, duty=SHOP):
    return {file.path: file.text for file in files(init, duty)}[path]


def all_text(init, duty=SHOP):
    blocks = [item for item in items(init, duty) if isinstance(item, Block)]
    texts = [*(file.text for file in files(init, duty)), *(line for block in blocks for line in block.lines)]
    return " ".join(" ".join(texts).replace("#", " ").split())


def settings(unit):
    """Section -> key -> values of a unit, as systemd reads them."""
    found, section = {}, ""
    for line in unit.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(key, []).append(value)
    return found


def systemd_words(line):
    """A command line or a list of assignments, read by the rules of systemd.syntax(7)."""
    words = []
    for quoted, bare in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        assert bare or "\\x" not in quoted
        words.append(re.sub(r'\\([\\"])', r"\1", quoted) if quoted else bare)
    return [word.replace("%%", "%") for word in words]


# ---------------------------------------------------------------------- all of them


def test_every_name_has_a_recipe():
    assert tuple(catalog.RECIPES) == NAMES
    assert {recipe(SHOP).init for recipe in catalog.RECIPES.values()} == set(NAMES)


@pytest.mark.parametrize("init", NAMES)
def test_every_file_says_whose_it_is(init):
    marked = set()
    for file in files(init):
        marks = [line for line in file.text.splitlines() if line.startswith(MARK)]
        if file.beside:
            assert file.beside in marked
            assert not marks
        else:
            assert marks == [f"{MARK} pair {'*' if file.shared else 'shop'}, init {init}"]
            marked.add(file.path)


@pytest.mark.parametrize("init", NAMES)
def test_what_is_executed_has_an_interpreter_and_may_be(init):
    for file in files(init):
        assert file.mode == (SCRIPT if file.text.startswith("#!") else TEXT)
        assert file.text.endswith("\n") and not file.text.endswith("\n\n")


@pytest.mark.parametrize("init", NAMES)
def test_links_lead_to_what_is_written(init):
    written = {file.path for file in files(init)} | {file.path.rpartition("/")[0] for file in files(init)}
    for path, target in links(init).items():
        folder = path.rpartition("/")[0]
        assert target in written or f"{folder.rpartition('/')[0]}/{target.removeprefix('../')}" in written


@pytest.mark.parametrize("init", NAMES)
def test_two_pairs_do_not_meet(init):
    one, other = (
        {item.path for item in items(init, replace(SHOP, pair=name))} for name in ("shop", "shop-a")
    )
    assert one & other <= {inittab.PATH, release_agent.AGENT}


@pytest.mark.parametrize("init", NAMES)
def test_shells_read_the_scripts(init):
    for duty in (SHOP, replace(SHOP, config=ODD, environ=(("TWINWATCH_STATE_DIR", ODD),))):
        for file in files(init, duty):
            if file.mode == SCRIPT:
                done = subprocess.run(
                    ["sh", "-n"], input=file.text, text=True, capture_output=True, check=False
                )
                assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("init", NAMES)
@pytest.mark.parametrize("what", ["config", "python", "scan_dir"])
@pytest.mark.parametrize("bad", ["/a\nb", "/a\tb", "/a\x7fb", "/a\udcffb"])
def test_what_no_file_can_hold_is_refused(init, what, bad):
    with pytest.raises(Unfit, match="no init's file can hold it"):
        catalog.recipe(init, replace(SHOP, **{what: bad}))


@pytest.mark.parametrize(
    ("init", "traps"),
    [
        ("systemd", ["sixth start", "Of the anchor alone", "`mixed`", "OOM killer", "No RuntimeDirectory="]),
        ("systemd-user", ["sixth start", "Of the anchor alone", "`mixed`", "OOM killer"]),
        ("sysvinit", ["10 starts within 2 minutes", "`telinit q`", "KILL 3 s later", "127 characters"]),
        ("busybox", ["1 s before each respawn", "KILL 1 s later", "FEATURE_KILL_REMOVED", "rcS"]),
        ("runit", ["waits 7 s", "SVWAIT=75", "`control/t`", "1 s before a respawn", "stage 2"]),
        ("s6", ["1 s before each respawn", "timeout-kill", "down-signal", "notification-fd", "in /run"]),
        ("daemontools", ["1 s after each start", "5 s", "`svc -dx`", "no QUIT"]),
        ("openrc", ["eleventh death", "refuse to read a 0", "KILL comes 5 s after", "Nobody respawns"]),
        ("dinit", ["fourth death", "60 s", "KILL comes 10 s after", "process group", "expand $"]),
        ("cron", ["Each minute", "60 s", "user column", "KillMode=process", "busybox", "A % would end"]),
        ("release-agent", ["one call each time", "all capabilities", "cgroup_no_v1", "--temporary"]),
    ],
)
def test_traps_are_named(init, traps):
    named = all_text(init)
    assert [trap for trap in traps if trap not in named] == []


@pytest.mark.parametrize("init", NAMES)
def test_a_watchdog_device_is_handed_on(init):
    duty = replace(SHOP, watchdog_device="/dev/watch dog")
    if init == "release-agent":
        with pytest.raises(Unfit, match="nobody would feed"):
            catalog.recipe(init, duty)
    else:
        assert "--watchdog-device" in all_text(init, duty)


# ---------------------------------------------------------------------- systemd


@pytest.mark.parametrize(
    ("init", "target"), [("systemd", "multi-user.target"), ("systemd-user", "default.target")]
)
def test_the_unit(init, target):
    folder = "/etc/systemd/system" if init == "systemd" else SHOP.units
    path = f"{folder}/twinwatch-shop.service"
    unit = settings(text(init, path))
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]
    service = {key: values[0] for key, values in unit["Service"].items()}
    assert service == {
        "Type": "notify",
        "NotifyAccess": "main",
        "ExecStart": "/usr/bin/python3 -P -m twinwatch anchor /etc/twinwatch/shop.yaml --pause 1s",
        "ExecReload": "/usr/bin/python3 -P -m twinwatch -c /etc/twinwatch/shop.yaml reload",
        "Restart": "always",
        "RestartSec": "0",
        "KillMode": "process",
        "TimeoutStartSec": "infinity",
        "TimeoutStopSec": "75",
        "OOMPolicy": "continue",
        "WatchdogSec": "30",
        "WatchdogSignal": "SIGKILL",
        "Delegate": "yes",
    }
    assert unit["Install"] == {"WantedBy": [target]}
    assert links(init) == {f"{folder}/{target}.wants/twinwatch-shop.service": path}


def test_what_a_pair_adds_to_the_unit():
    duty = replace(SHOP, stop_timeout_s=600, silence_s=50, keep_workers=True, has_cgroups=True)
    unit = settings(text("systemd", "/etc/systemd/system/twinwatch-shop.service", duty))["Service"]
    assert (unit["TimeoutStopSec"], unit["WatchdogSec"]) == (["615"], ["50"])
    assert unit["RestartKillSignal"] == ["SIGQUIT"]
    (leaf,) = unit["DelegateSubgroup"]
    assert f"/{leaf}".startswith("/twinwatch."), "or linux/cgroup.py takes it for the unit's own cgroup"


@given(st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", codec="utf-8"), min_size=1))
def test_any_word_for_systemd(word):
    assert systemd_words(quoting.systemd(word)) == [word]
    line = quoting.systemd_line(("/bin/x", "-c", word))
    assert [part.replace("$$", "$") for part in systemd_words(line)] == ["/bin/x", "-c", word]


def test_odd_paths_in_the_unit():
    duty = replace(SHOP, config=ODD, environ=(("TWINWATCH_STATE_DIR", ODD), ("TWINWATCH_RUNTIME_DIR", "/r")))
    unit = settings(text("systemd", "/etc/systemd/system/twinwatch-shop.service", duty))["Service"]
    words = [word.replace("$$", "$") for word in systemd_words(unit["ExecStart"][0])]
    assert words[-3:] == [ODD, "--pause", "1s"]
    assert [systemd_words(value) for value in unit["Environment"]] == [
        [f"TWINWATCH_STATE_DIR={ODD}"],
        ["TWINWATCH_RUNTIME_DIR=/r"],
    ]


@pytest.mark.parametrize("character", "$'\"\\")
def test_a_program_that_systemd_cannot_start(character):
    with pytest.raises(Unfit, match="systemd starts no program whose path has one of"):
        catalog.recipe("systemd", replace(SHOP, python=f"/opt/{character}x/python3"))


# ---------------------------------------------------------------------- scripts


@given(st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", codec="utf-8")))
def test_any_word_for_a_shell(word):
    assert shlex.split(quoting.shell_line(("x", word))) == ["x", word]


@pytest.mark.parametrize(
    ("init", "path", "more"),
    [
        ("sysvinit", "/etc/twinwatch/shop.sysvinit", []),
        ("busybox", "/etc/twinwatch/shop.busybox", []),
        ("runit", "/etc/sv/twinwatch-shop/run", []),
        ("s6", "/etc/sv/twinwatch-shop/run", ["--ready-fd", "3"]),
        ("daemontools", "/etc/sv/twinwatch-shop/run", []),
        ("openrc", "/etc/twinwatch/shop.openrc", ["--pause", "1s"]),
        ("dinit", "/etc/twinwatch/shop.dinit", ["--pause", "1s", "--ready-fd", "3"]),
        ("cron", "/etc/twinwatch/shop.cron", []),
    ],
)
def test_the_script_becomes_the_anchor(init, path, more):
    duty = replace(SHOP, config=ODD)
    last = text(init, path, duty).splitlines()[-1]
    expected = ["exec", "/usr/bin/python3", "-P", "-m", "twinwatch", "anchor", ODD, *more, "</dev/null"]
    assert shlex.split(last) == expected


def test_busybox_ends_the_pair_before_the_machine_goes_down():
    (line,) = [x for x in text("busybox", "/etc/twinwatch/shop.busybox").splitlines() if "stop ]" in x]
    assert line.endswith("twinwatch -p shop down --temporary --timeout 75s </dev/null")
    (block,) = [item for item in items("busybox") if isinstance(item, Block)]
    assert block.lines[-2:] == (
        "::respawn:/etc/twinwatch/shop.busybox",
        "::shutdown:/etc/twinwatch/shop.busybox stop",
    )
    assert block.at_top, "before the lines that unmount"


def test_limits_of_the_others():
    duty = replace(SHOP, stop_timeout_s=85)
    assert text("s6", "/etc/sv/twinwatch-shop/timeout-kill", duty) == "100000\n"
    assert text("s6", "/etc/sv/twinwatch-shop/notification-fd", duty) == "3\n"
    assert 'retry="TERM/100/KILL/5"\n' in text("openrc", "/etc/init.d/twinwatch-shop", duty)
    assert "respawn_max=0\n" in text("openrc", "/etc/init.d/twinwatch-shop", duty)
    assert "\nrespawn_delay=" not in text("openrc", "/etc/init.d/twinwatch-shop", duty)


def test_dinit():
    lines = text("dinit", "/etc/dinit.d/twinwatch-shop").splitlines()
    assert dict(line.split(" = ") for line in lines if line and not line.startswith("#")) == {
        "type": "process",
        "command": "/etc/twinwatch/shop.dinit",
        "restart": "true",
        "smooth-recovery": "true",
        "restart-limit-count": "0",
        "restart-delay": "0",
        "ready-notification": "pipefd:3",
        "start-timeout": "0",
        "stop-timeout": "75",
        "options": "signal-process-only",
    }


def test_cron():
    table = text("cron", "/etc/cron.d/twinwatch-shop", replace(SHOP, config=ODD))
    assert [line for line in table.splitlines() if not line.startswith("#")] == [
        "SHELL=/bin/sh",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "* * * * * root /etc/twinwatch/shop.cron >/dev/null 2>&1",
    ]
    assert {file.path.rpartition("/")[2] for file in files("cron")} == {"shop.cron", "twinwatch-shop"}


def test_service_directories_are_linked_last():
    for init in ("runit", "s6", "daemontools"):
        *before, last = items(init)
        assert last == Link("/etc/service/twinwatch-shop", "/etc/sv/twinwatch-shop")
        assert all(isinstance(item, File) for item in before)


def test_the_cgroup_of_the_guards():
    assert release_agent.MOUNT == cgroup.RELEASE_MOUNT, "which workers leave"
    assert f"group=$hierarchy/{SHOP.pair}\n" in text("release-agent", "/etc/twinwatch/shop.release-agent")


# ---------------------------------------------------------------------- an inittab

INITTAB = "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\n# a remark\n1:2345:respawn:/sbin/getty 38400 tty1"


def block(init, pair="shop"):
    (found,) = [item for item in items(init, replace(SHOP, pair=pair)) if isinstance(item, Block)]
    return found


TABS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r")), max_size=5).map("\n".join)


@pytest.mark.parametrize("init", ["sysvinit", "busybox"])
@given(before=TABS, ends=st.sampled_from(["", "\n", "\n\n"]))
def test_a_block_leaves_no_trace(init, before, ends):
    around = before + ends
    mine = block(init)
    full = inittab.insert(around, mine)
    assert inittab.holds(full, mine) and not inittab.holds(around, mine)
    assert inittab.insert(full, mine) == full
    assert inittab.remove(full, mine) == around == inittab.remove(around, mine)


@pytest.mark.parametrize("init", ["sysvinit", "busybox"])
def test_blocks_of_two_pairs(init):
    one, other = block(init), block(init, "other")
    both = inittab.insert(inittab.insert(INITTAB, one), other)
    assert inittab.remove(inittab.remove(both, one), other) == INITTAB
    assert inittab.remove(inittab.remove(both, other), one) == INITTAB
    assert len(inittab.taken(both)) == len(inittab.taken(INITTAB)) + (2 if init == "sysvinit" else 1)


def test_a_block_is_replaced_where_it_is():
    mine = block("sysvinit")
    older = replace(mine, lines=("zz:3:once:/bin/old",))
    assert inittab.insert(inittab.insert(INITTAB, older), mine) == inittab.insert(INITTAB, mine)


def test_an_id_is_short_and_free():
    first, second = list(inittab.ids("shop"))[:2]
    assert re.fullmatch("t[a-z0-9]{3}", first) and first != second
    mine = block("sysvinit")
    assert f"\n{first}:2345:respawn:" in inittab.insert(INITTAB, mine)
    assert f"\n{second}:2345:respawn:" in inittab.insert(f"  {first}:3:once:/bin/true\n", mine)
    assert f"\n{first}:2345:respawn:" in inittab.insert(f"#{first}:3:once:/bin/true\n", mine)
    everything = "".join(f"{name}:3:once:/bin/true\n" for name in inittab.ids("shop"))
    with pytest.raises(Unfit, match="no id left"):
        inittab.insert(everything, mine)


def test_ids_of_many_pairs_are_seldom_the_same():
    assert len({next(inittab.ids(f"pair-{number}")) for number in range(100)}) > 95


@pytest.mark.parametrize("init", ["sysvinit", "busybox"])
def test_lines_are_not_too_long(init):
    """init drops a line of 256 characters, and old ones cut what is behind 127 in the process field."""
    for line in inittab.insert("", block(init, LONGEST)).splitlines():
        assert len(line) < 128
        assert line.startswith("#") or len(line.split(":", 3)[3]) < 128


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("# <<<", "# <<"),
        lambda text: text.replace("# >>>", "# >>"),
        lambda text: text + text,
        lambda text: "\n".join(reversed(text.splitlines())),
    ],
)
def test_lines_that_somebody_has_torn_apart(spoil):
    torn = spoil(inittab.insert(INITTAB, block("sysvinit")) + "\n")
    for act in (inittab.insert, inittab.remove, inittab.holds):
        with pytest.raises(Unfit, match="remove them by hand"):
            act(torn, block("sysvinit"))
