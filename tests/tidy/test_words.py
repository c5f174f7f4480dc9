"""Words that do not belong in the code, and how long a file and a function may be."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tidy_source import ROOT, committed_files, python_files, read

OUTERMOST = ("twinwatch/cli/main.py", "twinwatch/watch/frame.py", "twinwatch/anchor/life.py")
PRINTERS = ("twinwatch/cli/",)
WALL_CLOCKS = ("twinwatch/cli/", "twinwatch/linux/clock.py")
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60

BROAD = {"Exception", "BaseException"}
ANY_OS_ERROR = {"OSError", "IOError", "EnvironmentError"}
ERRNO_NAME = re.compile(r"E[A-Z0-9]{2,}")
REASON = re.compile(r"#\s*any errno:\s*\S")
WALL_CLOCK = {
    *("time.time", "time.time_ns", "time.CLOCK_REALTIME"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
}
BARE_PID = {"os.kill", "os.killpg"}  # signals go through a pidfd

Finding = tuple[int, str]


def dotted(node: ast.AST) -> str:
    """The last two parts of a name: 'datetime.now' for `datetime.datetime.now`."""
    match node:
        case ast.Attribute(value=ast.Name(id=left) | ast.Attribute(attr=left), attr=right):
            return f"{left}.{right}"
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def names_used(tree: ast.AST) -> Iterator[Finding]:
    """(line, 'module.name') of attributes and of `from module import name`."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute():
                yield node.lineno, dotted(node)
            case ast.ImportFrom(module=str(module), names=names):
                yield from ((node.lineno, f"{module.rpartition('.')[2]}.{alias.name}") for alias in names)


def caught(tree: ast.AST) -> Iterator[tuple[int, int, set[str], list[ast.stmt]]]:
    """(first line, last line of the head, classes, body) of each `except` and `suppress(...)`."""
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=classes, body=body):
                parts = classes.elts if isinstance(classes, ast.Tuple) else [classes] if classes else []
                names = {dotted(part).rpartition(".")[2] for part in parts} or {""}
                yield node.lineno, max(node.lineno, body[0].lineno - 1), names, body
            case ast.Call(func=function, args=classes) if dotted(function).rpartition(".")[2] == "suppress":
                end = node.end_lineno or node.lineno
                yield node.lineno, end, {dotted(part).rpartition(".")[2] for part in classes}, []


def broad_excepts(text: str) -> Iterator[Finding]:
    for line, _, names, body in caught(ast.parse(text)):
        raises_again = bool(body) and isinstance(body[-1], ast.Raise) and body[-1].exc is None
        if names & {"", *BROAD} and not raises_again:
            yield line, f"except {' '.join(names)}".rstrip() + " outside the outermost frame"


def names_errno(body: list[ast.stmt]) -> bool:
    for statement in body:
        for node in ast.walk(statement):
            name = dotted(node)
            if name.startswith("errno.") or name.rpartition(".")[2] == "errno" or ERRNO_NAME.fullmatch(name):
                return True
    return False


def os_errors_without_errno(text: str) -> Iterator[Finding]:
    lines = text.splitlines()
    for first, last, names, body in caught(ast.parse(text)):
        head = "\n".join(lines[first - 1 : last])
        if names & ANY_OS_ERROR and not names_errno(body) and not REASON.search(head):
            yield first, "except OSError names no errno (or says `# any errno: reason`)"


def prints(text: str) -> Iterator[Finding]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and dotted(node.func) == "print":
            yield node.lineno, "print outside the command line"


def wall_clocks(text: str) -> Iterator[Finding]:
    for line, name in names_used(ast.parse(text)):
        if name in WALL_CLOCK:
            yield line, f"{name}: time is an argument, of CLOCK_MONOTONIC"


def bare_pids(text: str) -> Iterator[Finding]:
    for line, name in names_used(ast.parse(text)):
        if name in BARE_PID:
            yield line, f"{name}: signals go through a pidfd whose identity was checked"


def long_functions(text: str) -> Iterator[Finding]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {lines} lines, more than {FUNCTION_LINES_MAX}"


def long_file(text: str) -> Iterator[Finding]:
    lines = text.count("\n")
    if lines > FILE_LINES_MAX:
        yield lines, f"the file has {lines} lines, more than {FILE_LINES_MAX}"


UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
HOMES = re.compile(
    r"(?<![\w.])/(?:home|Users)/\w|(?<![\w.])/root/[\w.]|(?<![\w.])/wo" + r"rk/(?:main|shared)\b"
)


def machine_paths(root: Path, home: Path) -> re.Pattern[str]:
    """Paths of a developer machine, this one's included where they are telling enough."""
    here = [re.escape(str(path)) + r"\b" for path in (root, home) if len(path.parts) > 2]
    return re.compile("|".join([HOMES.pattern, *here]))


HERE = machine_paths(ROOT, Path.home())


def left_words(text: str, paths: re.Pattern[str] = HERE) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := UNFINISHED.search(line):
            yield number, f"{found[0]}: finish it or open an issue"
        if found := paths.search(line):
            yield number, f"{found[0]}: a path of somebody's machine"


