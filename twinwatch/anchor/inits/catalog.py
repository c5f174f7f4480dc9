"""Every init's recipe, by the name that the command line has for it."""

from collections.abc import Callable

from twinwatch.anchor.inits import (
    busybox,
    cron,
    daemontools,
    dinit,
    openrc,
    release_agent,
    runit,
    s6,
    systemd,
    systemd_user,
    sysvinit,
)
from twinwatch.anchor.inits.quoting import check
from twinwatch.anchor.inits.recipe import Duty, Recipe

_MODULES = (
    *(systemd, systemd_user, sysvinit, busybox, runit, s6, daemontools),
    *(openrc, dinit, cron, release_agent),
)
RECIPES: dict[str, Callable[[Duty], Recipe]] = {module.NAME: module.recipe for module in _MODULES}

# Where each supervisor may scan. The first that exists is meant.
SCAN_DIRS = {
    runit.NAME: ("/etc/service", "/var/service", "/run/runit/service", "/service"),
    s6.NAME: ("/etc/service", "/service", "/var/service", "/run/service"),
    daemontools.NAME: ("/etc/service", "/service"),
}


def recipe(init: str, duty: Duty) -> Recipe:
    """What `init` needs.

    Raises:
        Unfit: a path or value that its files cannot hold.
    """
    check("the configuration's path", duty.config)
    check("the interpreter's path", duty.python)
    check("the watchdog device's path", duty.watchdog_device)
    check("the scan directory's path", duty.scan_dir)
    for name, value in duty.environ:
        check(name, value)
    return RECIPES[init](duty)
