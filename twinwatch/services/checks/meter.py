"""How much one generation uses, looked at again and again, and what follows when it is too much in a row."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from twinwatch.core import probing
from twinwatch.core.checks import Resources
from twinwatch.core.probing import NO_STRIKES, Strikes
from twinwatch.core.values import Identity
from twinwatch.linux.clock import monotonic_ns
from twinwatch.services.checks.aside import aside
from twinwatch.services.checks.resources import Usage, figures, measure
from twinwatch.services.checks.tools import Repeated, Tools


@dataclass(frozen=True, slots=True)
class Excess:
    what: str
    value: float
    limit: float
    text: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose use it is. `act` does what follows; False: it could not, and is asked again."""

    tools: Tools
    identity: Callable[[], Identity]
    strikes: dict[str, Strikes]
    act: Callable[[Excess], Coroutine[object, object, bool]]


class Meter:
    def __init__(self, owner: Owner, limits: Resources) -> None:
        self._owner = owner
        self._limits = limits
        self._whose = Identity()
        self._before = Usage()
        self._repeated = Repeated(self._look, monotonic_ns())

    def close(self) -> None:
        self._repeated.close()

    async def _look(self) -> int:
        """Look once, and say when again."""
        started_ns = monotonic_ns()
        whose = self._owner.identity()
        before = self._before if whose == self._whose else Usage()
        now = await self._measure(whose)
        self._whose, self._before = whose, now
        for what, value, limit in figures(self._limits, before, now):
            await self._judge(what, value, limit)
        return max(started_ns + self._limits.interval_ns, monotonic_ns())

    async def _measure(self, whose: Identity) -> Usage:
        """The proportional set size may make it wait for the process: not in this thread."""
        families = self._owner.tools.families
        if not self._limits.pss:
            return measure(self._limits, whose, families)
        try:
            return await aside(lambda: measure(self._limits, whose, families))
        except RuntimeError:
            return Usage()  # no thread can be started

    async def _judge(self, what: str, value: float | None, limit: float) -> None:
        old = self._owner.strikes.get(what, NO_STRIKES)
        strikes = probing.after_look(old, value, limit)
        self._keep(what, strikes)
        if value is None or not probing.is_too_much(strikes, self._limits.strikes):
            return
        text = probing.excess(what, value, limit, strikes.count)
        if await self._owner.act(Excess(what, value, limit, text)):
            self._keep(what, Strikes(strikes.count, told=True))

    def _keep(self, what: str, strikes: Strikes) -> None:
        if self._owner.strikes.get(what, NO_STRIKES) == strikes:
            return
        if strikes == NO_STRIKES:
            self._owner.strikes.pop(what, None)
        else:
            self._owner.strikes[what] = strikes
        self._owner.tools.kept.changed()
