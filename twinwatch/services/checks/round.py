"""The loop of the service: see what has changed, begin and end checks, look at watched files, beat.

Nothing that may hang is done here: probes are tasks of the event loop, calls that block have threads of
their own.
"""

import asyncio
import signal
from typing import Any

from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.linux.clock import monotonic_ns
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import WAKE_SIGNAL
from twinwatch.linux.statefile import StateFile
from twinwatch.services.checks import files
from twinwatch.services.checks.aside import aside
from twinwatch.services.checks.execute import Runner
from twinwatch.services.checks.kept import Kept, Life
from twinwatch.services.checks.pulse import Pulse
from twinwatch.services.checks.tools import Tools
from twinwatch.services.checks.ward import Ward
from twinwatch.services.room import Room

ROUND_NS = 100 * MILLISECOND_NS
FILES_NS = SECOND_NS
LEAVING_S = 0.5  # for what had to be killed
OWN_SLOT = "_checks"


class Checks:
    def __init__(self, room: Room) -> None:
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._crash: BaseException | None = None
        self._tools = Tools(
            room,
            Pulse(self._start_anew),
            Kept(f"{room.paths.runtime}/checks.json"),
            Runner(room.paths.token(OWN_SLOT, 0)),
        )
        self._wards: dict[int, Ward] = {}
        self._to_look: set[int] = set()
        self._state: StateFile | None = None
        self._sequence = 0
        self._files_ns = 0
        self._looking: asyncio.Future[dict[str, Any]] | None = None

    async def run(self) -> None:
        self._loop.set_exception_handler(self._crashed)
        self._loop.add_signal_handler(signal.SIGTERM, self._end)
        self._loop.add_signal_handler(WAKE_SIGNAL, self._woken.set)
        self._adopt()
        while not self._room.is_ending:
            self._round()
            await self._pause()
            if self._crash is not None:
                raise self._crash
        for ward in self._wards.values():
            ward.close()
        self._tools.pulse.close()
        await asyncio.sleep(0)  # what was cancelled ends what it has begun
        await self._tools.runner.close(LEAVING_S)
        self._tools.kept.write()

    def _end(self) -> None:
        self._room.is_ending = True
        self._woken.set()

    def _crashed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A mistake of ours ends the service, which is born again; one of a connection does not."""
        if "handle" in context or "task" in context:
            self._crash = context.get("exception")
            self._woken.set()
        else:
            loop.default_exception_handler(context)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(ROUND_NS / SECOND_NS):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    def _round(self) -> None:
        self._room.beat()
        if self._room.refresh():
            self._adopt()
        self._see_changes()
        for index in list(self._to_look):
            slot = self._room.slot(index)
            if slot is not None:  # else it is damaged, and mended soon
                self._to_look.discard(index)
                self._wards[index].look(slot)
        self._look_at_files()
        self._tools.kept.write()

    # ------------------------------------------------------------ what there is to check

    def _adopt(self) -> None:
        """Take the configuration over. Who is as before goes on as before."""
        old, self._wards = self._wards, {}
        for index, spec, instance in self._room.workers():
            ward = old.pop(index, None)
            if ward is None or ward.spec != spec or ward.instance != instance:
                if ward is not None:
                    ward.close()
                ward = Ward(self._tools, index, spec, instance)
            self._wards[index] = ward
        for ward in old.values():
            ward.close()
        self._tools.kept.keep_only({ward.label for ward in self._wards.values()})
        self._to_look = set(self._wards)

    def _see_changes(self) -> None:
        state = self._room.state
        if state is not self._state:  # another file: nothing is known of it
            self._state, self._sequence, self._to_look = state, state.sequence(), set(self._wards)
            return
        try:
            self._sequence, changed = state.changes(self._sequence)
        except LockWedged:
            return  # the watchers end whoever holds it
        self._to_look |= self._wards.keys() if changed is None else self._wards.keys() & changed

    def _start_anew(self) -> None:
        for ward in self._wards.values():
            ward.start_anew()

    # ------------------------------------------------------------ watched files

    def _look_at_files(self) -> None:
        """All of them from time to time; those of a newborn at once."""
        if self._looking is not None:
            return
        now_ns = monotonic_ns()
        is_due = now_ns >= self._files_ns
        if is_due:
            self._files_ns = now_ns + FILES_NS
        wards = [ward for ward in self._wards.values() if ward.paths and ward.life]
        wards = [ward for ward in wards if is_due or ward.is_without_base]
        if not wards:
            return
        paths = {path for ward in wards for path in ward.paths}
        lives = [(ward, ward.life) for ward in wards]
        try:
            self._looking = aside(lambda: files.look(paths))
        except RuntimeError:
            return  # no thread can be started
        self._looking.add_done_callback(lambda done: self._saw(lives, done.result()))

    def _saw(self, lives: list[tuple[Ward, Life | None]], found: dict[str, Any]) -> None:
        self._looking = None
        for ward, life in lives:
            if ward.life == life:
                ward.saw(found)


def main(room: Room) -> None:
    async def serve() -> None:
        await Checks(room).run()

    asyncio.run(serve())
