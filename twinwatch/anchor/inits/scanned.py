"""What runit, s6 and daemontools share: a service directory with a `run`, and the link that is scanned."""

from twinwatch.anchor.inits import launcher
from twinwatch.anchor.inits.recipe import SCRIPT, Duty, File, Link

_ORPHAN = """\
A killed supervisor leaves its anchor running. The next supervisor starts another one, which sees that
and leaves with 1, each second: nothing runs twice. Nobody can tell the first one anything through the
new supervisor; `kill -QUIT` to its PID ends it alone, and the pair goes on under the next one."""


def folder(duty: Duty) -> str:
    return f"/etc/sv/{duty.service}"


def link(duty: Duty) -> Link:
    """To be made last: what is scanned has to be complete."""
    return Link(f"{duty.scan_dir}/{duty.service}", folder(duty))


def run(duty: Duty, init: str, remarks: str, ready_fd: str = "") -> File:
    more = ("--ready-fd", ready_fd) if ready_fd else ()
    script = launcher.script(duty, init, f"{remarks}\n\n{_ORPHAN}", before="exec 2>&1\n", more=more)
    return File(f"{folder(duty)}/run", script, SCRIPT)


def setting(duty: Duty, name: str, value: int) -> File:
    """A file that holds one number, and so no mark."""
    return File(f"{folder(duty)}/{name}", f"{value}\n", beside=f"{folder(duty)}/run")
