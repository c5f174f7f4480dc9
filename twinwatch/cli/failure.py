"""What went wrong, in one line that says what to do, and the exit code that goes with it."""

from dataclasses import dataclass

from twinwatch.config.problem import ConfigError
from twinwatch.config.snapshot import SnapshotError
from twinwatch.control.errors import FAILED, NOT_ALLOWED, USAGE, ControlError
from twinwatch.core.record import Damage
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.paths import PathError
from twinwatch.linux.statefile import StateMoved


@dataclass(frozen=True, slots=True)
class Failure:
    """Lines for stderr, and the exit code."""

    lines: tuple[str, ...]
    code: int


def explain(error: Exception) -> Failure | None:
    """The user's or the system's error; None for one of our own, which is shown whole."""
    match error:
        case ConfigError():
            return Failure(_problems(error), USAGE)
        case ControlError():
            return _one(str(error), error.exit_code)
        case PathError() | SnapshotError():
            return _one(str(error), FAILED)
        case LockWedged():
            return _one(f"{error}: it neither goes on nor dies, and nothing is broken by force", FAILED)
        case Damage():
            return _one(f"the state file is damaged ({error.what}): `twinwatch state` shows where", FAILED)
        case StateMoved():
            return _one("the runtime directory has just been rebuilt: try again", FAILED)
        case OSError():
            return _one(_system(error), NOT_ALLOWED if isinstance(error, PermissionError) else FAILED)
        case _:
            return None


def _one(message: str, code: int) -> Failure:
    return Failure((f"twinwatch: {message}",), code)


def _problems(error: ConfigError) -> tuple[str, ...]:
    lines = tuple(f"twinwatch: {problem}" for problem in error.errors)
    if len(lines) == 1:
        return lines
    return (*lines, f"twinwatch: {len(lines)} problems in {error.errors[0].file}")


def _system(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason
