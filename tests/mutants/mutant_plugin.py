"""A pytest plugin for a run in a mutated tree: whose code was tested, and how the first test failed.

It imports the mutated module before anything else, so that a mutant that is no Python program is told from
one whose behaviour a test noticed. What it found goes as JSON to the file that `MUTANT_REPORT` names.
"""

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

IMPORT_FAILED = 70
# What a mutant that makes no sense as a program raises, and no test of behaviour asks for.
NONSENSE = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError", "UnboundLocalError")
HARM = "test_else"  # begins the names of the tests that take a guard out themselves

LONGEST: dict[str, float] = {}  # test of each file, in seconds
REPORT: dict[str, object] = {
    "passed": 0,
    "failed": "",
    "when": "",
    "why": "",
    "nonsense": False,
    "longest": LONGEST,
}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before any conftest imports it."""
    module = os.environ.get("MUTANT_MODULE")
    if module:
        try:
            importlib.import_module(module)
        except BaseException as error:  # noqa: BLE001 - whatever it raises, it is no program
            sys.stderr.write(f"{module}: {error!r}")
            sys.stderr.flush()
            os._exit(IMPORT_FAILED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("MUTANT_GUARDED") == "1":
        items[:] = [item for item in items if not item.name.startswith(HARM)]
    patience_s = os.environ.get("MUTANT_PATIENCE_S")
    if patience_s and "scene" in sys.modules:
        sys.modules["scene"].PATIENCE_S = float(patience_s)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        note(report, "collect")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    LONGEST[report.location[0]] = max(LONGEST.get(report.location[0], 0), report.duration)
    if report.failed:
        note(report, report.when)
    elif report.when == "call" and report.passed:
        REPORT["passed"] += 1  # type: ignore[operator]


def note(report: pytest.TestReport | pytest.CollectReport, when: str) -> None:
    if REPORT["failed"]:
        return
    text = report.longreprtext
    raised = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    said = [line for line in report.capstderr.splitlines() if line.startswith(NONSENSE)]  # of a forked actor
    REPORT["failed"] = report.nodeid.rpartition("::")[2]
    REPORT["when"] = when
    REPORT["why"] = next(iter(raised), text[-200:])
    REPORT["nonsense"] = bool(said) or any(line.startswith(NONSENSE) for line in raised)


def pytest_sessionfinish() -> None:
    names = [name for name in sys.modules if name.partition(".")[0] == "twinwatch"]
    files = [getattr(sys.modules[name], "__file__", None) for name in names]
    here = f"{Path.cwd()}/"
    REPORT["foreign"] = [file for file in files if file and not file.startswith(here)]
    REPORT["imported"] = len(files)
    Path(os.environ["MUTANT_REPORT"]).write_text(json.dumps(REPORT))
