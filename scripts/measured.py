"""What all measuring scripts share: the machine in words, and tables put into a document."""

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_FILES = ("--json", "--picture")


def machine() -> dict[str, object]:
    """As it stands in the JSON. `load`: of the last minute, so before the measuring."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "model": models[0] if models else platform.machine(),
        "load": round(os.getloadavg()[0], 2),
    }


def described(where: dict[str, object]) -> str:
    """The same in words."""
    return (
        f"{where['cpus']} processors ({where['model']}), Linux {where['kernel']}, CPython {where['python']}, "
        f"load before {where['load']}"
    )


def command(script: str, arguments: Sequence[str]) -> str:
    """The command line to repeat it, without what says where the results go."""
    kept, is_path = [], False
    for argument in arguments:
        if not is_path and not argument.startswith((*_FILES, "--write")):
            kept.append(argument)
        is_path = argument in _FILES
    return shlex.join([script, *kept])


def put(document: Path, name: str, body: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->`."""
    text = document.read_text(encoding="utf-8")
    head, begin, rest = text.partition(f"<!-- {name} -->")
    _, end, tail = rest.partition(f"<!-- /{name} -->")
    if not begin or not end:
        sys.exit(f"{document.name} has no <!-- {name} --> … <!-- /{name} -->")
    document.write_text(f"{head}{begin}\n{body}\n{end}{tail}", encoding="utf-8")
