"""A shell script that becomes the anchor: for inits whose files hold a path and nothing that needs quotes.

It sets what the inits disagree about: search path, directory, umask, standard input. Its PID stays.
"""

from twinwatch.anchor.inits.quoting import shell, shell_line
from twinwatch.anchor.inits.recipe import FOLDER, PATH, Command, Duty, heading


def path(duty: Duty, init: str) -> str:
    """Where it is. A pair's name has no dot, so no two pairs meet here."""
    return f"{FOLDER}/{duty.pair}.{init}"


def script(
    duty: Duty, init: str, remarks: str = "", *, has_log: bool = False, before: str = "", more: Command = ()
) -> str:
    """`has_log`: keep the anchor's words. `before`: shell lines that come before it is started."""
    parts = (
        "#!/bin/sh\n",
        heading(duty, init, remarks),
        surroundings(duty),
        log(duty) if has_log else "",
        before,
        f"exec {shell_line(duty.command(*more))} </dev/null\n",
    )
    return "".join(parts)


def surroundings(duty: Duty) -> str:
    """Shell lines: what the anchor has around it, and its workers inherit."""
    pairs = (("PATH", PATH), *duty.environ)
    return "".join(f"export {name}={shell(value)}\n" for name, value in pairs) + "umask 022\ncd /\n"


def log(duty: Duty) -> str:
    """Shell lines: where its words go."""
    return f"""\
# The anchor's words, a line an event; to be rotated with copytruncate. A log that cannot be opened must
# not keep it from starting: so that is tried in a subshell.
log=/var/log/{duty.service}.log
if (: >>"$log") 2>/dev/null; then exec >>"$log" 2>&1; fi
"""
