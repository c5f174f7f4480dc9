"""The init of busybox: a respawn line in /etc/inittab, a shutdown line, and the script that both run.

Theory: init/init.c of busybox.
"""

from twinwatch.anchor.inits import inittab, launcher
from twinwatch.anchor.inits.quoting import shell_line
from twinwatch.anchor.inits.recipe import SCRIPT, Block, Duty, File, Live, Recipe, Step

NAME = "busybox"


def recipe(duty: Duty) -> Recipe:
    path = launcher.path(duty, NAME)
    lines = (
        "# init waits 1 s before each respawn. When the machine goes down it leaves processes 1 s between",
        "# TERM and KILL, so the pair is ended before that, and before lines further down unmount.",
        f"::respawn:{path}",
        f"::shutdown:{path} stop",
    )
    remarks = """\
init waits 1 s before each respawn, and never gives up.

With `stop` this ends the pair for now. init calls it when the machine goes down, and waits for it. What
follows is TERM to all processes, and KILL 1 s later.

An inittab replaces the lines that are built into init (rcS, askfirst, umount). So none is made where
there is none.

Most builds of init leave a process alone whose line is gone (FEATURE_KILL_REMOVED): they only do not
respawn it."""
    down = duty.twinwatch("-p", duty.pair, "down", "--temporary", "--timeout", f"{duty.patience_s}s")
    before = f'[ "${{1-}}" != stop ] || exec {shell_line(down)} </dev/null\n'
    reread = Step(("kill", "-HUP", "1"), Live.BUSYBOX)
    return Recipe(
        init=NAME,
        items=(
            File(path, launcher.script(duty, NAME, remarks, has_log=True, before=before), SCRIPT),
            Block(inittab.PATH, duty.pair, NAME, lines, at_top=True),
        ),
        start="kill -HUP 1",
        stop=f"twinwatch -p {duty.pair} down",
        look=f"twinwatch -p {duty.pair} status",
        installed=reread,
        removed=reread,
        notes=("init starts it as soon as it has read its inittab",),
    )
