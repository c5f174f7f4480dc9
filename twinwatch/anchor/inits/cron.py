"""cron: a line that tries each minute. A relauncher rather than a supervisor; fit beside any init.

Theory: cron(8), crontab(5) of Debian's and of cronie.
"""

from twinwatch.anchor.inits import launcher
from twinwatch.anchor.inits.recipe import PATH, SCRIPT, Duty, File, Recipe, heading

NAME = "cron"

_TABLE = """\
Each minute. While an anchor of this pair lives, a new one sees that and leaves at once, with 1: nothing
runs twice, and no lock is needed here. A pair that was killed whole is back within 60 s.

The user column is root: this is no personal crontab. cron takes the file only if root owns it, nobody
else may write it, and its name has no dot. The cron of busybox does not read this directory.

A % would end the command, and quotes are a shell's: so the paths are in the script. Output is dropped,
or cron would send a mail each minute."""
_LAUNCHER = """\
The anchor stays below cron, and in its cgroup. Who stops cron has to leave it alone: the units of Debian
and Fedora have KillMode=process for that."""


def recipe(duty: Duty) -> Recipe:
    path = launcher.path(duty, NAME)
    line = f"* * * * * root {path} >/dev/null 2>&1\n"
    table = f"{heading(duty, NAME, _TABLE)}SHELL=/bin/sh\nPATH={PATH}\n{line}"
    return Recipe(
        init=NAME,
        items=(
            File(path, launcher.script(duty, NAME, _LAUNCHER), SCRIPT),
            File(f"/etc/cron.d/{duty.service}", table),
        ),
        start="",
        stop=f"twinwatch -p {duty.pair} down",
        look=f"twinwatch -p {duty.pair} status",
        notes=("cron starts it by itself, within a minute",),
    )
