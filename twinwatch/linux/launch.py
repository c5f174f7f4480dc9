"""A gated child becomes its worker's program: token, output, cgroup, limits, user, directory, hook, exec.

Each step is a stage; a step that fails is reported with its stage and errno, so that the slot says
what was wrong and not just `exit 127`. Nothing of twinwatch is inherited but the slot's token.
"""

import errno
import fcntl
import os
import resource
import signal
import stat
from contextlib import suppress
from dataclasses import dataclass

from twinwatch.core import expand
from twinwatch.core.spec import PairSpec, WorkerSpec
from twinwatch.core.values import Exit, ExitKind, Stage
from twinwatch.linux import cgroup, heartbeat, hook, program, token
from twinwatch.linux.gate import COMM_HOOK, IGNORED_SIGNALS, set_comm
from twinwatch.linux.limits import restore_descriptor_limit
from twinwatch.linux.paths import Paths

_FIFO_BYTES = 1 << 20


class LaunchFailed(Exception):
    """A stage failed with an errno."""

    def __init__(self, stage: Stage, number: int) -> None:
        super().__init__(f"{stage.name.lower()}: {os.strerror(number)}")
        self.stage = stage
        self.number = number


@dataclass(frozen=True, slots=True)
class Birth:
    """One generation of one instance."""

    paths: Paths
    pair: PairSpec
    spec: WorkerSpec
    instance: int
    generation: int


def execute(birth: Birth) -> None:
    """Become the worker's program. Returns only by raising.

    Raises:
        LaunchFailed: which stage failed, and why.
    """
    paths, spec, instance = birth.paths, birth.spec, birth.instance
    stage = Stage.TOKEN
    try:
        token.take(paths.token(spec.name, instance))
        make_heartbeat(paths, spec, instance)
        stage = Stage.OUTPUT
        _redirect(birth)
        stage = Stage.CGROUP
        cgroup.leave_guards(birth.pair.name)
        cgroup.enter(birth.pair.name, spec, instance, birth.generation)
        stage = Stage.LIMITS
        _limit(spec)
        stage = Stage.USER
        _change_user(spec)
        os.umask(spec.umask)
        stage = Stage.DIRECTORY
        os.chdir(spec.directory)
        stage = Stage.HOOK
        _run_before_start(birth)
        stage = Stage.EXEC
        _exec(expand.argv(spec.command, instance), environment(birth))
    except hook.HookFailed as failed:
        raise LaunchFailed(stage, failed.number) from None
    except OSError as error:  # any errno: reported with its stage
        raise LaunchFailed(stage, error.errno or 0) from None
    except ValueError:
        raise LaunchFailed(stage, errno.EINVAL) from None


def execute_hook(birth: Birth, end: Exit) -> None:
    """Become the `after_exit` hook of a generation that ended. Returns only by raising LaunchFailed."""
    spec = birth.spec
    if spec.after_exit is None:
        raise LaunchFailed(Stage.HOOK, errno.ENOENT)
    kind = end.kind.name.lower().replace("_", "-")
    said = {
        "TWINWATCH_EXIT": kind,
        "TWINWATCH_EXIT_CODE": str(end.code) if end.kind in (ExitKind.CLEAN, ExitKind.ERROR) else "",
        "TWINWATCH_EXIT_SIGNAL": str(end.signal or ""),
        "TWINWATCH_EXIT_REASON": end.ending.name.lower() if end.ending else "",
    }
    try:
        _redirect(birth)
        cgroup.leave_guards(birth.pair.name)
        _limit(spec)
        _change_user(spec)
        os.umask(spec.umask)
        os.chdir(spec.directory)
        _exec(expand.argv(spec.after_exit.command, birth.instance), environment(birth) | said)
    except OSError as error:  # any errno: reported with its stage
        raise LaunchFailed(Stage.HOOK, error.errno or 0) from None


def _run_before_start(birth: Birth) -> None:
    if birth.spec.before_start is not None:
        set_comm(COMM_HOOK)
        command = expand.argv(birth.spec.before_start.command, birth.instance)
        hook.run(command, environment(birth), birth.spec.before_start.timeout_ns)


def make_heartbeat(paths: Paths, spec: WorkerSpec, instance: int) -> None:
    """An empty heartbeat file, its worker's user's own. Without it the worker runs as well."""
    uid, gid = (spec.account.uid, spec.account.gid) if spec.account else (-1, -1)
    heartbeat.make(paths.heartbeat(spec.name, instance), uid, gid)


def _redirect(birth: Birth) -> None:
    """Input from nowhere, output appended to the worker's own file: no watcher in between (P5).

    With a sink of its own the output is a FIFO, opened for reading as well: whoever dies, somebody still
    has its other end, so no write ends in SIGPIPE.
    """
    logs, spec, instance = birth.paths.logs, birth.spec, birth.instance
    if spec.source:
        null = _open_fifo(os.path.join(logs, expand.expand(spec.source, instance)))
    else:
        null = os.open(os.devnull, os.O_RDONLY)
    fifo = expand.fifo_name(spec, instance)
    if fifo:
        output = _open_fifo(os.path.join(logs, fifo))
    else:
        path = os.path.join(logs, expand.log_file(spec, instance))
        follow = 0 if spec.account is None else os.O_NOFOLLOW  # its user may own the directory
        output = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | follow, 0o640)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.close(output)


def _open_fifo(path: str) -> int:
    with suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "not a FIFO")
    with suppress(PermissionError):  # beyond what this user may have in pipes
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _FIFO_BYTES)
    return fd


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


def rehearse(birth: Birth) -> None:
    """Everything of `execute` that changes nothing."""
    environment(birth)
    expand.argv(birth.spec.command, birth.instance)


def environment(birth: Birth) -> dict[str, str]:
    """What the worker's program gets, and its hooks and exec probes too."""
    spec, instance = birth.spec, birth.instance
    own = {
        "TWINWATCH_PAIR": birth.pair.name,
        "TWINWATCH_WORKER": spec.name,
        "TWINWATCH_INSTANCE": str(instance),
        "TWINWATCH_GENERATION": str(birth.generation),
        "TWINWATCH_HEARTBEAT": birth.paths.heartbeat(spec.name, instance),
    }
    if spec.notify:
        own["NOTIFY_SOCKET"] = birth.paths.notify_socket
    if spec.health.notify_ns:
        own["WATCHDOG_USEC"] = str(spec.health.notify_ns // 1000)
        own["WATCHDOG_PID"] = str(os.getpid())
    return expand.environ(spec, birth.pair.environment, instance) | own


def _exec(argv: tuple[str, ...], variables: dict[str, str]) -> None:
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    program.start(argv[0], variables, lambda path: os.execve(path, argv, variables))


def generation_variable(generation: int) -> bytes:
    """What the environment of a process of this generation holds."""
    return b"TWINWATCH_GENERATION=%d\0" % generation
