"""Who kills, who recovers, when nobody is left: what is solved and simulated here. Pure.

Every process is killed at the same rate, independently of all others. Repairs are *works*: each has a
duration, goes on while the state still calls for it, and ends in a new state. A state is what is alive;
`None` is the state in which nobody is. The same description is solved exactly (extinct/solve.py, exponential
durations) and simulated (extinct/simulate.py, any durations).
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

State = Any  # hashable; of which type is the system's own affair


@dataclass(frozen=True, slots=True)
class Work:
    """`key`: in the next state, the same key is the same work, going on. `ends`: probability and state."""

    key: str
    duration: str
    ends: tuple[tuple[float, State], ...]


class System(Protocol):
    """What can happen in each state."""

    @property
    def start(self) -> State: ...

    def kills(self, state: State) -> list[tuple[int, State | None]]:
        """For each next state, the number of processes whose death leads there."""

    def works(self, state: State) -> list[Work]: ...


# ---------------------------------------------------------------- guards without reserves


@dataclass(frozen=True)
class Guards:
    """`count` processes; each dead one comes back after `bear`, while at least one lives."""

    count: int

    @property
    def start(self) -> State:
        return (True,) * self.count

    def kills(self, state: tuple[bool, ...]) -> list[tuple[int, State | None]]:
        return [(1, _none_if_dead(_put(state, i, value=False))) for i in range(self.count) if state[i]]

    def works(self, state: tuple[bool, ...]) -> list[Work]:
        dead = (i for i in range(self.count) if not state[i])
        return [Work(f"bear{i}", "bear", ((1.0, _put(state, i, value=True)),)) for i in dead]


def _put(state: tuple[bool, ...], index: int, *, value: bool) -> tuple[bool, ...]:
    return (*state[:index], value, *state[index + 1 :])


def _none_if_dead(state: tuple[bool, ...]) -> State | None:
    return state if any(state) else None


# ---------------------------------------------------------------- a pair with reserves


@dataclass(frozen=True, slots=True)
class Role:
    """`depth`: reserves that live, -1 for a newborn holder that has not forked its first one yet.

    Where the holder is dead they are orphans, each of which can take the role over.
    """

    lives: bool
    depth: int

    @property
    def watches(self) -> bool:
        return self.lives and self.depth >= 0

    @property
    def processes(self) -> int:
        return self.lives + max(self.depth, 0)


NEWBORN = Role(lives=True, depth=-1)


@dataclass(frozen=True, slots=True)
class Pair:
    """What is alive of a pair."""

    roles: tuple[Role, Role]
    anchor: bool = False

    def with_role(self, index: int, role: Role) -> "Pair":
        roles = (role, self.roles[1]) if index == 0 else (self.roles[0], role)
        return replace(self, roles=roles)

    def or_none(self) -> "Pair | None":
        return self if self.anchor or any(role.processes for role in self.roles) else None


@dataclass(frozen=True)
class Reserved:
    """Two watchers with `reserve` prepared children each; `anchored`: and an anchor that init respawns.

    A dead watcher's role is claimed by its twin, which uses one of its reserves, or by one of the dead
    watcher's own reserves; `twin_share` is how often the twin is faster. Either way the other orphans leave:
    the new holder begins without reserves. A twin without any has to fork first (`bear`), and does nothing
    else meanwhile. A newborn does nothing for others before it has forked its first one (`start`). The anchor
    acts where nobody else can.
    """

    reserve: int
    twin_share: float = 0.5
    anchored: bool = False

    @property
    def start(self) -> State:
        whole = Role(lives=True, depth=self.reserve)
        return Pair((whole, whole), self.anchored)

    def kills(self, state: Pair) -> list[tuple[int, State | None]]:
        found: list[tuple[int, State | None]] = []
        for index, role in enumerate(state.roles):
            if role.lives:
                orphaned = state.with_role(index, Role(lives=False, depth=max(role.depth, 0)))
                found.append((1, orphaned.or_none()))
            if role.depth > 0:
                less = state.with_role(index, replace(role, depth=role.depth - 1))
                found.append((role.depth, less.or_none()))
        if state.anchor:
            found.append((1, replace(state, anchor=False).or_none()))
        return found

    def works(self, state: Pair) -> list[Work]:
        found = [work for index in (0, 1) if (work := self._work(state, index))]
        if self.anchored and not state.anchor:
            found.append(Work("init", "init", ((1.0, replace(state, anchor=True)),)))
        return found

    def _work(self, state: Pair, index: int) -> Work | None:
        role = state.roles[index]
        if not role.lives:
            return self._birth(state, index)
        if role.depth < 0:
            return Work(f"start{index}", "start", ((1.0, state.with_role(index, Role(lives=True, depth=1))),))
        twin = state.roles[1 - index]
        is_bearing = role.depth == 0 and not twin.processes
        if role.depth < self.reserve and not is_bearing:
            more = state.with_role(index, replace(role, depth=role.depth + 1))
            return Work(f"fork{index}", "fork", ((1.0, more),))
        return None

    def _birth(self, state: Pair, index: int) -> Work | None:
        twin, orphans = state.roles[1 - index], state.roles[index].depth
        born = state.with_role(index, NEWBORN)
        by_twin = born.with_role(1 - index, replace(twin, depth=twin.depth - 1))
        if twin.watches and twin.depth > 0:
            share = self.twin_share if orphans else 1.0
            return Work(f"claim{index}", "claim", ((share, by_twin), (1 - share, born)))
        if orphans:
            return Work(f"claim{index}", "claim", ((1.0, born),))
        if twin.watches:
            return Work(f"bear{index}", "bear", ((1.0, born),))
        if state.anchor and not twin.lives:
            return Work(f"anchor{index}", "anchor", ((1.0, born),))
        return None
