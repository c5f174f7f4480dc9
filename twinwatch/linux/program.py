"""Finds the program of a command on the PATH that it is to get, as execvp(3) does.

Not with `os.execvpe`: that imports a module on its way, and a child that is another user may not read any.
"""

import errno
import os
from collections.abc import Callable, Mapping

from twinwatch.core.hints import TypeVar

T = TypeVar("T")

_ELSEWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES})


def start(name: str, environ: Mapping[str, str], at: Callable[[str], T]) -> T:
    """What `at` returns for the first path at which there is a program; it executes or spawns that.

    Raises:
        OSError: ENOENT, or EACCES where one was found that may not be executed; any other errno of `at`.
    """
    path = environ.get("PATH", os.defpath)
    denied = False
    for place in [""] if "/" in name else path.split(os.pathsep):
        try:
            return at(os.path.join(place, name))
        except OSError as error:
            if error.errno not in _ELSEWHERE:
                raise
            denied |= error.errno == errno.EACCES
    number = errno.EACCES if denied else errno.ENOENT
    raise OSError(number, os.strerror(number), name)
