"""The words of the state file: roles, phases, desires, exits and process identities.

Every value here has a number, because it is stored in a record of the state file
(`docs/state-file.md`). Numbers are never reused; new words are appended.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag


class Role(IntEnum):
    """Who acts. The first three have a slot of their own; a guest is a command-line call."""

    NONE = 0
    A = 1
    B = 2
    ANCHOR = 3
    GUEST = 4

    @property
    def slot(self) -> int:
        """Index of the role's slot (only roles with a slot may be asked)."""
        return self.value - 1

    @property
    def twin(self) -> "Role":
        """The other watcher."""
        return Role.B if self is Role.A else Role.A

    @property
    def label(self) -> str:
        return self.name.lower()


def label_of(name: str, instance: int) -> str:
    """What people call one instance: `web`, `web:1`."""
    return name if instance == 0 else f"{name}:{instance}"


WATCHER_ROLES = (Role.A, Role.B)
FIRST_WORKER_SLOT = 3


class Phase(IntEnum):
    """What is observed of a slot."""

    FREE = 0  # names nothing
    STOPPED = 1  # no process, and none is due
    STARTING = 2  # a birth is recorded, its program has not begun (or is not ready)
    RUNNING = 3  # its program runs
    STOPPING = 4  # it was asked to end, or its leader ended and what it left is being ended
    BACKOFF = 5  # no process; the next birth is due at `until_ns`
    FATAL = 6  # gave up; only a person brings it back
    PAUSED = 7  # it runs, unguarded


NO_PROCESS = frozenset({Phase.FREE, Phase.STOPPED, Phase.BACKOFF, Phase.FATAL})


class Desired(IntEnum):
    """What is wanted of a slot, or of the pair (there only RUN and STOP)."""

    STOP = 0
    RUN = 1
    PAUSE = 2


class Ending(IntEnum):
    """Why twinwatch ends a generation."""

    NONE = 0
    STOP = 1  # `stop WORKER`
    DOWN = 2  # `down`
    RESTART = 3  # `restart WORKER`
    RELOAD = 4  # its configuration changed
    REMOVED = 5  # it is gone from the configuration
    HUNG = 6  # a watcher whose heartbeat stood still
    GATED = 7  # recorded, never let through its gate, and its parent is dead
    UNREADY = 8  # not ready in time
    UNHEALTHY = 9  # no sign of life, or a probe that failed
    AGE = 10  # it was older than `max_age`
    GROUP = 11  # another one of its group ended, or the group gave up


class Health(IntEnum):
    """What checks say of a running worker."""

    UNKNOWN = 0  # nothing yet, or nothing is checked
    HEALTHY = 1
    UNHEALTHY = 2  # convicted: it is to be ended


class Met(IntFlag):
    """Which conditions of readiness a generation has met."""

    NOTHING = 0
    NOTIFY = 1  # READY=1
    HEARTBEAT = 2  # its first beat
    PROBES = 4


class HookState(IntEnum):
    """Of the `after_exit` hook of the generation that is over."""

    NONE = 0
    BEGUN = 1  # the slot's identity is the hook's
    DONE = 2


class ExitKind(IntEnum):
    """How a generation ended."""

    NONE = 0
    CLEAN = 1  # an exit code that counts as success
    ERROR = 2  # any other exit code
    SIGNAL = 3
    EXEC_FAILED = 4  # never became its program: `stage` and `code` (an errno) say why
    UNKNOWN = 5  # nobody could see it
    ESCAPED = 6  # its leader ended, but a process of this generation lives on


class Stage(IntEnum):
    """Which step of becoming the program failed."""

    NONE = 0
    TOKEN = 1  # a process of an earlier generation still holds the slot's token
    OUTPUT = 2
    LIMITS = 3
    USER = 4
    DIRECTORY = 5
    EXEC = 6
    GATE = 7  # it left at its gate: no program ever ran
    CGROUP = 8
    HOOK = 9  # `before_start` failed: the code is an errno, or HOOK_EXIT + its exit code


HOOK_EXIT = 256


@dataclass(frozen=True, slots=True)
class Identity:
    """A process by every means that the kernel gave; the PID alone is never enough.

    `start_ticks` is field 22 of `/proc/PID/stat` (clock ticks since boot), `inode` the pidfd's
    inode on pidfs (Linux 6.9), `handle` its file handle (Linux 6.14). 0 or `b""`: means absent.
    """

    pid: int = 0
    start_ticks: int = 0
    inode: int = 0
    handle: bytes = b""

    def __bool__(self) -> bool:
        return self.pid != 0


NOBODY = Identity()


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of one generation. `code` is an exit code, or an errno for EXEC_FAILED."""

    kind: ExitKind = ExitKind.NONE
    generation: int = 0
    code: int = 0
    signal: int = 0
    core: bool = False
    oom: bool = False
    stage: Stage = Stage.NONE
    ending: Ending = Ending.NONE  # why twinwatch ended it, if it did
    at_ns: int = 0


NO_EXIT = Exit()