def gather(
    check: Callable[[str], Iterator[Finding]], files: dict[str, str], exempt: tuple[str, ...] = ()
) -> list[str]:
    return [
        f"{path}:{line}: {text}"
        for path, source in sorted(files.items())
        if not path.startswith(exempt)
        for line, text in check(source)
    ]


def code_files() -> dict[str, str]:
    """Python files and scripts: what the length of a file is limited in."""
    texts = {path: read(path) for path in committed_files()}
    return {
        path: text for path, text in texts.items() if path.endswith((".py", ".sh")) or text.startswith("#!")
    }


@pytest.mark.parametrize(
    ("check", "folders", "exempt"),
    [
        (broad_excepts, ("twinwatch", "scripts", "examples"), OUTERMOST),
        (os_errors_without_errno, ("twinwatch",), ()),
        (prints, ("twinwatch",), PRINTERS),
        (wall_clocks, ("twinwatch",), WALL_CLOCKS),
        (bare_pids, ("twinwatch",), ()),
        (long_functions, (), ()),
    ],
)
def test_python(check, folders, exempt):
    files = python_files(*folders)
    assert files
    found = gather(check, files, exempt)
    assert not found, "\n".join(found)


def test_no_code_file_is_long():
    found = gather(long_file, code_files())
    assert not found, "\n".join(found)


def test_committed_files_are_finished_and_of_no_machine():
    found = gather(left_words, {path: read(path) for path in committed_files()})
    assert not found, "\n".join(found)


TRY = "try:\n    f()\n"
BAD = [
    (broad_excepts, TRY + "except Exception:\n    pass"),
    (broad_excepts, TRY + "except:\n    pass"),
    (broad_excepts, TRY + "except (ValueError, BaseException) as e:\n    raise X from e"),
    (broad_excepts, "with suppress(Exception):\n    f()"),
    (os_errors_without_errno, TRY + "except OSError:\n    return_it()"),
    (os_errors_without_errno, TRY + "except OSError:  # any errno:\n    pass"),
    (os_errors_without_errno, TRY + "except (ValueError, OSError) as e:\n    log(e)"),
    (os_errors_without_errno, "with contextlib.suppress(OSError):\n    f()"),
    (prints, "def f():\n    print('x')"),
    (wall_clocks, "import time\ntime.time()"),
    (wall_clocks, "clock = time.time_ns"),
    (wall_clocks, "from time import time"),
    (wall_clocks, "datetime.datetime.now(tz)"),
    (wall_clocks, "datetime.now()"),
    (wall_clocks, "time.clock_gettime(time.CLOCK_REALTIME)"),
    (bare_pids, "os.kill(1, 0)"),
    (bare_pids, "f = os.killpg"),
    (bare_pids, "from os import kill"),
    (long_functions, "def f():\n" + "    g()\n" * 60),
    (long_functions, "class C:\n  async def f(self):\n" + "    g()\n" * 60),
    (long_file, "\n" * 601),
    (left_words, "# TO" + "DO: later"),
    (left_words, "x = 1  # XX" + "X"),
    (left_words, "see FIX" + "ME"),
    (left_words, "open('/ho" + "me/alice/x')"),
    (left_words, "/ro" + "ot/.cache"),
    (left_words, "#!/wo" + "rk/main/.venv/bin/python"),
    (left_words, f"cd {ROOT}/x" if len(ROOT.parts) > 2 else "/Us" + "ers/bob"),
]
GOOD = [
    (broad_excepts, TRY + "except ValueError:\n    pass"),
    (broad_excepts, TRY + "except BaseException:\n    clean()\n    raise"),
    (os_errors_without_errno, TRY + "except OSError as e:\n    if e.errno != errno.ENOENT:\n        raise"),
    (os_errors_without_errno, TRY + "except OSError as e:\n    if e.errno not in GONE:\n        raise"),
    (os_errors_without_errno, TRY + "except OSError as e:\n    if number(e) == ENOENT:\n        raise"),
    (os_errors_without_errno, TRY + "except OSError:  # any errno: the file is a hint\n    pass"),
    (os_errors_without_errno, TRY + "except FileNotFoundError:\n    pass"),
    (os_errors_without_errno, "with suppress(OSError):  # any errno: it is a hint\n    f()"),
    (prints, "pprint('x')\nself.print('x')"),
    (wall_clocks, "time.monotonic_ns()\ndatetime.fromtimestamp(0, tz)"),
    (bare_pids, "signal.pidfd_send_signal(fd, 15)\nself.kill()"),
    (long_functions, "def f():\n" + "    g()\n" * 59),
    (long_file, "\n" * 600),
    (left_words, "mktemp /tmp/XX" + "XX; ~/x; example.com/ho" + "me/x; method"),
]


@pytest.mark.parametrize(("check", "text"), BAD)
def test_a_bad_snippet_is_found(check, text):
    assert list(check(text))


@pytest.mark.parametrize(("check", "text"), GOOD)
def test_a_good_snippet_is_not(check, text):
    assert list(check(text)) == []


def test_exempt_files_are_left_alone():
    files = {"twinwatch/cli/main.py": "print(1)", "twinwatch/x.py": "print(1)"}
    assert gather(prints, files, PRINTERS) == ["twinwatch/x.py:1: print outside the command line"]
