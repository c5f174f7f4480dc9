"""s6: a service directory for s6-supervise, with readiness.

Theory: the pages "service directories", s6-supervise, s6-svscanctl and s6-svc of s6.
"""

from twinwatch.anchor.inits import scanned
from twinwatch.anchor.inits.recipe import Duty, Recipe, Step

NAME = "s6"
READY_FD = 3


def recipe(duty: Duty) -> Recipe:
    remarks = f"""\
notification-fd: the anchor writes a newline to {READY_FD} when the pair is whole (`s6-svwait -U`).

timeout-kill: KILL comes {duty.patience_s} s after `s6-svc -d`, later than the anchor's own limit.
Without that file an anchor that hangs would hang the shutdown as well. There is no flag-timeout-killpg:
it is for the anchor alone.

There is no down-signal: TERM ends the pair in order. `s6-svc -q` (QUIT) ends the anchor alone.

s6-supervise waits 1 s before each respawn, and never gives up. There is no `finish`: one that exits with
125 would be the end, and each respawn would wait for it.

A scan directory in /run is gone at the next boot: link this directory also into what it is copied from
(with s6-linux-init: run-image/service)."""
    place = f"{duty.scan_dir}/{duty.service}"
    return Recipe(
        init=NAME,
        items=(
            scanned.run(duty, NAME, remarks, ready_fd=str(READY_FD)),
            scanned.setting(duty, "notification-fd", READY_FD),
            scanned.setting(duty, "timeout-kill", duty.patience_s * 1000),
            scanned.link(duty),
        ),
        start=f"s6-svscanctl -a {duty.scan_dir}",
        stop=f"s6-svc -wD -d {place}",
        look=f"s6-svstat {place}",
        installed=Step(("s6-svscanctl", "-a", duty.scan_dir)),
        unlinked=Step(("s6-svscanctl", "-an", duty.scan_dir)),
        folders=(scanned.folder(duty),),
        notes=("s6-svscan starts it as soon as it has scanned",),
    )
