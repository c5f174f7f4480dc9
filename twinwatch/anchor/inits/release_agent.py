"""The kernel itself: it runs a program when the cgroup of the guards becomes empty (cgroup v1).

Theory: cgroups(7), Documentation/admin-guide/cgroup-v1/cgroups.rst 1.4; `call_usermodehelper` of the kernel.
"""

from twinwatch.anchor.inits import launcher
from twinwatch.anchor.inits.quoting import shell, shell_line
from twinwatch.anchor.inits.recipe import (
    FOLDER,
    PATH,
    SCRIPT,
    Duty,
    File,
    Link,
    Live,
    Recipe,
    Step,
    Unfit,
    heading,
    marker,
)
from twinwatch.anchor.inits.systemd import UNITS

NAME = "release-agent"
MOUNT = "/run/twinwatch.cgroup"
AGENT = f"{FOLDER}/{NAME}"
_RETRY_S = 5
_PATIENCE_S = 10  # with a pair that is slow to become whole: who lives goes on alone
_DOWN = 3  # what `up --if-wished` ends with where the pair is to stay down


def recipe(duty: Duty) -> Recipe:
    """Raises Unfit for a watchdog device: no anchor lives that could feed it."""
    if duty.watchdog_device:
        raise Unfit(f"{NAME} has no anchor that lives: nobody would feed {duty.watchdog_device}")
    script = launcher.path(duty, NAME)
    unit = f"{duty.service}.{NAME}.service"
    return Recipe(
        init=NAME,
        items=(
            File(AGENT, _AGENT, SCRIPT, shared=f"{FOLDER}/*.{NAME}"),
            File(script, _script(duty), SCRIPT),
            File(f"{UNITS}/{unit}", _unit(duty, script), only_in=UNITS),
            Link(f"{UNITS}/multi-user.target.wants/{unit}", f"{UNITS}/{unit}", only_in=UNITS),
        ),
        start=f"{script} start",
        stop=f"twinwatch -p {duty.pair} down",
        look=f"cat {MOUNT}/{duty.pair}/cgroup.procs",
        installed=Step(("systemctl", "daemon-reload"), Live.SYSTEMD),
        before_removal=Step((script, "remove")),
        removed=Step(("systemctl", "daemon-reload"), Live.SYSTEMD),
        notes=(
            f"at each boot `{script} start` has to be run: by the unit, or by a line of rc.local",
            "`twinwatch status` shows no anchor: nothing lives that could be shown",
        ),
    )


_AGENT = f"""#!/bin/sh
{marker("*", NAME)}
# The kernel runs this with the path of a cgroup of {MOUNT} that has just become empty: /PAIR.
# It has no descriptors, a short environment, the namespaces of PID 1, and root's full capabilities.
exec </dev/null >/dev/null 2>&1
own={FOLDER}$1.{NAME}
[ -x "$own" ] || exit 0
# First of all: be in it. It is called once for each time the group becomes empty: what fails before this line
# ends the matter, and what fails after it empties the group again.
echo 0 >"{MOUNT}$1/cgroup.procs"
exec "$own" revive
"""

_REMARKS = f"""\
The guards of the pair are in a cgroup of a hierarchy that does nothing but know when it is empty. Then
the kernel runs {AGENT}, and that runs `revive` here: nothing in user space has to live for it, and there
is nothing to kill. Workers leave the group at their birth.

Weak spot: one call each time the group becomes empty. A helper that fails before it has joined (no
memory, no free PID, a killer that is faster) is not called again. Then `start` helps.

Weak spot: the helper runs in the first namespaces, as root, with all capabilities. Only root may be able
to write these files and the directory they are in. From within a container there is no such helper.

It needs a kernel that was not started with cgroup_no_v1=named (or all,named), and that was built without
CONFIG_STATIC_USERMODEHELPER.

`twinwatch down` is kept, as everywhere. `twinwatch down --temporary` is no stop here: the pair is still
wished, so the kernel brings it back. `off` is that stop."""


def _script(duty: Duty) -> str:
    path = launcher.path(duty, NAME)
    boot = f"At each boot, once file systems are there, by the systemd unit or by rc.local: `{path} start`"
    head = heading(duty, NAME, f"{_REMARKS}\n\n{boot}")
    inherited = shell_line(tuple(f"{name}={value}" for name, value in (("PATH", PATH), *duty.environ)))
    return f"""#!/bin/sh
{head}set -u
{launcher.surroundings(duty)}\
hierarchy={MOUNT}
group=$hierarchy/{duty.pair}
name={duty.pair}
config={shell(duty.config)}
limit={duty.patience_s}s
{launcher.log(duty)}
pair() {{ # a command of twinwatch; workers inherit no more than this environment
	env -i {inherited} {shell_line(duty.twinwatch())} "$@" </dev/null
}}
{_VERBS}"""


_VERBS = f"""
alone() {{ # nobody else is in the group
	while read -r pid; do
		[ "$pid" = $$ ] || return 1
	done <"$group/cgroup.procs"
}}

disarm() {{
	[ ! -e "$group/notify_on_release" ] || echo 0 >"$group/notify_on_release"
}}

case ${{1-}} in
start)
	mkdir -p "$hierarchy" || exit
	if [ ! -e "$hierarchy/cgroup.procs" ]; then
		mount -t cgroup -o none,name=twinwatch twinwatch "$hierarchy" || exit
	fi
	mkdir -p "$group" && echo {AGENT} >"$hierarchy/release_agent" || exit
	echo 1 >"$group/notify_on_release" && echo 0 >"$group/cgroup.procs" || exit
	pair up --if-wished "$config" || [ $? -eq {_DOWN} ]
	;;
revive)
	# Failures are tried again from here, as a member: leaving would only call the next one, without a pause.
	until pair up --if-wished --timeout {_PATIENCE_S}s "$config"; do
		# Told to be down: an armed group would call for help for ever. `up` arms it again.
		[ $? -ne {_DOWN} ] || {{ disarm; break; }}
		alone || break
		sleep {_RETRY_S}
	done
	;;
off)
	disarm
	pair -p "$name" down --temporary --timeout "$limit"
	;;
remove)
	disarm
	[ -e "$group/cgroup.procs" ] || exit 0
	for attempt in 1 2 3; do
		while read -r pid; do
			echo "$pid" >"$hierarchy/cgroup.procs"
		done <"$group/cgroup.procs"
	done
	rmdir "$group" || exit
	# Unmounted at once after that, the hierarchy would stay in the kernel.
	sleep 1
	for other in "$hierarchy"/*/; do [ ! -d "$other" ] || exit 0; done
	umount "$hierarchy" && rmdir "$hierarchy"
	;;
*)
	echo "usage: $0 start|off|revive|remove" >&2
	exit 2
	;;
esac
"""


def _unit(duty: Duty, script: str) -> str:
    return f"""\
{heading(duty, NAME)}
[Unit]
Description=twinwatch: pair {duty.pair}, brought back by the kernel
After=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={script} start
# Not `down --temporary` alone: the kernel would bring the pair back while the machine goes down.
ExecStop={script} off
# Guards and workers are born in the cgroup of this unit, and have to outlive what started them.
KillMode=process
OOMPolicy=continue
TimeoutStartSec=infinity
TimeoutStopSec={duty.patience_s + duty.patience_s}
Delegate=yes

[Install]
WantedBy=multi-user.target
"""
