"""A folder with a configuration in it, for the tests of its reading."""

from pathlib import Path

import pytest

from twinwatch.config.load import ConfigError, load
from twinwatch.core.spec import PairSpec, WorkerSpec

ENVIRON = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


class Place:
    """A folder with a configuration in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "twinwatch.yaml"

    def load(self, text: str | bytes, environ=ENVIRON) -> PairSpec:
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.file.chmod(0o644)
        return load(str(self.file), environ)

    def worker(self, keys: str) -> WorkerSpec:
        return self.load(f"pair: p\nworkers:\n  w:\n    command: [sh]\n    {keys}\n").workers[0]

    def problems(self, text: str | bytes) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text)
        return [str(error).removeprefix(f"{self.file}:") for error in caught.value.errors]

    def of_worker(self, keys: str) -> list[str]:
        """Problems of one worker; `keys` begin at 5:5, their paths at `workers.w`."""
        found = self.problems(f"pair: p\nworkers:\n  w:\n    command: [sh]\n    {keys}\n")
        return [problem.replace(" workers.w.", " ") for problem in found]


def cases(table: str) -> list:
    """(text, answers) of each case, named by its text. A blank line ends a case; answers follow `->`."""
    split = [case.split("\n-> ") for case in table.strip("\n").split("\n\n")]
    return [pytest.param(text, answers, id=text.removeprefix("pair: p\n")) for text, *answers in split]
