"""What an acting process has of its pair: directories, state file, configuration, event log, seat."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from twinwatch.core.record import Slot
from twinwatch.core.spec import PairSpec
from twinwatch.core.values import HOOK_EXIT, Exit, ExitKind, Phase, Stage
from twinwatch.linux.birth import Seat
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.events import EventLog
from twinwatch.linux.notify import NotifySocket
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile


@dataclass(slots=True)
class Pair:
    """Events are queued with their time, and written when nothing is urgent."""

    paths: Paths
    spec: PairSpec
    state: StateFile
    seat: Seat
    events: EventLog
    notify: NotifySocket | None = None
    on_tell: Callable[[str, dict[str, object]], None] | None = None
    _queue: list[tuple[int, str, dict[str, object]]] = field(default_factory=list)

    def tell(self, event: str, **details: object) -> None:
        self._queue.append((monotonic_ns(), event, details))
        if self.on_tell is not None:
            self.on_tell(event, details)

    def tell_change(self, old: Slot, new: Slot, reason: str) -> None:
        """One event for each change of state: slot, old, new, reason, generation, exit."""
        named = new if new.name else old
        self.tell(
            "phase",
            slot=named.label,
            old=old.phase.name.lower(),
            new=new.phase.name.lower(),
            reason=reason,
            generation=new.generation,
            pid=new.identity.pid if new.phase in _HAS_PROCESS else None,
            exit=describe_exit(new.exit) if new.exit != old.exit else None,
        )

    def flush(self) -> None:
        queue, self._queue = self._queue, []
        for at_ns, event, details in queue:
            self.events.write(event, at_ns, **details)


_HAS_PROCESS = frozenset({Phase.STARTING, Phase.RUNNING, Phase.PAUSED, Phase.STOPPING})


def describe_exit(end: Exit) -> dict[str, object] | None:
    """An exit in the words of `status --json`."""
    if end.kind is ExitKind.NONE:
        return None
    reason = end.ending.name.lower() if end.ending else ""
    if end.kind in (ExitKind.EXEC_FAILED, ExitKind.ESCAPED) and end.stage:
        reason = f"{end.stage.name.lower()}: {_error(end)}"
    if end.oom:
        reason = "out of memory"
    return {
        "kind": end.kind.name.lower().replace("_", "-"),
        "code": end.code if end.kind in (ExitKind.CLEAN, ExitKind.ERROR) else None,
        "signal": end.signal or None,
        "core": end.core,
        "reason": reason or None,
    }


def _error(end: Exit) -> str:
    if end.stage is Stage.HOOK and end.code >= HOOK_EXIT:
        return f"exit code {end.code - HOOK_EXIT}"
    return os.strerror(end.code)
