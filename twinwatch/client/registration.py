"""A process that no pair started puts itself under the guard of one.

The user asked for something here, so what goes wrong is raised, unlike in a heartbeat.
"""

import os
import sys

from twinwatch.client.heartbeat import VARIABLE, Heartbeat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

REGISTER_WAIT_S = 30.0  # a pair under load answers late; one that is wedged must not hold the program up


class RegistrationError(Exception):
    """Nobody guards this process; the message says why and what to do."""


class Registration:
    """A registered worker. Nothing is judged before `activate`, nor after `sign_off`."""

    def __init__(self, name: str, heartbeat: Heartbeat, *, has_rhythm: bool) -> None:
        self.name = name
        self.heartbeat = heartbeat
        self._has_rhythm = has_rhythm

    def activate(self) -> None:
        """The first beat; with `every` also the thread that goes on with it."""
        self.heartbeat.activate()
        if self._has_rhythm:
            self.heartbeat.start()

    def beat(self, progress: int | None = None) -> None:
        """One sign of life."""
        self.heartbeat.beat(progress)

    def sign_off(self) -> None:
        """Before an exit that is no failure: it is not followed by a restart."""
        self.heartbeat.sign_off()


def register(
    name: str,
    timeout: float,
    command: "Sequence[str]",
    *,
    pair: str | None = None,
    directory: str | None = None,
    misses: int = 3,
    every: float | None = None,
) -> Registration:
    """Have this process guarded as worker `name`, and started again by `command` in `directory`.

    A miss is `timeout` seconds without a beat; `misses` in a row convict. With `every`, a thread beats.
    A process that the pair itself started under that name is guarded already: then nothing is asked for.

    Raises:
        RegistrationError: there is no pair, or it refuses.
    """
    path = _own_path(name, pair) or _ask(
        [name, "--timeout", f"{round(timeout * 1000)}ms", "--misses", str(misses), "--pid", str(os.getpid())]
        + (["-p", pair] if pair else [])
        + (["--directory", directory] if directory else [])
        + ["--json", "--", *command]
    )
    heartbeat = Heartbeat(path, every=every)
    if not heartbeat.is_watched:
        raise RegistrationError(f"{name}: cannot beat into {path}: is it there, and may this user write it?")
    return Registration(name, heartbeat, has_rhythm=every is not None)


def _own_path(name: str, pair: str | None) -> str:
    """The file of a process that the pair started under that name, '' for any other."""
    is_own = os.environ.get("TWINWATCH_WORKER") == name
    is_same_pair = pair in (None, os.environ.get("TWINWATCH_PAIR"))
    return os.environ.get(VARIABLE, "") if is_own and is_same_pair else ""


def _ask(arguments: list[str]) -> str:
    """Path of the heartbeat file that `twinwatch register` made."""
    import subprocess

    command = [sys.executable, "-m", "twinwatch", "register", *arguments]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=REGISTER_WAIT_S,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:  # any errno: a program that cannot be run
        raise RegistrationError(f"cannot run {command[0] or 'the Python interpreter'}: {error}") from None
    except subprocess.TimeoutExpired:
        raise RegistrationError(
            f"the pair did not answer within {REGISTER_WAIT_S:g} s: look at it with `twinwatch status`"
        ) from None
    path = _heartbeat_path(done.stdout) if done.returncode == 0 else ""
    if not path:
        reason = (
            done.stderr.strip().removeprefix("twinwatch: ")
            or f"exit {done.returncode}, and no word of a heartbeat file"
        )
        raise RegistrationError(f"not registered: {reason}")
    return path


def _heartbeat_path(answer: str) -> str:
    import json

    try:
        told = json.loads(answer)
    except ValueError:
        return ""
    path = told.get("heartbeat") if isinstance(told, dict) else None
    return path if isinstance(path, str) else ""
