"""What the user asked for: the frozen configuration that both watchers act on.

Durations are integer nanoseconds, sizes bytes. Built and checked by `twinwatch.config`; a watcher
only ever sees a published snapshot of it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Policy(StrEnum):
    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


class OnUnknown(StrEnum):
    """What to do when nobody could see how a worker ended."""

    RESTART = "restart"
    HOLD = "hold"


SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000
RESTART_LIMIT_MAX = 64  # births that a slot's record remembers


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting before a restart: `burst` deaths in a row cost nothing, then it grows.

    The delay before restart number n of a row is 0 for n <= burst, else
    min(initial * factor ** (n - burst - 1), max), spread by +-jitter (a fraction).
    A worker that ran for `reset_ns` starts a new row.
    """

    initial_ns: int = 100 * MILLISECOND_NS
    max_ns: int = 30 * SECOND_NS
    factor: float = 2.0
    jitter: float = 0.1
    reset_ns: int = 10 * SECOND_NS
    burst: int = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """More than `restarts` restarts within `within_ns`: the worker is `fatal`."""

    restarts: int
    within_ns: int


@dataclass(frozen=True, slots=True)
class Restart:
    policy: Policy = Policy.ALWAYS
    success_codes: tuple[int, ...] = (0,)
    on_unknown: OnUnknown = OnUnknown.RESTART
    backoff: Backoff = Backoff()
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """`signal`, then CONT; after `timeout_ns` KILL of the whole group."""

    signal: int = 15
    timeout_ns: int = 10 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a worker runs as, looked up when the configuration was checked."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    name: str
    command: tuple[str, ...]
    instances: int = 1
    directory: str = "/"
    environment: tuple[tuple[str, str], ...] = ()
    umask: int = 0o022
    account: Account | None = None
    rlimits: tuple[tuple[int, int, int], ...] = ()  # (resource, soft, hard); -1 is infinity
    log: str = ""  # absolute path, or empty: NAME.log in the pair's log directory
    restart: Restart = Restart()
    stop: Stop = Stop()
    depends_on: tuple[str, ...] = ()
    start_timeout_ns: int = 10 * SECOND_NS
    birth_hash: int = 0  # digest of all that a new process would get: another one means a restart


@dataclass(frozen=True, slots=True)
class Watch:
    interval_ns: int = 500 * MILLISECOND_NS
    timeout_ns: int = 2 * SECOND_NS
    reserve: int = 2


@dataclass(frozen=True, slots=True)
class PairSpec:
    """One published configuration.

    `places` gives every worker instance its slot: places[i] = (slot index, worker name, instance).
    `source` is the real path of the YAML file, `digest` the SHA-256 of its bytes (hex),
    `environment` what workers inherit (of the call that published it).
    """

    name: str
    watch: Watch = Watch()
    workers: tuple[WorkerSpec, ...] = ()
    source: str = ""
    source_device: int = 0
    source_inode: int = 0
    digest: str = ""
    generation: int = 0
    environment: tuple[tuple[str, str], ...] = ()
    places: tuple[tuple[int, str, int], ...] = ()
