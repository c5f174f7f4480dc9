"""What is wrong with a configuration, said so that an editor can jump to it.

Invariant: reading goes on after a problem, and all problems are raised together, each once, in the
order of the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

_SHOWN = 60  # characters of a user's text that a message repeats


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to correct. Line and column count from 1; line 0 means the file as a whole."""

    file: str
    line: int
    column: int
    path: str  # `workers.web.command[2]`; empty: the file or its top level
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """The configuration was refused; `errors` is never empty."""

    def __init__(self, errors: Iterable[Problem]) -> None:
        self.errors = sorted(set(errors))
        super().__init__("\n".join(map(str, self.errors)))


class Report:
    """The problems of one file, as far as it was read."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: set[Problem] = set()  # `defaults` are read once per worker, told once

    def add(self, line: int, column: int, path: str, message: str) -> None:
        self._problems.add(Problem(self._file, line, column, path, message))

    def fail(self, line: int, column: int, message: str) -> NoReturn:
        """Nothing can be read after this one. Raises ConfigError."""
        self.add(line, column, "", message)
        raise ConfigError(self._problems)

    def raise_if_any(self) -> None:
        if self._problems:
            raise ConfigError(self._problems)


def quoted(text: str) -> str:
    """A user's text as a message shows it: one line, no control characters, not endless."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
