"""runit: a service directory for runsv.

Theory: runsv(8), runsvdir(8), sv(8), and runsv.c.
"""

from twinwatch.anchor.inits import scanned
from twinwatch.anchor.inits.recipe import Duty, Recipe, Step

NAME = "runit"


def recipe(duty: Duty) -> Recipe:
    remarks = f"""\
`sv stop` waits 7 s and then says `timeout`. `sv force-stop`, which stage 3 of runit uses when the
machine goes down, sends KILL then. This pair may need {duty.stop_timeout_s} s: `sv -w {duty.patience_s}
stop`, and SVWAIT={duty.patience_s} in the environment of stage 3.

There is no `finish`, and no `control/t`, `control/d` or `control/k`: whatever fails or takes long in
them would stand between runsv and the anchor.

runsv waits 1 s before a respawn if the last run was shorter than that. runsvdir takes up to 5 s to
replace a runsv.

As PID 1, runit(8) powers the machine off when its stage 2 ends, that is when somebody kills runsvdir.
runsvdir as PID 1 outlives that."""
    place = f"{duty.scan_dir}/{duty.service}"
    return Recipe(
        init=NAME,
        items=(scanned.run(duty, NAME, remarks), scanned.link(duty)),
        start="",
        stop=f"sv -w {duty.patience_s} down {place}",
        look=f"sv status {place}",
        unlinked=Step(("sv", "-w", str(duty.patience_s), "exit", scanned.folder(duty))),
        folders=(scanned.folder(duty),),
        notes=("runsvdir starts it by itself, within 5 s",),
    )
