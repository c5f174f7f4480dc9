"""What tells that a worker works: readiness, signs of life, probes, what it may use.

Four things are told apart. *Alive*: the process exists. *Ready*: it may be depended on. *Beating*: it gives
signs of life. *Progressing*: the work itself moves on; a loop that beats while its work stands still is a
known lie. Durations are integer nanoseconds, sizes bytes; texts may hold `{instance}`.
"""

from dataclasses import dataclass
from enum import StrEnum

from twinwatch.core.timing import SECOND_NS


class ProbeKind(StrEnum):
    HTTP = "http"
    TCP = "tcp"
    EXEC = "exec"


@dataclass(frozen=True, slots=True)
class Probe:
    """One question asked again and again. It fails after `failures` bad answers in a row.

    `target`: a URL, or HOST:PORT. `socket`: path of a Unix socket to ask through (http, tcp).
    `statuses`: inclusive ranges of HTTP status codes that are good. `body`: regular expression that the
    answer's first 64 KiB must match (http, tcp). `send`: what is sent first (tcp). `command`: run as the
    worker's user in its directory and environment; exit code 0 is good (exec).
    """

    kind: ProbeKind
    target: str = ""
    socket: str = ""
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    body: str = ""
    send: str = ""
    command: tuple[str, ...] = ()
    interval_ns: int = 10 * SECOND_NS
    timeout_ns: int = 2 * SECOND_NS
    delay_ns: int = 0  # after the birth
    failures: int = 3
    successes: int = 1


@dataclass(frozen=True, slots=True)
class Beat:
    """The file heartbeat: `misses` times `timeout_ns` without a change of it, and the worker hangs.

    `progress_ns`: so long may the worker's own progress counter stand still; 0: it is not judged.
    """

    timeout_ns: int
    misses: int = 3
    progress_ns: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """What must be so before a worker may be depended on; all that is named here.

    `notify`: READY=1. `heartbeat`: its first beat. `exit`: a job, ready when it has ended well.
    Not ready `timeout_ns` after its program began: it is ended and started again; 0: it is waited for.
    """

    notify: bool = False
    heartbeat: bool = False
    exit: bool = False
    probes: tuple[Probe, ...] = ()
    timeout_ns: int = 60 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Health:
    """What convicts a running worker. `notify_ns`: WATCHDOG=1 at least so often; 0: not asked for."""

    heartbeat: Beat | None = None
    notify_ns: int = 0
    probes: tuple[Probe, ...] = ()


NO_HEALTH = Health()


class Action(StrEnum):
    """What follows when a worker uses too much."""

    RESTART = "restart"
    ALERT = "alert"
    EXEC = "exec"


@dataclass(frozen=True, slots=True)
class Resources:
    """Looked at every `interval_ns`; over a limit `strikes` times in a row, `action` follows. 0: no limit.

    `cpu`: percent of one core, over the time between two looks. `tree`: its descendants count too.
    `pss`: memory is the proportional set size (slow), else the resident one.
    """

    memory: int = 0
    cpu: float = 0.0
    descriptors: int = 0
    threads: int = 0
    pss: bool = False
    tree: bool = True
    interval_ns: int = 10 * SECOND_NS
    strikes: int = 3
    action: Action = Action.RESTART
    command: tuple[str, ...] = ()
