"""daemontools: a service directory for supervise.

Theory: svscan(8), supervise(8), svc(8).
"""

from twinwatch.anchor.inits import scanned
from twinwatch.anchor.inits.recipe import Duty, Recipe, Step

NAME = "daemontools"


def recipe(duty: Duty) -> Recipe:
    remarks = """\
supervise waits 1 s after each start, so a respawn is quick unless the last run was short. svscan takes
up to 5 s to replace a supervise. Nothing gives up, and nothing sends KILL: `svc -d` is TERM and CONT.

svc has no QUIT: to end the anchor alone, send it to the PID that `svstat` shows.

svscan goes on with a directory whose link is gone: `svc -dx` ends its supervise."""
    place = f"{duty.scan_dir}/{duty.service}"
    return Recipe(
        init=NAME,
        items=(scanned.run(duty, NAME, remarks), scanned.link(duty)),
        start="",
        stop=f"svc -d {place}",
        look=f"svstat {place}",
        unlinked=Step(("svc", "-dx", scanned.folder(duty))),
        folders=(scanned.folder(duty),),
        notes=("svscan starts it by itself, within 5 s",),
    )
