"""A gated child becomes its worker's program: token, output, limits, user, directory, exec.

Each step is a stage; a step that fails is reported with its stage and errno, so that the slot says
what was wrong and not just `exit 127`. Nothing of twinwatch is inherited but the slot's token.
"""

import errno
import fcntl
import os
import resource
import signal
import time

from twinwatch.core import expand
from twinwatch.core.spec import PairSpec, WorkerSpec
from twinwatch.core.values import Stage
from twinwatch.linux.gate import IGNORED_SIGNALS
from twinwatch.linux.limits import restore_descriptor_limit
from twinwatch.linux.paths import Paths

_TOKEN_FD_MIN = 64  # out of the way of programs that use 3, 4, 5 …
_TOKEN_TRIES = 50
_TOKEN_PAUSE_S = 0.002


class LaunchFailed(Exception):
    """A stage failed with an errno."""

    def __init__(self, stage: Stage, number: int) -> None:
        super().__init__(f"{stage.name.lower()}: {os.strerror(number)}")
        self.stage = stage
        self.number = number


def execute(paths: Paths, pair: PairSpec, spec: WorkerSpec, instance: int, generation: int) -> None:
    """Become the worker's program. Returns only by raising.

    Raises:
        LaunchFailed: which stage failed, and why.
    """
    stage = Stage.TOKEN
    try:
        _take_token(paths.token(spec.name, instance))
        stage = Stage.OUTPUT
        _redirect(paths, spec, instance)
        stage = Stage.LIMITS
        _limit(spec)
        stage = Stage.USER
        _change_user(spec)
        os.umask(spec.umask)
        stage = Stage.DIRECTORY
        os.chdir(spec.directory)
        stage = Stage.EXEC
        _exec(pair, spec, instance, generation)
    except OSError as error:  # any errno: reported with its stage
        raise LaunchFailed(stage, error.errno or 0) from None
    except ValueError:
        raise LaunchFailed(stage, errno.EINVAL) from None


def _take_token(path: str) -> None:
    """Lock the token; guards that probe it hold it for microseconds, so try for a moment."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fd = fcntl.fcntl(opened, fcntl.F_DUPFD, _TOKEN_FD_MIN)
        os.close(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EMFILE):
            raise
        fd = opened
        os.set_inheritable(fd, True)  # noqa: FBT003 - the standard library's own
    for _ in range(_TOKEN_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_TOKEN_PAUSE_S)
        else:
            return
    raise OSError(errno.EBUSY, "token held")


def _redirect(paths: Paths, spec: WorkerSpec, instance: int) -> None:
    """Input from nowhere, output appended to the worker's own file: no watcher in between (P5)."""
    log = os.path.join(paths.logs, expand.log_file(spec, instance))
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.close(output)


def _limit(spec: WorkerSpec) -> None:
    restore_descriptor_limit()
    for kind, soft, hard in spec.rlimits:
        resource.setrlimit(kind, (soft, hard))


def _change_user(spec: WorkerSpec) -> None:
    account = spec.account
    if account is None or os.geteuid() != 0:
        return
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)


def rehearse(pair: PairSpec, spec: WorkerSpec, instance: int) -> None:
    """Everything of `execute` that changes nothing."""
    _environment(pair, spec, instance, 0)
    expand.argv(spec, instance)


def _environment(pair: PairSpec, spec: WorkerSpec, instance: int, generation: int) -> dict[str, str]:
    return expand.environ(spec, pair.environment, instance) | {
        "TWINWATCH_PAIR": pair.name,
        "TWINWATCH_WORKER": spec.name,
        "TWINWATCH_INSTANCE": str(instance),
        "TWINWATCH_GENERATION": str(generation),
    }


def _exec(pair: PairSpec, spec: WorkerSpec, instance: int, generation: int) -> None:
    environment = _environment(pair, spec, instance, generation)
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(spec.command[0], expand.argv(spec, instance), environment)


def generation_variable(generation: int) -> bytes:
    """What the environment of a process of this generation holds."""
    return b"TWINWATCH_GENERATION=%d\0" % generation
