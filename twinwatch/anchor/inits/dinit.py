"""dinit: a service of type `process`.

Theory: dinit-service(5), dinitctl(8) and baseproc-service.cc.
"""

from twinwatch.anchor.inits import launcher
from twinwatch.anchor.inits.recipe import PAUSE, SCRIPT, Duty, File, Link, Recipe, Step, heading

NAME = "dinit"
READY_FD = 3


def recipe(duty: Duty) -> Recipe:
    path = launcher.path(duty, NAME)
    service = f"/etc/dinit.d/{duty.service}"
    return Recipe(
        init=NAME,
        items=(
            File(
                path,
                launcher.script(duty, NAME, has_log=True, more=(*PAUSE, "--ready-fd", str(READY_FD))),
                SCRIPT,
            ),
            File(service, _service(duty, path)),
            Link(f"/etc/dinit.d/boot.d/{duty.service}", f"../{duty.service}"),
        ),
        start=f"dinitctl start {duty.service}",
        stop=f"dinitctl stop {duty.service}",
        look=f"dinitctl status {duty.service}",
        before_removal=Step(("dinitctl", "stop", "--ignore-unstarted", duty.service)),
        removed=Step(("dinitctl", "unload", duty.service)),
        notes=(
            "a service that dinit has loaded before is loaded anew by `dinitctl reload`",
            "boot.d is read at boot if the service `boot` says `waits-for.d: boot.d`, as it usually does",
        ),
    )


def _service(duty: Duty, path: str) -> str:
    head = heading(duty, NAME)
    return f"""{head}
type = process
# dinit would expand $ and split at spaces: so the paths are in that script.
command = {path}

restart = true
# Restarted without first stopping what depends on it.
smooth-recovery = true
# By default the fourth death within 10 s is the last one. 0: no limit.
restart-limit-count = 0
# The least time between two starts; by default 0.2. An anchor that cannot start makes a longer pause itself.
restart-delay = 0

# "started" is a whole pair: the anchor writes a newline to this descriptor.
ready-notification = pipefd:{READY_FD}
# By default a start may take 60 s. 0: workers take as long as they take.
start-timeout = 0
# By default KILL comes 10 s after TERM; this pair may need {duty.stop_timeout_s} s.
stop-timeout = {duty.patience_s}

# By default signals go to the whole process group: to the `down` with which the anchor ends the pair, too.
options = signal-process-only
"""
