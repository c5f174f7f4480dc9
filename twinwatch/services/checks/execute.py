"""One command that is asked: a child in a session of its own, as its worker's user, and its end.

The child holds the service's slot token, as all that a worker starts does. Where the service is killed, the
watchers end the child before the next service begins; where it is cancelled or its time is over, its whole
group is ended here. Whatever it left in its group is ended with it, and every child is collected.
"""

import asyncio
import errno
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from twinwatch.core.probing import one_line
from twinwatch.core.spec import Account
from twinwatch.linux import process, remains
from twinwatch.linux.identity import identify, is_dead
from twinwatch.services.checks.reach import Unable

SAID_MAX = 200  # bytes of its output that are kept

_PIECE = 64 << 10
_OWN_SHORTAGE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True, slots=True)
class Errand:
    """A command, and how it is run."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    umask: int
    account: Account | None


class Runner:
    """Runs commands. `token`: path of the token that they inherit from this process."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._dying: set[_Child] = set()

    async def ask(self, errand: Errand) -> str:
        """Why it is bad; '' if it ended with 0. Cancelled, it ends the command.

        Raises:
            Unable: no process can be started.
        """
        try:
            child = _Child(errand, self._token)
        except OSError as error:  # any errno: put into words
            if error.errno in _OWN_SHORTAGE:
                raise Unable(os.strerror(error.errno).lower()) from None
            return f"cannot be run: {os.strerror(error.errno or 0).lower()}"
        try:
            await asyncio.shield(child.over)
        except BaseException:
            child.kill()
            self._dying.add(child)
            child.over.add_done_callback(lambda _: self._bury(child))
            raise
        return child.bury()

    def _bury(self, child: "_Child") -> None:
        if child in self._dying:
            self._dying.discard(child)
            child.bury()

    async def close(self, patience_s: float) -> None:
        """Collect what was ended; what does not die in time is left to the watchers."""
        waiting = [child.over for child in self._dying]
        if waiting:
            await asyncio.wait(waiting, timeout=patience_s)
        for child in list(self._dying):
            self._bury(child)


class _Child:
    """Raises OSError where it cannot be started. `over`: it is dead."""

    def __init__(self, errand: Errand, token: str) -> None:
        self._token = token
        self._said = b""
        self._loop = asyncio.get_running_loop()
        self._ear, mouth = os.pipe()
        try:
            self._process = _start(errand, mouth)
        except BaseException:
            os.close(self._ear)
            raise
        finally:
            os.close(mouth)
        os.set_blocking(self._ear, False)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._identity = identify(self._process.pid, self._pidfd)
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._died)
        self._loop.add_reader(self._ear, self._hear)

    def _died(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if not self.over.done():
            self.over.set_result(None)

    def _hear(self) -> bool:
        """False: there is nothing to be heard now, or never again."""
        try:
            piece = os.read(self._ear, _PIECE)
        except BlockingIOError:
            return False
        if not piece:
            self._loop.remove_reader(self._ear)
        self._said += piece[: SAID_MAX - len(self._said)]
        return bool(piece)

    def kill(self) -> None:
        """KILL it, and all of its group."""
        with suppress(PermissionError):  # a set-user-ID program
            if process.send_group(self._pidfd, 9) is None:
                remains.end_group(self._identity, self._pidfd, self._token)
            process.send(self._pidfd, 9)

    def bury(self) -> str:
        """Collect it if it is dead, and end what it left. Why its answer is bad."""
        self._loop.remove_reader(self._pidfd)
        self._hear()
        self._loop.remove_reader(self._ear)
        os.close(self._ear)
        if is_dead(self._pidfd):
            code = self._process.wait()
            with suppress(PermissionError):
                remains.end_group(self._identity, self._pidfd, self._token)
        else:
            code = self._process.returncode = -9  # it outlives KILL: nobody waits for it here
        os.close(self._pidfd)
        return self._verdict(code)

    def _verdict(self, code: int) -> str:
        if code == 0:
            return ""
        end = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = one_line(self._said.decode(errors="replace"))
        return f"{end}: {said}" if said else end


def _start(errand: Errand, mouth: int) -> "subprocess.Popen[bytes]":
    account = errand.account if os.geteuid() == 0 else None
    return subprocess.Popen(
        errand.command,
        stdin=subprocess.DEVNULL,
        stdout=mouth,
        stderr=mouth,
        cwd=errand.directory,
        env=errand.environment,
        umask=errand.umask,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=account.groups if account else None,
        start_new_session=True,
        close_fds=False,  # the token
    )
