"""Which events are news that somebody may want to be told of.

kind        what has happened
----------  ---------------------------------------------------------------------------------------
fatal       a worker was given up: it stays down until a person brings it back
wedged      something cannot go on: a lock is not let go, a process outlives KILL or may not be
            signalled, no child can be forked or recorded, a watcher crashed on a slot
twin-lost   a watcher died or was convicted, and its role has a new holder
anchor-lost the anchor died: what no pair survives is not covered until its init has started it again
unhealthy   a worker was convicted by a check, or was not ready in time
escaped     a process of a worker left its group and outlived its leader
resources   a worker used more than it may
hook        a hook failed
log         a log could not be rotated
exited      a worker ended otherwise than with success, and nobody had asked for it
restarted   a worker was started again, and nobody had asked for it

Asked for are `stop`, `restart`, `down`, `reload`, a removal from the configuration, `max_age`, a watched
file, and what follows from the end of another one of the group, which is told of that one. What the pair
ends for another reason is told as that, and as `restarted`. An event `unhealthy` is none: its phase is.
Internal workers (their names begin with `_`) are workers here. `alert-failed` is no news: no alert causes
another one. An event that is not as the pair writes it is no news.
"""

from typing import Any

from twinwatch.core.values import WATCHER_ROLES, Ending, Stage

Event = dict[str, Any]

# The gravest first: a message about several kinds is of the first of them.
KINDS = (
    *("fatal", "wedged", "twin-lost", "anchor-lost", "unhealthy", "escaped"),
    *("resources", "hook", "log", "exited", "restarted"),
)

KILL_IN_VAIN = "KILL has no effect"  # how `core.reconcile` begins the reason
ASKED_MAX = 4096  # slots remembered

_KIND_OF = {
    "over-limit": "resources",
    "hook-failed": "hook",
    "rotate-failed": "log",
    "escaped-ended": "escaped",
    "anchor-lost": "anchor-lost",
    "wedged": "wedged",
    "cannot-stop": "wedged",
    "unknowable": "wedged",
    "quarantined": "wedged",
    "claim-failed": "wedged",
    "fork-failed": "wedged",
}
_WATCHERS = frozenset(role.label for role in WATCHER_ROLES)
_LIVED = frozenset({"starting", "running", "stopping"})
_FAILED = frozenset({"error", "signal", "exec-failed", "unknown"})
_ASKED_FOR = frozenset(
    ending.name.lower()
    for ending in (
        *(Ending.STOP, Ending.DOWN, Ending.RESTART, Ending.RELOAD, Ending.REMOVED),
        *(Ending.AGE, Ending.GROUP),
    )
)
_CONVICTED = frozenset(ending.name.lower() for ending in (Ending.UNREADY, Ending.UNHEALTHY))
_ENDED_BY_US = frozenset(ending.name.lower() for ending in Ending if ending)
_HOOK = f"{Stage.HOOK.name.lower()}:"  # how an exit's reason begins where `before_start` failed


class Reader:
    """Reads events in the order of the log.

    `asked` maps a slot to the last generation of it whose end was asked for: a restart's own event does
    not say that.
    """

    def __init__(self, asked: dict[str, int] | None = None) -> None:
        self.asked = dict(asked or {})

    def kinds(self, event: Event) -> tuple[str, ...]:
        """Of which kinds this event is news; none: of no kind."""
        name = event.get("event")
        if name != "phase":
            kind = _KIND_OF.get(name) if isinstance(name, str) else None
            return (kind,) if kind else ()
        slot, generation = event.get("slot"), event.get("generation")
        if not isinstance(slot, str) or not isinstance(generation, int):
            return ()
        if slot in _WATCHERS:
            return _of_watcher(event)
        self._remember(slot, generation, event)
        return self._of_worker(slot, generation, event)

    def _remember(self, slot: str, generation: int, event: Event) -> None:
        is_ending = event.get("new") == "stopping" and _word(event) in _ASKED_FOR
        if is_ending or _is_one_of(_exit(event).get("reason"), _ASKED_FOR):
            self.asked.pop(slot, None)
            self.asked[slot] = generation - 1 if event.get("new") == "starting" else generation
            if len(self.asked) > ASKED_MAX:
                del self.asked[next(iter(self.asked))]

    def _of_worker(self, slot: str, generation: int, event: Event) -> tuple[str, ...]:
        end = _exit(event)
        match event.get("new"):
            case "fatal":
                return ("fatal", "escaped") if end.get("kind") == "escaped" else ("fatal",)
            case "stopping":
                return _of_end(event, end)
            case "starting" if event.get("old") in ("stopping", "backoff"):
                return () if self.asked.pop(slot, 0) == generation - 1 else ("restarted",)
        return ()


def _exit(event: Event) -> dict[str, Any]:
    end = event.get("exit")
    return end if isinstance(end, dict) else {}


def _of_watcher(event: Event) -> tuple[str, ...]:
    old, new = event.get("old"), event.get("new")
    if new == "starting" and _is_one_of(old, _LIVED):
        return ("twin-lost",)
    return ("wedged",) if old == new == "stopping" else ()


def _of_end(event: Event, end: dict[str, Any]) -> tuple[str, ...]:
    if event.get("old") != "stopping" and _word(event) in _CONVICTED:
        return ("unhealthy",)
    if str(event.get("reason")).startswith(KILL_IN_VAIN):
        return ("wedged",)
    reason = end.get("reason")
    if not _is_one_of(end.get("kind"), _FAILED) or _is_one_of(reason, _ENDED_BY_US):
        return ()
    return ("hook", "exited") if str(reason).startswith(_HOOK) else ("exited",)


def _word(event: Event) -> str:
    """A reason begins with the word of its ending, then says more: `unhealthy: no beat for 9 s`."""
    return str(event.get("reason", "")).partition(":")[0]


def _is_one_of(value: object, words: frozenset[str]) -> bool:
    return isinstance(value, str) and value in words


def is_about(event: Event, workers: tuple[str, ...]) -> bool:
    """Whether it is of one of these (NAME or NAME:INSTANCE). Where none is named, all is."""
    if not workers:
        return True
    slot = event.get("slot")
    return isinstance(slot, str) and (slot in workers or slot.partition(":")[0] in workers)
