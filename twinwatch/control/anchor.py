"""`anchor`: make ready what can be made ready, then become the third guard.

A pair that lives is adopted as it is, with no look at its YAML: it may be all that is left, and every
millisecond counts. What its file says now comes into force by `reload`, or when the pair is started anew.
"""

import os
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

from twinwatch.control.errors import ControlError
from twinwatch.control.target import Target, bare_name
from twinwatch.core.values import Desired
from twinwatch.linux import machine, sole, wishes
from twinwatch.linux.paths import Paths, locate
from twinwatch.linux.statefile import peek

_OPERATOR_TIMEOUT_S = 60.0
_HEARD_LATER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def anchor(
    config_path: str, environ: Mapping[str, str], *, watchdog_device: str | None, ready_fd: int | None
) -> NoReturn:
    """Execute the anchor. What its init says meanwhile is blocked, and heard afterwards.

    Raises:
        ConfigError, ControlError, PathError: nothing was started.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD_LATER)
    source = os.path.realpath(config_path)
    if watchdog_device is not None and not os.path.exists(watchdog_device):
        raise ControlError(f"no watchdog device {watchdog_device}: name another one, or load its driver")
    paths = _adoptable(source, environ) or _made_ready(config_path, environ)
    boot = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "anchor", "boot.py")
    fd = -1 if ready_fd is None else ready_fd
    words = [paths.runtime_base, paths.state_base, paths.pair, source, watchdog_device or "", str(fd)]
    os.execv(sys.executable, [sys.executable, "-I", "-S", boot, *words])


def _adoptable(source: str, environ: Mapping[str, str]) -> Paths | None:
    """The pair of this configuration, if it is of this boot and to run."""
    name = bare_name(source)
    if name is None:
        return None
    paths = locate(name, environ)
    header = peek(paths.runtime)
    if header is None or machine.is_foreign(header):
        return None
    if header.source != source or header.desired is not Desired.RUN:
        return None
    _refuse_second(paths)
    return paths


def _made_ready(config_path: str, environ: Mapping[str, str]) -> Paths:
    """Directories and state file of a pair that is to run; of one that is to stay down, nothing (R30)."""
    from twinwatch.control import up
    from twinwatch.control.down import down
    from twinwatch.control.operator import exclusive

    paths, spec = up.look_up(config_path, environ)
    _refuse_second(paths)
    if wishes.read(paths).pair is not Desired.RUN:  # R30
        return paths
    if _is_halfway_down(paths):
        down(Target(paths, config_path), timeout_s=_OPERATOR_TIMEOUT_S, progress=_say, temporary=True)
    with exclusive(paths, _say, _OPERATOR_TIMEOUT_S):
        up.make_ready(paths, spec).close()
    return paths


def _is_halfway_down(paths: Paths) -> bool:
    """An anchor was killed while it ended the pair for now."""
    header = peek(paths.runtime)
    return header is not None and header.desired is Desired.STOP and not machine.is_foreign(header)


def _refuse_second(paths: Paths) -> None:
    pid = sole.holder(paths)
    if pid:
        raise ControlError(f"another anchor of pair {paths.pair} lives ({sole.Taken(pid)})")


def _say(text: str) -> None:
    os.write(2, f"twinwatch anchor: {text}\n".encode())
