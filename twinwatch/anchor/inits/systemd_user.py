"""systemd, a user's manager: the same unit, at home.

Theory: systemd.unit(5) on where a user's units are, loginctl(1) on lingering.
"""

from dataclasses import replace

from twinwatch.anchor.inits.recipe import Duty, Live, Recipe
from twinwatch.anchor.inits.systemd import Manager, unit_recipe

NAME = "systemd-user"
_NOTES = (
    "the user's manager, and the pair with it, ends with the last session: `loginctl enable-linger` keeps it",
    "that manager is a process like others: who kills it together with the pair has killed both",
)


def recipe(duty: Duty) -> Recipe:
    manager = Manager(NAME, duty.units, "default.target", ("systemctl", "--user"), Live.SYSTEMD_USER)
    made = unit_recipe(duty, manager)
    return replace(made, notes=(*made.notes, *_NOTES))
