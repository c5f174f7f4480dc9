"""A tree of its own, in which one file at a time is mutated and tests are run.

The checkout is never written to. Processes that tests execute (`boot.py`, `python -m twinwatch`) find the
mutated package too: the first by its own place, the second by PYTHONPATH.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self

from mutant_plugin import IMPORT_FAILED
from mutant_rules import Mutant
from mutant_sites import ROOT

_PARTS = ("twinwatch", "tests", "docs", "scripts", "examples", "pyproject.toml", "README.md")
_FIRST_STAMP = 1_000_000_000
_LIMIT_S = 150  # of a run that pytest's own limit for each test did not end


class Verdict(Enum):
    KILLED = "killed"  # a test noticed
    SURVIVED = "SURVIVED"  # none did
    NONSENSE = "NO PROGRAM"  # it does not import, or names what is not there: it says nothing about tests
    UNFIT = "NOT RUN"  # no test ran, or not the mutated tree's code


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
    test: str = ""
    why: str = ""
    seconds: float = 0.0
    longest: dict[str, float] = field(default_factory=dict)  # test of each file, in seconds


class Bench:
    """Use as a context manager: it has a temporary directory and a process."""

    def __init__(self, root: Path = ROOT) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="mutants-")
        home = Path(self._home.name)
        self.tree = home / "tree"
        self._report = home / "report.json"
        self._output = home / "output"
        self._temporary = home / "t"
        self._stamp = _FIRST_STAMP
        self.tree.mkdir()
        for part in _PARTS:
            source = root / part
            if source.is_dir():
                shutil.copytree(source, self.tree / part, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, self.tree / part)
        self._server = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._home.cleanup()

    def run(
        self,
        tests: tuple[str, ...],
        mutant: Mutant | None = None,
        *,
        guarded_only: bool = False,
        patience_s: float = 0,
        limit_s: int = 60,
    ) -> Outcome:
        """Run tests up to the first failure, with `mutant` in the tree meanwhile.

        `guarded_only`: without the tests that take a guard out themselves; only failures of a test's own
        body count. `patience_s`: how long scenes wait in vain (0: as ever). `limit_s`: for each test.
        """
        original = self._put(mutant.path, mutant.text) if mutant else ""
        begun = time.monotonic()
        try:
            code, output = self._pytest(tests, mutant, guarded_only, patience_s, limit_s)
        finally:
            if mutant:
                self._put(mutant.path, original)
        return self._judge(code, output, time.monotonic() - begun, guarded_only)

    def _put(self, path: str, text: str) -> str:
        """Write a file of the tree; what it was. A new time stamp each time: bytecode is kept by it."""
        file = self.tree / path
        before = file.read_text("utf-8")
        file.write_text(text, "utf-8")
        self._stamp += 1
        os.utime(file, (self._stamp, self._stamp))
        return before

    def _pytest(
        self,
        tests: tuple[str, ...],
        mutant: Mutant | None,
        guarded_only: bool,
        patience_s: float,
        limit_s: int,
    ) -> tuple[int, str]:
        self._report.unlink(missing_ok=True)
        arguments = ["-q", "-x", f"--timeout={limit_s}", f"--basetemp={self._temporary}"]
        arguments += ["-p", "pytest_timeout", "-p", "no:cacheprovider", "-p", "mutant_plugin", *tests]
        environ = {
            "MUTANT_REPORT": str(self._report),
            "MUTANT_MODULE": mutant.path.removesuffix(".py").replace("/", ".") if mutant else "",
            "MUTANT_GUARDED": "1" if guarded_only else "",
            "MUTANT_PATIENCE_S": str(patience_s) if patience_s else "",
        }
        job = {"arguments": arguments, "environ": environ, "output": str(self._output), "limit_s": _LIMIT_S}
        server = self._server
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        return int(answer), self._output.read_text("utf-8", errors="replace")

    def _start(self) -> "subprocess.Popen[str]":
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environ |= {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # half of a short run would be spent on loading them
            "PYTHONPATH": f"{self.tree}:{self.tree}/tests/mutants",
        }
        return subprocess.Popen(
            [sys.executable, self.tree / "tests/mutants/mutant_server.py"],
            cwd=self.tree,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _stop(self) -> None:
        """End the interpreter that runs the tests."""
        self._server.communicate()

    def _judge(self, code: int, output: str, seconds: float, guarded_only: bool) -> Outcome:
        if code == IMPORT_FAILED:
            return Outcome(Verdict.NONSENSE, why=output.strip()[-300:], seconds=seconds)
        if not self._report.exists():
            ended = Verdict.UNFIT if guarded_only else Verdict.KILLED  # by its own kill, or for ever
            return Outcome(ended, why=f"pytest ended with {code}: {output[-300:]}", seconds=seconds)
        report = json.loads(self._report.read_text())
        if report["foreign"] or not report["imported"]:
            return Outcome(Verdict.UNFIT, why=f"other code was tested: {report['foreign']}", seconds=seconds)
        found = Outcome(Verdict.KILLED, report["failed"], report["why"], seconds)
        if report["nonsense"]:
            return Outcome(Verdict.NONSENSE, found.test, found.why, seconds)
        if report["failed"] and guarded_only and report["when"] != "call":
            return Outcome(Verdict.UNFIT, found.test, f"in its {report['when']}: {found.why}", seconds)
        if report["failed"]:
            return found
        if code or not report["passed"]:
            return Outcome(Verdict.UNFIT, why=f"pytest ended with {code}: {output[-300:]}", seconds=seconds)
        return Outcome(Verdict.SURVIVED, seconds=seconds, longest=report["longest"])
