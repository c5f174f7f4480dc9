"""A pair whose workers are a group, and what they told of their begins and ends."""

import json
from collections.abc import Mapping

from live_pair import LivePair, until
from worker_kit import TIRELESS, Lever, entry, program

from twinwatch.core.values import Phase
from twinwatch.linux.identity import is_alive

NAMES = ("a1", "b1", "c1")
SHORT_STOP = {"timeout": "20s"}


def configure(
    pair: LivePair,
    strategy: str,
    limit: Mapping[str, object] | None = None,
    levers: Mapping[str, Lever] | None = None,
    **keys: object,
) -> None:
    """`levers` hold members at their end; `keys` are for every member."""
    workers = ""
    for name in NAMES:
        held = [levers[name].path] if levers and name in levers else []
        command = program("member_worker.py", pair.directory, name, *held)
        workers += entry(name, command, **{"restart": TIRELESS, "ready": {"notify": True}, **keys})
    group: dict[str, object] = {"workers": list(NAMES), "strategy": strategy}
    if limit:
        group["limit"] = limit
    pair.configure(workers + f"groups: {json.dumps({'g': group})}\n")


def story(pair: LivePair) -> list[str]:
    path = pair.directory / "story"
    return path.read_text().splitlines() if path.exists() else []


def forget(pair: LivePair) -> None:
    """What was told so far."""
    (pair.directory / "story").write_text("")


def wait_ready(pair: LivePair, generations: Mapping[str, int] | None = None) -> None:
    """All members run, are ready, and have at least these generations."""

    def are_ready() -> bool:
        slots = pair.workers()
        return all(
            slots[name].phase is Phase.RUNNING
            and slots[name].ready
            and is_alive(slots[name].identity)
            and slots[name].generation >= (generations or {}).get(name, 1)
            for name in NAMES
        )

    until(are_ready, f"all are ready: {pair.generations()} of {generations}")


def begin(pair: LivePair) -> dict[str, int]:
    """Generations of the members, when all of them are ready."""
    pair.up()
    wait_ready(pair)
    forget(pair)
    return members(pair)


def members(pair: LivePair) -> dict[str, int]:
    return {name: pair.worker(name).generation for name in NAMES}


def raised(before: Mapping[str, int], *names: str) -> dict[str, int]:
    """One more for each of these."""
    return {name: number + (name in names) for name, number in before.items()}
