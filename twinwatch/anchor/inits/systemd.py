"""systemd: a unit of the system manager or of a user's.

Theory: systemd.service(5), systemd.kill(5), systemd.exec(5), systemd.syntax(7).
"""

from dataclasses import dataclass

from twinwatch.anchor.inits.quoting import systemd, systemd_line
from twinwatch.anchor.inits.recipe import PAUSE, Duty, File, Link, Live, Recipe, Step, heading

NAME = "systemd"
UNITS = "/etc/systemd/system"


@dataclass(frozen=True, slots=True)
class Manager:
    """A systemd, and where its units are."""

    init: str
    folder: str
    target: str
    systemctl: tuple[str, ...]
    live: Live


_SYSTEM = Manager(NAME, UNITS, "multi-user.target", ("systemctl",), Live.SYSTEMD)


def recipe(duty: Duty) -> Recipe:
    return unit_recipe(duty, _SYSTEM)


def unit_recipe(duty: Duty, manager: Manager) -> Recipe:
    name = f"{duty.service}.service"
    systemctl, words = manager.systemctl, " ".join(manager.systemctl)
    path = f"{manager.folder}/{name}"
    reread = Step((*systemctl, "daemon-reload"), manager.live)
    notes = ("limits of `cgroup:` need systemd 254 or later: see DelegateSubgroup= in the unit",)
    return Recipe(
        init=manager.init,
        items=(
            File(path, unit(duty, manager)),
            Link(f"{manager.folder}/{manager.target}.wants/{name}", path),
        ),
        start=f"{words} start {name}",
        stop=f"{words} stop {name}",
        look=f"{words} status {name}",
        installed=reread,
        before_removal=Step((*systemctl, "stop", name), manager.live),
        removed=reread,
        notes=notes if duty.has_cgroups else (),
    )


def unit(duty: Duty, manager: Manager) -> str:
    edit = " ".join((*manager.systemctl, "edit", f"{duty.service}.service"))
    parts = (
        heading(duty, manager.init, f"Settings of your own: {edit}"),
        _unit_section(duty, manager.target),
        _service_section(duty),
        f"\n[Install]\nWantedBy={manager.target}\n",
    )
    return "".join(parts)


def _unit_section(duty: Duty, target: str) -> str:
    after = "After=network.target\n" if target == _SYSTEM.target else ""
    return f"""
[Unit]
Description=twinwatch: anchor of pair {duty.pair}
{after}# By default the sixth start within 10 s does not happen, and the unit is `failed` for good.
StartLimitIntervalSec=0

[Service]
"""


def _service_section(duty: Duty) -> str:
    environment = "".join(f"Environment={systemd(f'{name}={value}')}\n" for name, value in duty.environ)
    return f"""\
# Started means: both watchers watch, and every worker is where it should be. That takes as long as it takes.
Type=notify
TimeoutStartSec=infinity
# Of the anchor alone: no worker can say READY=1 or STOPPING=1 in its name.
NotifyAccess=main
ExecStart={systemd_line(duty.command(*PAUSE))}
# As SIGHUP to the anchor does; but it says whether the configuration was refused.
ExecReload={systemd_line(duty.twinwatch("-c", duty.config, "reload"))}
{environment}
# At once, whatever it died of. One that cannot start (a wrong configuration; another anchor lives) would be
# tried again without a pause: so it makes one itself, before it leaves.
Restart=always
RestartSec=0

# By default, and with `mixed`, the anchor's death ends all that is in its cgroup: watchers and workers,
# which have to live on.
KillMode=process
# At TERM the anchor ends workers, then watchers; what is left after {duty.stop_timeout_s} s it kills.
# KILL past the time below (SendSIGKILL=yes, the default) is for an anchor that hangs.
TimeoutStopSec={duty.patience_s}
{_restart_signal(duty)}\
# By default a worker that the OOM killer ends takes the whole unit along.
OOMPolicy=continue

# The anchor says WATCHDOG=1 while both twins beat. KILL, where ABRT would leave a core: the successor adopts.
WatchdogSec={duty.silence_s}
WatchdogSignal=SIGKILL

# Workers may have cgroups of their own, below this unit's.
Delegate=yes
{_subgroup(duty)}
# No RuntimeDirectory= for the pair's directories: it is removed with the unit, while the pair may live.
# No PrivateTmp=, ProtectSystem= and the like: they would bind the workers, too.
"""


def _restart_signal(duty: Duty) -> str:
    if not duty.keep_workers:
        return ""
    return """\
# anchor.keep_workers: at `systemctl restart` the anchor leaves alone, and its successor adopts.
RestartKillSignal=SIGQUIT
"""


def _subgroup(duty: Duty) -> str:
    """Where the anchor is started. `linux/cgroup.py` takes a leaf of this name for what is above it."""
    if not duty.has_cgroups:
        return ""
    return """\
# Limits of workers make this unit's cgroup one that may hold no process itself: the next anchor could not
# be started in it (EBUSY, 219/CGROUP). systemd 254 and later start it in this leaf; older ones have no way.
DelegateSubgroup=twinwatch.anchor
"""
