"""What one instance of a worker gets: its arguments, its environment, its log file and the FIFO before it.

The literal `{instance}` is replaced by the instance's number, counted from 0; every other brace
stays as it was written, so that JSON and shell text need no escaping.

Invariant: what instance N gets never depends on how many instances there are, so that changing
`instances` restarts none of those that stay.
"""

from collections.abc import Iterable

from twinwatch.core.spec import Account, WorkerSpec

INSTANCE = "{instance}"
SINK_PREFIX = "_log."  # no worker of a user's begins with `_`
STAMP = "stamp"  # the service that puts the time before each line

# Addressed to the process that published the configuration, not to its workers.
_PRIVATE_NAMES = frozenset(
    {"NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "MANAGERPID", "SYSTEMD_EXEC_PID"}
)
_PRIVATE_PREFIXES = ("LISTEN_", "WATCHDOG_", "TWINWATCH_")


def expand(text: str, instance: int) -> str:
    """`text` with the instance's number in place of each `{instance}`."""
    return text.replace(INSTANCE, str(instance))


def argv(command: Iterable[str], instance: int) -> tuple[str, ...]:
    """A command for one instance, program name first, as written (not resolved on PATH)."""
    return tuple(expand(argument, instance) for argument in command)


def environ(worker: WorkerSpec, inherited: Iterable[tuple[str, str]], instance: int) -> dict[str, str]:
    """The environment of one instance; later wins: inherited, its account's, the worker's own."""
    result = {name: value for name, value in inherited if not _is_private(name)}
    if worker.account is not None:
        result |= _identity(worker.account)
    result |= {name: expand(value, instance) for name, value in worker.environment}
    return result


def log_file(worker: WorkerSpec, instance: int) -> str:
    """Where one instance logs; a relative path is meant from the pair's log directory.

    A stamp logs where the worker would whose lines it stamps.
    """
    if worker.log:
        return expand(worker.log, instance)
    name = worker.name.removeprefix(SINK_PREFIX) if worker.service == STAMP else worker.name
    return f"{name}.{instance}.log" if instance else f"{name}.log"


def fifo_name(worker: WorkerSpec, instance: int) -> str:
    """The FIFO, in the pair's log directory, that takes what one instance prints; empty: its file does.

    The sink behind it has the same name as its `source`, with `{instance}` in it.
    """
    return expand(fifo_source(worker), instance) if has_sink(worker) else ""


def fifo_source(worker: WorkerSpec) -> str:
    """The `source` of a worker's sink."""
    return f"{worker.name}.{INSTANCE}.fifo"


def has_sink(worker: WorkerSpec) -> bool:
    """Whether another process stands between what a worker prints and its log."""
    return bool(worker.log_command) or worker.timestamps


def _is_private(name: str) -> bool:
    return name in _PRIVATE_NAMES or name.startswith(_PRIVATE_PREFIXES)


def _identity(account: Account) -> dict[str, str]:
    return {"HOME": account.home, "LOGNAME": account.name, "SHELL": account.shell, "USER": account.name}
