"""What the tidy tests share: which files there are, and what a Python file imports."""

import ast
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_SOURCE = {"__pycache__", "build", "dist"}


@cache
def committed_files() -> tuple[str, ...]:
    """Paths that are, or would be, committed; also right in a source archive without git."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        run = subprocess.run(command, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return tuple(walk_files())
    names = os.fsdecode(run.stdout).split("\0")
    return tuple(sorted({name for name in names if name and (ROOT / name).is_file()}))


def walk_files() -> Iterator[str]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in NOT_SOURCE
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name == ".ci")
        ]
        yield from (str((Path(folder) / name).relative_to(ROOT)) for name in sorted(files))


def read(path: str) -> str:
    """Text of a committed file; '' for one that is not text."""
    try:
        return (ROOT / path).read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def python_files(*folders: str) -> dict[str, str]:
    """Path -> text of the Python files under `folders` (all when none is named)."""
    return {
        path: text
        for path in committed_files()
        if not folders or path.startswith(tuple(f"{folder}/" for folder in folders))
        if is_python(path, text := read(path))
    }


def is_python(path: str, text: str) -> bool:
    return path.endswith(".py") or (text.startswith("#!") and "python" in text.partition("\n")[0])


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imports(path: str, text: str, modules: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of every import, wherever it stands, by statement or by name.

    `modules` are the project's own: they tell `from package import module` from a plain name.
    """
    package = module_name(path) if path.endswith("/__init__.py") else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parents = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                base = ".".join([*parents, *([module] if module else [])])
                for alias in names:
                    full = f"{base}.{alias.name}"
                    yield node.lineno, full if full in modules else base
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[first, *_],
            ):
                name = first.value if isinstance(first, ast.Constant) else "<computed>"
                yield node.lineno, str(name)
