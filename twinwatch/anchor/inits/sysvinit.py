"""sysvinit: a respawn line in /etc/inittab, and the script that it runs.

Theory: inittab(5), init(8), and `spawn` and `read_inittab` of its init.c.
"""

from twinwatch.anchor.inits import inittab, launcher
from twinwatch.anchor.inits.recipe import SCRIPT, Block, Duty, File, Live, Recipe, Step

NAME = "sysvinit"


def recipe(duty: Duty) -> Recipe:
    path = launcher.path(duty, NAME)
    lines = (
        "# 10 starts within 2 minutes switch the line off for 5 minutes; `telinit q` ends that pause.",
        "# Leaving these runlevels gives the anchor 3 s, unless `shutdown -t` or `telinit -t` says more.",
        f"{{id}}:2345:respawn:{path}",
    )
    remarks = f"""\
Why a script: the process field of inittab is short (127 characters are safe), is read by a shell where
there is anything special in it, and starts with a poor PATH and the console as standard input.

10 starts within 2 minutes, and init switches the line off for 5 minutes. The pair lives without it;
`telinit q` ends the pause at once.

When the runlevel changes to one that the line does not name, or the line is gone, init sends TERM to the
anchor's process group, and KILL 3 s later. This pair may need {duty.stop_timeout_s} s: say `shutdown -t
{duty.patience_s}` or `telinit -t {duty.patience_s} 1`. An anchor that was killed meanwhile leaves the
rest to the watchers, and to the next anchor."""
    return Recipe(
        init=NAME,
        items=(
            File(path, launcher.script(duty, NAME, remarks, has_log=True), SCRIPT),
            Block(inittab.PATH, duty.pair, NAME, lines),
        ),
        start="telinit q",
        stop=f"twinwatch -p {duty.pair} down",
        look=f"twinwatch -p {duty.pair} status",
        installed=Step(("telinit", "q"), Live.SYSVINIT),
        removed=Step(("telinit", "-t", str(duty.patience_s), "q"), Live.SYSVINIT),
        notes=("init starts it as soon as it has read its inittab",),
    )
