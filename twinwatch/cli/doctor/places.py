"""Where a pair would live: whether that is ours, local, and kept for as long as it must be."""

import os
import pwd
from collections.abc import Iterator, Mapping

from twinwatch.cli.doctor.finding import Finding, Verdict
from twinwatch.linux.paths import PathError, Paths, check_local, check_owned, locate

_VOLATILE = frozenset({"tmpfs", "ramfs"})
_LINGER = "/var/lib/systemd/linger"


def findings(environ: Mapping[str, str], mounts: str) -> Iterator[Finding]:
    """`mounts`: the text of `/proc/self/mounts`."""
    try:
        paths = locate("doctor", environ)
    except PathError as error:
        yield Finding(
            "directories", Verdict.MISSING, "none", "no pair can live here", str(error), is_required=True
        )
        return
    yield directory("runtime directory", paths.runtime_base, mounts)
    yield kept(directory("state directory", paths.state_base, mounts), paths.state_base, mounts)
    yield lifetime(paths, environ, os.geteuid(), lingers=_lingers())


def directory(name: str, path: str, mounts: str) -> Finding:
    """Whether a pair can be made in a directory, which need not be there yet. Nothing is made."""
    there = _nearest(path)
    found = f"{path} ({file_system(there, mounts)})"
    try:
        if there == path:
            check_owned(path)
        check_local(there)
    except PathError as error:
        return Finding(name, Verdict.MISSING, found, "no pair can live here", str(error), is_required=True)
    if not os.access(there, os.W_OK | os.X_OK):
        advice = f"make {there} writable for you, or choose another place (see `twinwatch --help`)"
        return Finding(name, Verdict.MISSING, found, "no pair can live here", advice, is_required=True)
    return Finding(name, Verdict.OK, found, is_required=True)


def kept(finding: Finding, path: str, mounts: str) -> Finding:
    """The same of a directory that must outlive a reboot."""
    kind = file_system(_nearest(path), mounts)
    if finding.verdict is not Verdict.OK or kind not in _VOLATILE:
        return finding
    cost = "a reboot forgets what was stopped, the logs and the events"
    return Finding(finding.name, Verdict.DEGRADED, finding.found, cost, "choose a directory on a disk")


def lifetime(paths: Paths, environ: Mapping[str, str], uid: int, *, lingers: bool) -> Finding:
    """Whether somebody removes the runtime directory under a living pair."""
    name = "runtime directory stays"
    own = environ.get("XDG_RUNTIME_DIR", "")
    if uid and own and paths.runtime_base.startswith(f"{own}/") and not lingers:
        cost = "your last logout removes it and may end the pair"
        return Finding(name, Verdict.DEGRADED, "until logout", cost, "loginctl enable-linger")
    if paths.runtime_base.startswith("/tmp/"):  # noqa: S108 - it is what we warn of
        cost = "cleaners of /tmp may remove it; a living pair rebuilds it"
        return Finding(
            name, Verdict.DEGRADED, "until /tmp is cleaned", cost, "log in with XDG_RUNTIME_DIR set"
        )
    return Finding(name, Verdict.OK, "until the next boot")


def file_system(path: str, mounts: str) -> str:
    """Kind of the file system that holds `path`, by the longest mount point above it."""
    real = os.path.realpath(path)
    best, kind = "", "unknown"
    for entry in mounts.splitlines():
        fields = entry.split(" ")
        point = fields[1].replace("\\040", " ")
        if len(point) >= len(best) and (real == point or real.startswith(point.rstrip("/") + "/")):
            best, kind = point, fields[2]
    return kind


def _nearest(path: str) -> str:
    """The path, or what of it is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _lingers() -> bool:
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a UID without a name
        return False
    return os.path.exists(f"{_LINGER}/{user}")
