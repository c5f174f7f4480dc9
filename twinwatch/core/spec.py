"""What the user asked for: the frozen configuration that both watchers act on.

Durations are integer nanoseconds, sizes bytes. Built and checked by `twinwatch.config`; a watcher
only ever sees a published snapshot of it.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter

from twinwatch.core.checks import NO_HEALTH, Health, Ready, Resources
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS


class Policy(StrEnum):
    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


class OnUnknown(StrEnum):
    """What to do when nobody could see how a worker ended."""

    RESTART = "restart"
    HOLD = "hold"


_PATIENCE_NS = 2 * SECOND_NS
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
class Rotate:
    """When a log file is rotated, and what is kept. 0: not by size, not by age."""

    size: int = 0
    age_ns: int = 0
    keep: int = 5
    compress: bool = True


@dataclass(frozen=True, slots=True)
class Hook:
    """A command run before a start or after an end, as the worker's user."""

    command: tuple[str, ...]
    timeout_ns: int = 30 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Cgroup:
    """Limits of a generation's own cgroup (v2), where one can be made. 0: no limit. `cpu`: percent."""

    memory_max: int = 0
    pids_max: int = 0
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """`service`: which internal worker of twinwatch this is; empty for the user's own.

    `registered`: a process that the pair did not start brought it (see `twinwatch.register`).
    `notify`: it gets NOTIFY_SOCKET. `source`: a FIFO as its standard input, in the log directory.
    """

    name: str
    command: tuple[str, ...]
    instances: int = 1
    directory: str = "/"
    environment: tuple[tuple[str, str], ...] = ()
    umask: int = 0o022
    account: Account | None = None
    rlimits: tuple[tuple[int, int, int], ...] = ()  # (resource, soft, hard); -1 is infinity
    log: str = ""  # absolute path, or empty: NAME.log in the pair's log directory
    rotate: Rotate | None = None
    log_command: tuple[str, ...] = ()  # what it prints goes through a FIFO to this program
    timestamps: bool = False  # likewise, to a program of ours that puts the time before each line
    source: str = ""
    restart: Restart = Restart()
    stop: Stop = Stop()
    depends_on: tuple[str, ...] = ()
    start_timeout_ns: int = 10 * SECOND_NS
    notify: bool = False
    ready: Ready | None = None  # None: when its program runs
    health: Health = NO_HEALTH
    resources: Resources | None = None
    cgroup: Cgroup | None = None
    before_start: Hook | None = None
    after_exit: Hook | None = None
    watch_files: tuple[str, ...] = ()  # a change of one of them restarts it
    max_age_ns: int = 0  # an older process is restarted; 0: none is too old
    pid_file: str = ""  # names the process that a leader which ends well leaves behind
    service: str = ""
    registered: bool = False
    birth_hash: int = 0  # digest of all that a new process would get: another one means a restart


class Strategy(StrEnum):
    """Which members of a group are ended and started again with one that died, as in OTP."""

    ONE_FOR_ONE = "one_for_one"
    REST_FOR_ONE = "rest_for_one"
    ONE_FOR_ALL = "one_for_all"


@dataclass(frozen=True, slots=True)
class Group:
    """Workers in the order in which they start. More restarts in it than `limit`: it gives up whole."""

    name: str
    workers: tuple[str, ...]
    strategy: Strategy = Strategy.ONE_FOR_ONE
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """Whom to tell of what. One of `command`, `webhook`, `apprise` is given.

    `on`: kinds of news (`core.news.KINDS`). `workers`: of these only; empty: of all.
    `interval_ns`: one alert in so much time; what comes meanwhile is told together at its end. `fatal` is
    not made to wait for an interval that lesser news began.
    """

    on: tuple[str, ...]
    workers: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    webhook: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    apprise: str = ""
    interval_ns: int = 60 * SECOND_NS
    timeout_ns: int = 10 * SECOND_NS
    retries: int = 3


@dataclass(frozen=True, slots=True)
class Watch:
    interval_ns: int = 4 * SECOND_NS
    timeout_ns: int = 12 * SECOND_NS
    reserve: int = 2

    @property
    def patience_ns(self) -> int:
        """For all but the twin's heartbeat: what does not need the many beats of a long `timeout_ns`."""
        return min(self.timeout_ns, _PATIENCE_NS)


@dataclass(frozen=True, slots=True)
class Anchor:
    """How the third guard ends. Without an anchor it means nothing.

    `stop_timeout_ns`: what has not ended so long after SIGTERM is killed. `keep_workers`: a restart by
    systemd is to replace the anchor alone, and its successor adopts the pair (`anchor install` reads it).
    """

    stop_timeout_ns: int = 60 * SECOND_NS
    keep_workers: bool = False


@dataclass(frozen=True, slots=True)
class PairSpec:
    """One published configuration.

    `places` gives every worker instance its slot: places[i] = (slot index, worker name, instance), by slot.
    `source` is the real path of the YAML file, `digest` the SHA-256 of its bytes (hex),
    `environment` what workers inherit (of the call that published it).
    """

    name: str
    watch: Watch = Watch()
    workers: tuple[WorkerSpec, ...] = ()
    groups: tuple[Group, ...] = ()
    alerts: tuple[Alert, ...] = ()
    anchor: Anchor = Anchor()
    source: str = ""
    source_device: int = 0
    source_inode: int = 0
    digest: str = ""
    generation: int = 0
    environment: tuple[tuple[str, str], ...] = ()
    places: tuple[tuple[int, str, int], ...] = ()
    _positions: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        positions = {worker.name: at for at, worker in enumerate(self.workers)}
        object.__setattr__(self, "_positions", positions)

    def worker_at(self, index: int) -> tuple[WorkerSpec, int] | None:
        """The worker whose instance has this slot, and which instance. Looks at few objects.

        A forked child asks this, and pays for every page with an object that it looked at.
        """
        at = bisect_left(self.places, index, key=itemgetter(0))
        if at == len(self.places) or self.places[at][0] != index:
            return None
        _, name, instance = self.places[at]
        spec = self.worker_named(name)
        return None if spec is None else (spec, instance)

    def worker_named(self, name: str) -> WorkerSpec | None:
        position = self._positions.get(name)
        return None if position is None else self.workers[position]
