"""One probe of one generation, asked again and again, and what its answers make in a row."""

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from twinwatch.core import probing
from twinwatch.core.checks import Probe, ProbeKind
from twinwatch.core.probing import Row
from twinwatch.core.timing import SECOND_NS
from twinwatch.linux.clock import monotonic_ns
from twinwatch.services.checks import http, tcp
from twinwatch.services.checks.execute import Errand
from twinwatch.services.checks.reach import Unable
from twinwatch.services.checks.tools import Repeated, Tools


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom is asked. `answered(inquiry, why)`: after each answer that counts; '' is a good one."""

    tools: Tools
    errand: Callable[[tuple[str, ...]], Errand]
    answered: Callable[["Inquiry", str], None]
    tell: Callable[..., None]


class Inquiry:
    """`is_hasty`: it is asked more often until the first time that it is met."""

    def __init__(self, asker: Asker, probe: Probe, row: Row, first_ns: int, *, is_hasty: bool) -> None:
        self.probe = probe
        self.row = row
        self._asker = asker
        self._is_hasty = is_hasty
        self._is_told = False
        self._repeated = Repeated(self._ask, first_ns)

    def close(self) -> None:
        self._repeated.close()

    async def _ask(self) -> int:
        """Ask once, and say when again."""
        tools = self._asker.tools
        turns = tools.commands if self.probe.kind is ProbeKind.EXEC else tools.connections
        async with turns:
            attempt = tools.pulse.begin(self.probe.timeout_ns)
            try:
                async with asyncio.timeout(self.probe.timeout_ns / SECOND_NS):
                    why = await self._answer()
            except TimeoutError:
                why = probing.within(self.probe.timeout_ns)
            except Unable as unable:
                self._skip(str(unable))
                return self._next_ns(attempt.started_ns)
            finally:
                late_ns = tools.pulse.end(attempt)
        if not why or not probing.is_excused(late_ns, self.probe.timeout_ns):
            self._count(why)
        return self._next_ns(attempt.started_ns)

    async def _answer(self) -> str:
        match self.probe.kind:
            case ProbeKind.HTTP:
                return await http.ask(self.probe, self._asker.tools.names)
            case ProbeKind.TCP:
                return await tcp.ask(self.probe, self._asker.tools.names)
            case ProbeKind.EXEC:
                return await self._asker.tools.runner.ask(self._asker.errand(self.probe.command))

    def _count(self, why: str) -> None:
        self._is_told = False
        after = probing.after_bad if why else probing.after_good
        self.row = after(self.row, self.probe)
        self._is_hasty = self._is_hasty and not self.row.is_met
        self._asker.answered(self, why)

    def _skip(self, reason: str) -> None:
        """This process could not ask, which says nothing about the worker; said once."""
        if not self._is_told:
            self._is_told = True
            self._asker.tell("check-skipped", check=probing.name_of(self.probe), reason=reason)

    def _next_ns(self, started_ns: int) -> int:
        return probing.next_ns(self.probe, started_ns, monotonic_ns(), quick=self._is_hasty)


def key_of(kind: str, number: int, probe: Probe) -> str:
    """The name of a probe's count in what is kept: another probe in its place begins anew."""
    return f"{kind} {number} {zlib.crc32(repr(probe).encode()):08x}"
