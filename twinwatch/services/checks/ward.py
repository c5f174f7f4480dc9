"""One worker instance under checks: which of them run, by what its slot says, and what follows from them.

A check belongs to a life: one generation, told by its number and its birth. When the slot shows another one,
or one that is not to be checked, all checks end, and what they find is dropped. Each consequence is a write
into the slot that compares once more: so it comes once, and never to another generation.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from twinwatch.core import probing
from twinwatch.core.checks import Action, Probe
from twinwatch.core.expand import argv, expand
from twinwatch.core.probing import Fingerprint, Row, Seen, Strikes
from twinwatch.core.record import Slot
from twinwatch.core.spec import WorkerSpec
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import Desired, Health, Met, Phase
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.launch import Birth, environment
from twinwatch.services.checks.execute import Errand
from twinwatch.services.checks.inquiry import Asker, Inquiry, key_of
from twinwatch.services.checks.kept import Life, Memory
from twinwatch.services.checks.meter import Excess, Meter, Owner
from twinwatch.services.checks.reach import Unable
from twinwatch.services.checks.tools import Tools

ACTION_S = 10.0  # for the command that follows when a limit is passed

_LIVING = frozenset({Phase.STARTING, Phase.RUNNING, Phase.PAUSED})
_SIGNS_OF_LIFE = ("TWINWATCH_HEARTBEAT", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")  # the worker's own


class Ward:
    def __init__(self, tools: Tools, index: int, spec: WorkerSpec, instance: int) -> None:
        self.spec = spec
        self.paths = tuple(expand(path, instance) for path in spec.watch_files)
        self.life: Life | None = None
        self._tools = tools
        self._index = index
        self.instance = instance
        self._slot = Slot()
        self._memory = Memory((0, 0))
        self._last: dict[str, Fingerprint] = {}  # how its files were at the last look
        self._is_checking = False
        self._inquiries: dict[str, Inquiry] = {}
        self._meter: Meter | None = None

    @property
    def label(self) -> str:
        return Slot(self.spec.name, self.instance).label

    # ------------------------------------------------------------ what its slot says

    def look(self, slot: Slot) -> None:
        """Go on with its slot as it is now."""
        if (slot.name, slot.instance) != (self.spec.name, self.instance):
            slot = Slot()  # it still holds who had this place before
        self._slot = slot
        life = _life(slot) if slot.phase in _LIVING and not slot.is_over else None
        if life != self.life:
            self.close()
            self._live(life)
        if not _is_checked(slot):
            self._end_checks()
        elif not self._is_checking:
            self._begin_checks()
        if self._is_checking and (slot.ready or self._memory.was_ready):
            self._begin_health()

    def _live(self, life: Life | None) -> None:
        self.life = life
        self._last = {}
        if life is not None:
            self._memory = self._tools.kept.of(self.label, life)
            self._forget_former()

    def _forget_former(self) -> None:
        """What was asked and watched by an earlier configuration, and may be again by a later one."""
        kinds = (
            ("ready", self.spec.ready.probes if self.spec.ready else ()),
            ("health", self.spec.health.probes),
        )
        keys = {
            key_of(kind, number, _expanded(probe, self.instance))
            for kind, probes in kinds
            for number, probe in enumerate(probes)
        }
        for key in self._memory.bad.keys() - keys:
            del self._memory.bad[key]
        for path in self._memory.files.keys() - set(self.paths):
            del self._memory.files[path]

    def close(self) -> None:
        self._end_checks()
        self.life = None

    def _end_checks(self) -> None:
        for inquiry in self._inquiries.values():
            inquiry.close()
        if self._meter is not None:
            self._meter.close()
        if self._is_checking and self._slot.desired is Desired.PAUSE:
            self.start_anew()
        self._inquiries, self._meter, self._is_checking = {}, None, False

    def _begin_checks(self) -> None:
        self._is_checking = True
        is_met = Met.PROBES in self._slot.met
        for number, probe in enumerate(self.spec.ready.probes if self.spec.ready else ()):
            self._inquire("ready", number, probe, is_met=is_met)
        if self.spec.resources is not None:
            owner = Owner(self._tools, lambda: self._slot.identity, self._memory.strikes, self._restrain)
            self._meter = Meter(owner, self.spec.resources)

    def _begin_health(self) -> None:
        """From the first time on that it is ready; who never is, is the affair of `ready.timeout`."""
        if not self._memory.was_ready:
            self._memory.was_ready = True
            self._tools.kept.changed()
        if not any(key.startswith("health") for key in self._inquiries):
            for number, probe in enumerate(self.spec.health.probes):
                self._inquire("health", number, probe, is_met=True)

    def _inquire(self, kind: str, number: int, probe: Probe, *, is_met: bool) -> None:
        probe = _expanded(probe, self.instance)
        key = key_of(kind, number, probe)
        answered = self._answered_ready if kind == "ready" else self._answered_health
        asker = Asker(self._tools, self._errand, lambda inquiry, why: answered(key, inquiry, why), self._tell)
        row = Row(self._memory.bad.get(key, 0), 0, is_met)
        first_ns = probing.first_ns(probe, self._slot.born_ns, monotonic_ns(), self._index)
        self._inquiries[key] = Inquiry(asker, probe, row, first_ns, is_hasty=not is_met)

    def start_anew(self) -> None:
        """Nobody looked for a while: nothing that was counted is in a row."""
        for inquiry in self._inquiries.values():
            inquiry.row = probing.anew(inquiry.row)
        self._memory.bad.clear()
        for what, strikes in self._memory.strikes.items():
            self._memory.strikes[what] = Strikes(0, strikes.told)
        self._tools.kept.changed()

    # ------------------------------------------------------------ probes

    def _answered_ready(self, key: str, inquiry: Inquiry, _why: str) -> None:
        """Write whether all readiness probes are met; what follows is the watchers' affair."""
        self._keep_row(key, inquiry.row)
        are_met = all(one.row.is_met for name, one in self._inquiries.items() if name.startswith("ready"))
        if are_met is not (Met.PROBES in self._slot.met):
            self._write(
                lambda slot: replace(slot, met=slot.met | Met.PROBES if are_met else slot.met & ~Met.PROBES)
            )

    def _answered_health(self, key: str, inquiry: Inquiry, why: str) -> None:
        self._keep_row(key, inquiry.row)
        if not why:
            if self._slot.health is Health.UNKNOWN:
                self._write(
                    lambda slot: (
                        replace(slot, health=Health.HEALTHY) if slot.health is Health.UNKNOWN else None
                    )
                )
        elif probing.is_convicting(inquiry.row, inquiry.probe):
            reason = probing.verdict(inquiry.probe, inquiry.row, why)
            if self._convict(reason):
                self._tell("unhealthy", check=probing.name_of(inquiry.probe), reason=reason)

    def _keep_row(self, key: str, row: Row) -> None:
        """For the next instance of this service."""
        if self._memory.bad.get(key, 0) == row.bad:
            return
        if row.bad:
            self._memory.bad[key] = row.bad
        else:
            del self._memory.bad[key]
        self._tools.kept.changed()

    # ------------------------------------------------------------ resources

    async def _restrain(self, excess: Excess) -> bool:
        limits = self.spec.resources
        if limits is None or (limits.action is Action.RESTART and not self._convict(excess.text)):
            return False
        self._tell(
            "over-limit",
            what=excess.what,
            value=round(excess.value, 1),
            limit=excess.limit,
            reason=excess.text,
            action=str(limits.action),
        )
        if limits.action is Action.EXEC:
            why = await self._run(argv(limits.command, self.instance), excess.text)
            if why:
                self._tell("hook-failed", hook="resources", reason=why)
        return True

    async def _run(self, command: tuple[str, ...], reason: str) -> str:
        errand = self._errand(command)
        errand = replace(errand, environment={**errand.environment, "TWINWATCH_REASON": reason})
        try:
            async with self._tools.commands, asyncio.timeout(ACTION_S):
                return await self._tools.runner.ask(errand)
        except TimeoutError:
            return probing.within(int(ACTION_S * SECOND_NS))
        except Unable as unable:
            return str(unable)

    # ------------------------------------------------------------ files

    @property
    def is_without_base(self) -> bool:
        """It lives, and has a file of which nobody knows how it was."""
        return self.life is not None and any(path not in self._memory.files for path in self.paths)

    def saw(self, found: dict[str, Fingerprint]) -> None:
        """Its files were looked at."""
        for path in self.paths:
            if path not in found:
                continue
            now = found[path]
            if path not in self._memory.files:
                self._memory.files[path] = now
                self._tools.kept.changed()
            base = self._memory.files[path]
            seen = Seen(base, self._last.get(path, base))
            self._last[path] = now
            if probing.has_changed(seen, now):
                self._replace(path)

    def _replace(self, path: str) -> None:
        """Have it started again, once: afterwards it is not checked any more."""
        reason = f"watched file changed: {path}"
        if self._write(lambda slot: replace(slot, end_generation=slot.generation, note=reason)):
            self._tell("file-changed", path=path, reason=reason)
            self.look(self._slot)

    # ------------------------------------------------------------ what follows

    def _convict(self, reason: str) -> bool:
        """Have it ended and started again. False: somebody or something else was first."""
        if not self._write(lambda slot: replace(slot, health=Health.UNHEALTHY, note=reason)):
            return False
        self._end_checks()
        return True

    def _write(self, to: Callable[[Slot], Slot | None]) -> bool:
        life = self.life

        def compared(slot: Slot) -> Slot | None:
            return to(slot) if _life(slot) == life and _is_checked(slot) else None

        written = self._tools.room.change(self._index, compared)
        if written is None:
            return False
        self._slot = written
        return True

    def _tell(self, event: str, **details: object) -> None:
        self._tools.room.tell(event, slot=self.label, generation=self._slot.generation, **details)

    def _errand(self, command: tuple[str, ...]) -> Errand:
        """A command that is run as the worker is; its signs of life are not the worker's."""
        room = self._tools.room
        birth = Birth(room.paths, room.spec, self.spec, self.instance, self._slot.generation)
        variables = {name: text for name, text in environment(birth).items() if name not in _SIGNS_OF_LIFE}
        variables["TWINWATCH_PID"] = str(self._slot.identity.pid)
        return Errand(command, variables, self.spec.directory, self.spec.umask, self.spec.account)


def _life(slot: Slot) -> Life:
    return slot.generation, slot.born_ns


def _is_checked(slot: Slot) -> bool:
    return (
        slot.phase is Phase.RUNNING
        and slot.desired is Desired.RUN
        and slot.health is not Health.UNHEALTHY
        and slot.end_generation < slot.generation
    )


def _expanded(probe: Probe, instance: int) -> Probe:
    return replace(
        probe,
        target=expand(probe.target, instance),
        socket=expand(probe.socket, instance),
        headers=tuple((name, expand(value, instance)) for name, value in probe.headers),
        body=expand(probe.body, instance),
        send=expand(probe.send, instance),
        command=argv(probe.command, instance),
    )
