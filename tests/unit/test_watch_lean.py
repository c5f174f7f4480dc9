"""What a watcher does without, and what it leaves in its place."""

import subprocess
import sys
from pathlib import Path

from twinwatch.watch import lastwords

ROOT = Path(__file__).resolve().parents[2]
LOADS = """
import sys
sys.path.insert(0, {root!r})
from twinwatch.watch import lean
lean.load()
from dataclasses import dataclass, fields
@dataclass(frozen=True, slots=True)
class Bare:
    x: int = 1
assert Bare() == Bare(1) and fields(Bare)[0].name == "x"
import twinwatch.watch.frame
print(*(name for name in ("inspect", "selectors", "traceback", "tokenize", "typing") if name in sys.modules))
import inspect, selectors
assert selectors.DefaultSelector().close() is None
assert inspect.signature(len)
"""


EXECUTES = """
import sys
sys.path.insert(0, {root!r})
from twinwatch.watch import lean
lean.load()
import twinwatch.watch.frame
from twinwatch.linux import hook, launch
sys.meta_path.clear()
environ = dict(PATH="/nowhere:/bin:/usr/bin")
try:
    hook.run(("no-such-program",), environ, 10**11)
except FileNotFoundError:
    hook.run(("true",), environ, 10**11)
    launch._exec(("sh", "-c", "echo executed"), environ)
"""


def run_bare(program: str) -> tuple[str, str]:
    """What it says, on both streams, in an interpreter like a watcher's."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program.format(root=str(ROOT))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout, done.stderr


def test_what_a_child_does_before_its_program_needs_no_module_more():
    """It may have become a user that cannot read any."""
    assert run_bare(EXECUTES) == ("executed\n", "")


def test_a_watcher_loads_no_inspect():
    assert run_bare(LOADS) == ("\n", "")


def raised() -> ValueError:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("boom")

    try:
        deep(5)
    except ValueError as error:
        return error


def test_its_last_words_name_the_place_and_the_error():
    *places, error = lastwords.brief(raised()).splitlines()
    assert error == "ValueError: boom"
    assert len(places) == 3
    assert all(place.startswith(f"{__file__}:") and place.endswith(" in deep") for place in places)
    assert lastwords.brief(None) == ""


def test_the_log_gets_all_of_it(capsys):
    lastwords.tell(raised())
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.endswith("ValueError: boom\n")
