"""`anchor install`, `uninstall`, `print`: lay what an init needs, take it away again, show it.

Invariants: nothing is written before it is known that all of it may be; what is not ours is replaced by force
only, and never removed. Below a root of its own no command is run.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from twinwatch.anchor.inits import catalog
from twinwatch.anchor.inits.recipe import Block, Duty, File, Item, Link, Live, Recipe, Step, Unfit
from twinwatch.config.load import load
from twinwatch.control import access, site
from twinwatch.control.errors import NOT_ALLOWED, NOT_RUNNING, USAGE, ControlError
from twinwatch.control.site import Found, Site
from twinwatch.core.timing import SECOND_NS
from twinwatch.linux.paths import RUNTIME_VARIABLE, STATE_VARIABLE, Paths

_USERS = "systemd-user"
_SILENCE_S_MIN = 30  # in which one twin is replaced many times over
_HANGS_S = 60  # more than its own patience: a command that does not come back


@dataclass(slots=True)
class Outcome:
    """What was done, a line each."""

    lines: list[str] = field(default_factory=list)
    is_whole: bool = True


# ---------------------------------------------------------------- what it is about


def duty_of(
    config_path: str,
    environ: Mapping[str, str],
    at: Site,
    *,
    scan_dir: str | None,
    watchdog_device: str | None,
) -> Duty:
    """The anchor of a configuration, as the interpreter and environment of this call would start it.

    Raises:
        ConfigError: it is not valid.
        ControlError: no place for it can be named.
    """
    spec = load(config_path, environ)
    if not os.path.isabs(sys.executable):
        raise ControlError(f"which Python is this? sys.executable is {sys.executable!r}")
    return Duty(
        spec.name,
        config=at.seen_from_there(spec.source),
        python=sys.executable,
        stop_timeout_s=-(-spec.anchor.stop_timeout_ns // SECOND_NS),
        silence_s=max(_SILENCE_S_MIN, -(-4 * spec.watch.timeout_ns // SECOND_NS)),
        keep_workers=spec.anchor.keep_workers,
        has_cgroups=any(worker.cgroup for worker in spec.workers),
        environ=tuple(_kept(environ, at.init)),
        watchdog_device=os.path.abspath(watchdog_device) if watchdog_device else "",
        scan_dir=_scan_dir(at, scan_dir),
        units=_units(environ, at),
    )


def _kept(environ: Mapping[str, str], init: str) -> Iterator[tuple[str, str]]:
    """What names the pair's directories. A user's manager need not know the XDG_STATE_HOME of a shell."""
    for name in (RUNTIME_VARIABLE, STATE_VARIABLE):
        if environ.get(name):
            yield name, os.path.abspath(environ[name])
    if init == _USERS and environ.get("XDG_STATE_HOME") and not environ.get(STATE_VARIABLE):
        yield "XDG_STATE_HOME", environ["XDG_STATE_HOME"]


def _units(environ: Mapping[str, str], at: Site) -> str:
    if at.init != _USERS:
        return "/"
    home = environ.get("HOME")
    base = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    if not os.path.isabs(base):
        raise ControlError("neither HOME nor XDG_CONFIG_HOME says where a user's units are")
    return f"{base}/systemd/user"


def _scan_dir(at: Site, named: str | None) -> str:
    """Where the supervisor scans; '' for an init that does not scan."""
    usual = catalog.SCAN_DIRS.get(at.init)
    if usual is None:
        if named is not None:
            raise ControlError(f"--scan-dir: {at.init} scans no directory", USAGE)
        return ""
    if named is not None:
        return os.path.normpath(os.path.join("/", named)) if at.root else os.path.abspath(named)
    return next((path for path in usual if at.has_folder(path)), usual[0])


def _recipe(init: str, duty: Duty) -> Recipe:
    try:
        return catalog.recipe(init, duty)
    except Unfit as unfit:
        raise ControlError(str(unfit)) from None


# ---------------------------------------------------------------- print


def pages(duty: Duty, at: Site) -> Iterator[str]:
    """Every file: a comment that says where it belongs, and its text."""
    for item in _recipe(at.init, duty).items:
        match item:
            case File(path=path, text=text, mode=mode):
                yield f"# ---- {path}, mode {mode:04o}\n{text}"
            case Link(path=path, target=target):
                yield f"# ---- {path}, a link to {target}\n"
            case Block(path=path, at_top=at_top):
                where = "at its top" if at_top else "at its end"
                yield f"# ---- {path}, {where}\n{site.drawn(item, at)}"


# ---------------------------------------------------------------- install


def install(duty: Duty, at: Site) -> Outcome:
    """Write what is not there, and have the init look again.

    Raises:
        ControlError: not allowed, or something that is not ours is in the way; nothing was written.
    """
    _check_rights(at)
    recipe = _recipe(at.init, duty)
    if duty.scan_dir and not at.root and not os.path.isdir(duty.scan_dir):
        raise ControlError(f"there is no {duty.scan_dir}: name what {at.init} scans with --scan-dir")
    found = [(item, site.look(item, at)) for item in recipe.items if site.is_wanted(item, at)]
    for item, what in found:
        if what is Found.FOREIGN and not at.force:
            raise ControlError(site.objection(item, at))
    outcome = Outcome()
    for item, what in found:
        if what is not Found.SAME:
            outcome.lines.append(site.lay(item, at))
    if not outcome.lines:
        return Outcome([f"nothing to do: {at.init} has all that the anchor of pair {duty.pair} needs"])
    is_told = _run(recipe.installed if len(found) == len(recipe.items) else None, at, duty, outcome)
    outcome.lines += [f"note: {note}" for note in recipe.notes]
    is_started = is_told and recipe.installed and recipe.start == " ".join(recipe.installed.command)
    if recipe.start and not is_started:
        outcome.lines.append(f"start it: {recipe.start}")
    return outcome


def _check_rights(at: Site) -> None:
    if at.root:
        return
    if at.init == _USERS:
        if os.geteuid() == 0:
            raise ControlError(f"{_USERS} is for users who are not root: root has `--init systemd`", USAGE)
    elif os.geteuid() != 0:
        raise ControlError(f"only root can have {at.init} run something (or say --root DIR)", NOT_ALLOWED)


# ---------------------------------------------------------------- uninstall


def uninstall(paths: Paths, environ: Mapping[str, str], at: Site, *, scan_dir: str | None) -> Outcome:
    """Remove what `install` wrote, and no more.

    Raises:
        ControlError: not allowed, or the pair is up; nothing was removed.
    """
    _check_rights(at)
    if "/" in paths.pair:
        raise ControlError(f"{paths.pair} is no pair's name", USAGE)
    duty = Duty(paths.pair, scan_dir=_scan_dir(at, scan_dir), units=_units(environ, at))
    if duty.scan_dir and scan_dir is None:
        duty = _with_linked(duty, at)
    recipe = _recipe(at.init, duty)
    found = [(item, site.look_back(item, at)) for item in recipe.items]
    ours = [item for item, what in found if what in (Found.SAME, Found.OURS)]
    left = [f"left {at.place(item.path)}: it is not ours" for item, what in found if what is Found.FOREIGN]
    if not ours:
        return Outcome([f"nothing to do: {at.init} has nothing of pair {paths.pair}", *left])
    if not at.root and not at.force:
        _refuse_while_up(paths)
    outcome = Outcome()
    _run(recipe.before_removal, at, duty, outcome)
    outcome.lines += [site.remove(item, at) for item in ours if isinstance(item, Link)]
    _run(recipe.unlinked, at, duty, outcome)
    rest = [item for item in ours if not isinstance(item, Link)]
    outcome.lines += [site.remove(item, at) for item in sorted(rest, key=_is_shared)]
    outcome.lines += [line for folder in recipe.folders for line in site.remove_folder(folder, at)]
    _run(
        recipe.removed if all(site.is_wanted(item, at) for item in recipe.items) else None, at, duty, outcome
    )
    outcome.lines += left
    return outcome


def _is_shared(item: Item) -> bool:
    return isinstance(item, File) and bool(item.shared)


def _with_linked(duty: Duty, at: Site) -> Duty:
    """The usual scan directory that has our link, if one has."""
    for folder in catalog.SCAN_DIRS[at.init]:
        tried = replace(duty, scan_dir=folder)
        links = [item for item in _recipe(at.init, tried).items if isinstance(item, Link)]
        if all(site.look(link, at) is Found.SAME for link in links):
            return tried
    return duty


def _refuse_while_up(paths: Paths) -> None:
    try:
        with access.opened(paths) as state:
            is_up = bool(access.living_watchers(state))
    except ControlError as error:
        if error.exit_code != NOT_RUNNING:
            raise
        return
    if is_up:
        raise ControlError(
            f"pair {paths.pair} is up, and its init would end it: "
            f"`twinwatch -p {paths.pair} down` first, or --force"
        )


# ---------------------------------------------------------------- telling the init


def _run(step: Step | None, at: Site, duty: Duty, outcome: Outcome) -> bool:
    """Run a command where its init is at work; whether it did what it should."""
    if step is None or at.root:
        return False
    words = " ".join(step.command)
    if not is_live(step):
        outcome.lines.append(f"not run: {words}: {step.live}")
        return False
    trouble = _trouble(step, duty.patience_s + _HANGS_S)
    outcome.lines.append(f"failed: {words}: {trouble}" if trouble else f"ran: {words}")
    outcome.is_whole = outcome.is_whole and not trouble
    return not trouble


def _trouble(step: Step, limit_s: int) -> str:
    """Run it; how it failed, in one line."""
    try:
        done = subprocess.run(
            step.command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not come back within {limit_s} s"
    except (FileNotFoundError, PermissionError) as error:
        return error.strerror or str(error)
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1] if said else f"exit code {done.returncode}"


def is_live(step: Step) -> bool:
    """Whether the init that the command is for is at work on this machine."""
    is_systemd = os.path.isdir("/run/systemd/system")
    match step.live:
        case Live.SYSTEMD:
            return is_systemd
        case Live.SYSTEMD_USER:
            return os.path.exists(f"{os.environ.get('XDG_RUNTIME_DIR', '')}/systemd/private")
        case Live.SYSVINIT:
            return not is_systemd and any(map(os.path.exists, ("/run/initctl", "/dev/initctl")))
        case Live.BUSYBOX:
            name, program = _first_process()
            return os.path.basename(program).startswith("busybox") and name in ("init", "linuxrc")
        case Live.PROGRAM:
            return shutil.which(step.command[0]) is not None


def _first_process() -> tuple[str, str]:
    """Name and program of PID 1; '' for what may not be seen."""
    with open("/proc/1/comm", encoding="utf-8", errors="replace") as file:
        name = file.read().strip()
    try:
        return name, os.readlink("/proc/1/exe")
    except PermissionError:
        return name, ""
