"""What must hold after every strike, whoever was struck: whole, nothing twice, nothing lost, nothing left.

Identities are compared with what the records say; names of files with those that an untouched pair has.
"""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from every_step_strike import Strike
from live_pair import LivePair, until

from twinwatch.core.values import WATCHER_ROLES, Identity
from twinwatch.linux import process
from twinwatch.linux.identity import is_alive

NUMBER = re.compile(r"\d+")


def watch(name: str, reserve: int = 2) -> str:
    """For SIGKILL a timeout that no machine is slow enough to come to; for SIGSTOP a short one."""
    times = "interval: 50ms, timeout: 500ms" if name == "SIGSTOP" else "interval: 100ms, timeout: 20s"
    return f"{{{times}, reserve: {reserve}}}"


def recorded(pair: LivePair) -> set[Identity]:
    """Everybody of whom a slot or a list of reserves tells."""
    found = {slot.identity for slot in pair.workers().values()}
    for role in WATCHER_ROLES:
        found |= {pair.role(role).identity, *pair.reserves(role)}
    return found


def is_named(pair: LivePair, identity: Identity) -> bool:
    slots = [*pair.workers().values(), *map(pair.role, WATCHER_ROLES)]
    return any(slot.identity == identity for slot in slots)


def end_of_struck(pair: LivePair, strike: Strike) -> None:
    """The pair ends a stopped one that a slot names; any other one goes on, finds itself unwanted, and leaves."""
    if not strike.struck:
        return
    who = strike.who
    until(lambda: not is_alive(who) or not is_named(pair, who), f"{who} is ended, or nobody's: {strike}")
    process.end(who, signal.SIGCONT)
    until(lambda: not is_alive(who), f"{who} leaves when it goes on: {strike}")


def assert_only_recorded(pair: LivePair, when: object) -> None:
    """A process of the pair that no record names would be lost to everybody."""

    def strangers() -> set[Identity]:
        return set(pair.processes()) - recorded(pair)

    until(lambda: not strangers(), f"nobody lives whom no record names, {when}: {strangers}")


def gained(pair: LivePair, before: dict[str, int]) -> dict[str, int]:
    """Generations since then, of those who gained some."""
    return {
        label: number - before[label]
        for label, number in pair.generations().items()
        if number > before[label]
    }


def assert_only_watchers(births: dict[str, int], most: dict[str, int], name: str, when: object) -> None:
    """No worker was born, and watchers so often at most.

    With the short timeout that a SIGSTOP needs, a slow machine costs further ones: one that is held, or gets no
    CPU, is rightly ended.
    """
    roles = {role.label for role in WATCHER_ROLES}
    assert births.keys() <= roles, f"{when}: {births}"
    is_exact = name == "SIGKILL"
    assert not is_exact or all(number <= most.get(label, 0) for label, number in births.items()), (
        f"{when}: {births}, at most {most}"
    )


def file_names(pair: LivePair) -> set[str]:
    """Names of all files of the pair, numbers made equal: what a struck process left has a name of its own."""
    roots = (pair.directory / "run", pair.directory / "lib")
    names = {str(path.relative_to(pair.directory)) for root in roots for path in root.rglob("*")}
    return {NUMBER.sub("#", name) for name in names}


def descriptors(identity: Identity) -> list[str]:
    """What a process has open."""
    found = []
    folder = Path(f"/proc/{identity.pid}/fd")
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # just closed
            found.append(os.readlink(folder / name))
    return sorted(found)


@contextmanager
def leaves_no_trace(pair: LivePair, reserve: int = 2) -> Iterator[None]:
    """A whole pair has the same files after it as before, and its watchers have no more open."""
    names = file_names(pair)
    most = max(len(descriptors(pair.role(role).identity)) for role in WATCHER_ROLES)
    yield
    until(lambda: pair.is_whole(reserve), "the pair is whole")
    until(lambda: file_names(pair) <= names, f"no file is left: {file_names(pair) - names}")
    now = [descriptors(pair.role(role).identity) for role in WATCHER_ROLES]
    assert max(map(len, now)) <= most, f"descriptors are left: {now}"


def strike_watching(
    pair: LivePair,
    strike: Strike,
    trigger: Callable[[], None],
    is_over: Callable[[], bool],
) -> Strike:
    """Trigger the operation of a held process, and wait until it is over or struck."""
    with strike:
        trigger()
        strike.go()
        until(lambda: strike.is_struck or strike.is_through or is_over(), "it is over, or struck")
        strike.let_go()
    return strike
