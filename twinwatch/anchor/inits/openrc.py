"""OpenRC: a service under supervise-daemon.

Theory: openrc-run(8), supervise-daemon(8), and its shell part.
"""

from twinwatch.anchor.inits import launcher
from twinwatch.anchor.inits.recipe import PAUSE, SCRIPT, Duty, File, Link, Recipe, Step, heading

NAME = "openrc"
_KILL_WAIT_S = 5


def recipe(duty: Duty) -> Recipe:
    path = launcher.path(duty, NAME)
    script = f"/etc/init.d/{duty.service}"
    return Recipe(
        init=NAME,
        items=(
            File(path, launcher.script(duty, NAME, has_log=True, more=PAUSE), SCRIPT),
            File(script, _service(duty, path), SCRIPT),
            Link(f"/etc/runlevels/default/{duty.service}", script),
        ),
        start=f"rc-service {duty.service} start",
        stop=f"rc-service {duty.service} stop",
        look=f"rc-service {duty.service} status",
        before_removal=Step(("rc-service", "--ifstarted", duty.service, "stop")),
    )


def _service(duty: Duty, path: str) -> str:
    head = heading(duty, NAME)
    return f"""#!/sbin/openrc-run
{head}
description="the anchor of pair {duty.pair}"

# start-stop-daemon, the default, does not respawn.
supervisor=supervise-daemon
# OpenRC puts the command through the shell's eval once more: so all that needs quotes is in that script.
command={path}
# The supervisor's PID, by which it is found and stopped.
pidfile=/run/{duty.service}.pid

# By default the eleventh death is the last one. 0: no limit.
respawn_max=0
# respawn_delay stays unset: that is 0, and old versions refuse to read a 0. New versions wait 128 ms longer
# after each death within 12 s. An anchor that cannot start makes a pause itself, before it leaves.

# By default KILL comes 5 s after TERM; this pair may need {duty.stop_timeout_s} s.
retry="TERM/{duty.patience_s}/KILL/{_KILL_WAIT_S}"

# Nobody respawns supervise-daemon itself: what is killed together with it stays dead. Where that
# matters, install for cron as well: there is one anchor at most, whoever starts it.

extra_started_commands="reload"
description_reload="act on the changed configuration"

depend() {{
	after localmount bootmisc net
	# Others do not give up after 60 s when they wait for its end.
	keyword -timeout
}}

reload() {{
	ebegin "Reloading $RC_SVCNAME"
	supervise-daemon "$RC_SVCNAME" --signal HUP --pidfile "$pidfile"
	eend $?
}}
"""
