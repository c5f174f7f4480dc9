"""Arrows point one way: cli -> watcher, anchor, config -> linux -> core; watchers stay lean."""

import subprocess
import sys

import pytest
from tidy_source import ROOT, imports, is_within, module_name, python_files

# Who may import what of twinwatch. The first prefix that fits decides; the most special come first.
WATCHER = (
    "twinwatch.watch",
    "twinwatch.config.snapshot",
    "twinwatch.linux",
    "twinwatch.core",
)
ARROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("twinwatch.core", ("twinwatch.core",)),
    ("twinwatch.linux", ("twinwatch.linux", "twinwatch.core")),
    ("twinwatch.client", ("twinwatch.client",)),
    ("twinwatch.config.snapshot", ("twinwatch.config.snapshot", "twinwatch.linux", "twinwatch.core")),
    ("twinwatch.config", ("twinwatch.config", "twinwatch.linux", "twinwatch.core")),
    ("twinwatch.watch", WATCHER),
    ("twinwatch.anchor", (*WATCHER, "twinwatch.anchor", "twinwatch.client")),
)
FREE = (
    "twinwatch.cli",
    "twinwatch.control",
    "twinwatch.services",
    "twinwatch.chaos",
    "twinwatch.bench",
    "twinwatch.__main__",
)  # may import the rest
ONLY_STANDARD_LIBRARY = ("twinwatch.core", "twinwatch.linux", "twinwatch.client", *WATCHER)

# Pure code meets no kernel, no clock and no chance.
IMPURE = (
    *("os", "posix", "time", "random", "secrets", "logging", "psutil", "datetime"),
    *("subprocess", "socket", "select", "threading", "_thread", "fcntl", "mmap"),
)
# Slow to load, or with threads, fork hooks or locks; mmap because a watcher maps nothing.
HEAVY = (
    *("psutil", "filelock", "yaml", "rich", "logging", "threading", "subprocess", "typing_extensions"),
    *("asyncio", "random", "socketserver", "multiprocessing", "concurrent", "http", "urllib", "email"),
    *("tempfile", "ssl", "mmap"),
)


def complaints(path: str, text: str, modules: frozenset[str]) -> list[str]:
    module = module_name(path)
    allowed = next((to for prefix, to in ARROWS if is_within(module, (prefix,))), None)
    found = []
    if allowed is None and module != "twinwatch" and not is_within(module, FREE):
        found.append(f"{path}:1: {module} has no arrows: say in this file what it may import")
    for line, name in imports(path, text, modules):
        own = is_within(name, ("twinwatch",))
        if own and allowed is not None and not is_within(name, allowed):
            found.append(f"{path}:{line}: imports {name}: the arrow points the other way")
        if is_within(name, ("twinwatch.cli",)) and not is_within(
            module, ("twinwatch.cli", "twinwatch.__main__")
        ):
            found.append(f"{path}:{line}: only the command line imports {name}")
        if is_within(module, ("twinwatch.core",)) and is_within(name, IMPURE):
            found.append(f"{path}:{line}: core is pure and does not import {name}")
        if is_within(module, WATCHER) and is_within(name, HEAVY):
            found.append(f"{path}:{line}: a watcher does not load {name}")
        top = name.partition(".")[0]
        if not own and is_within(module, ONLY_STANDARD_LIBRARY) and top not in sys.stdlib_module_names:
            found.append(f"{path}:{line}: {name} is not in the standard library")
    return found


def test_arrows_point_one_way():
    files = python_files("twinwatch")
    assert files
    modules = frozenset(module_name(path) for path in files)
    found = [line for path, text in files.items() for line in complaints(path, text, modules)]
    assert not found, "\n".join(found)


MODULES = frozenset(
    {"twinwatch", "twinwatch.core", "twinwatch.linux", "twinwatch.linux.clock", "twinwatch.cli"}
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("twinwatch/core/x.py", "import os"),
        ("twinwatch/core/x.py", "import os.path"),
        ("twinwatch/core/x.py", "def f():\n    from time import monotonic_ns"),
        ("twinwatch/core/x.py", "from twinwatch.linux import clock"),
        ("twinwatch/core/x.py", "from ..linux import clock"),
        ("twinwatch/core/__init__.py", "from ..linux.clock import now"),
        ("twinwatch/core/x.py", "from twinwatch import linux"),
        ("twinwatch/core/x.py", "import importlib\nimportlib.import_module('random')"),
        ("twinwatch/linux/x.py", "import twinwatch.config"),
        ("twinwatch/linux/x.py", "from twinwatch import Heartbeat"),
        ("twinwatch/linux/x.py", "import attr"),
        ("twinwatch/linux/x.py", "import logging.handlers"),
        ("twinwatch/linux/x.py", "__import__(name)"),
        ("twinwatch/config/x.py", "import twinwatch.watch.watcher"),
        ("twinwatch/config/snapshot.py", "import yaml"),
        ("twinwatch/client/x.py", "from twinwatch.core.values import Role"),
        ("twinwatch/client/__init__.py", "import psutil"),
        ("twinwatch/watch/watcher.py", "import twinwatch.config"),
        ("twinwatch/watch/watcher.py", "from concurrent.futures import Future"),
        ("twinwatch/watch/boot.py", "import threading"),
        ("twinwatch/services/x.py", "from twinwatch.cli import main"),
        ("twinwatch/novel.py", ""),
    ],
)
def test_a_wrong_arrow_is_found(path, text):
    assert complaints(path, text, MODULES)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("twinwatch/core/x.py", "import enum\nfrom .values import Role\nfrom . import record"),
        ("twinwatch/linux/x.py", "import os\nfrom twinwatch.core import values\nfrom . import clock"),
        ("twinwatch/config/x.py", "import yaml\nfrom twinwatch.core.spec import PairSpec"),
        ("twinwatch/watch/watcher.py", "from twinwatch.config.snapshot import load\nimport select"),
        ("twinwatch/client/x.py", "import mmap"),
        (
            "twinwatch/cli/main.py",
            "import rich, psutil, twinwatch.watch.watcher\nfrom twinwatch.cli import up",
        ),
    ],
)
def test_a_right_arrow_is_not(path, text):
    assert complaints(path, text, MODULES) == []


def loaded_by(statement: str) -> set[str]:
    """Names in `sys.modules` after `statement`, in a bare interpreter."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); exec(sys.argv[2]); print('\\n'.join(sys.modules))"
    command = [sys.executable, "-I", "-S", "-c", program, str(ROOT), statement]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def heavy_ones(loaded: set[str]) -> list[str]:
    return sorted(name for name in loaded if is_within(name, HEAVY))


@pytest.mark.smoke
def test_a_watcher_loads_nothing_heavy():
    bare, loaded = loaded_by("pass"), loaded_by("import twinwatch.watch.watcher")
    print(f"modules in a watcher: {len(loaded)} ({len(bare)} in a bare interpreter)")
    assert heavy_ones(loaded) == []


def test_a_heavy_module_is_seen():
    assert "subprocess" in heavy_ones(loaded_by("import subprocess"))
